//! One slot's sandbox on its way from setup to cleanup.

use crate::common::{Call, Channel, Running, Sandbox, Site, Snapshot};
use rustix::process::Resource;
use std::fs;
use std::time::{Duration, Instant};

/// After this long a slot hangs: there are many on few processors.
const HANGS: Duration = Duration::from_secs(600);

/// What most nodes let a process open. As many descriptors may be under way between all processes of an account.
const DESCRIPTORS: u64 = 1024;

/// The job: reads its inputs, writes outputs of every kind, says what descriptors it has, and then waits together with
/// a child.
const JOB: &str = r#"
cat slot input > "output of $SLOT"
mkdir -p results/deep
head -c 200000 /dev/zero | tr '\0' x > results/large
echo "$SLOT" > results/deep/small
ln results/large again
ln -s results/deep link
rm empty
ls /proc/self/fd > descriptors
sleep 1000 &
echo "$$ $!" > pids.new
mv pids.new pids
wait
"#;

/// One step of a slot's cycle.
pub type Step<'s> = fn(&mut Slot<'s>);

/// A sandbox, and what is known of it by now.
pub struct Slot<'s> {
    site: &'s Site,
    name: String,
    sandbox: Sandbox,
    given: Snapshot,
    job: Option<Running>,
}

impl<'s> Slot<'s> {
    /// What is done in a cycle, in order.
    pub const STEPS: [(&'static str, Step<'s>); 4] =
        [("setup", Slot::set_up), ("run", Slot::run), ("kill", Slot::kill), ("cleanup", Slot::clean_up)];

    /// A slot with inputs of its own, some of which travel as descriptors.
    pub fn new(site: &'s Site, number: usize) -> Self {
        let sandbox = site.sandbox();
        let name = format!("slot {number}");
        sandbox.add_file("slot", name.as_bytes(), 0o644);
        for file in 0..40 {
            sandbox.add_file(format!("data/large{file}"), &vec![number as u8; 20_000 + number], 0o600);
        }
        let given = sandbox.snapshot();
        Slot { site, name, sandbox, given, job: None }
    }

    fn as_a_node_calls(call: Call) -> Call {
        call.limit(Resource::Nofile, DESCRIPTORS).time_limit(HANGS)
    }

    fn set_up(&mut self) {
        Self::as_a_node_calls(self.site.setup(&self.sandbox)).run().expect_quiet();
        self.sandbox.assert_handed_over(&self.given);
    }

    fn run(&mut self) {
        let (channel, theirs) = Channel::open();
        let here = |name: &str| self.sandbox.path.join(name).into_os_string();
        let call = self.site.call("condor_glexec_run").arg(self.site.switcher());
        let call = call.arg(&self.sandbox.proxy).arg(&self.sandbox.path);
        let call = call.arg(self.site.program("condor_glexec_job_wrapper"));
        let call = call.args(["/dev/null".into(), here("out"), here("err")]).args(["/bin/sh", "-c", JOB]);
        let call = call.cwd(&self.sandbox.parked).ignore_sigpipe().input(theirs);
        self.job = Some(Self::as_a_node_calls(call).start());
        assert_eq!(channel.start_job(format!("SLOT='{}'", self.name).as_bytes()), "");
        let began = Instant::now();
        while !self.sandbox.path.join("pids").exists() {
            assert!(began.elapsed() < HANGS, "the job of {} does not come to its end", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill(&mut self) {
        let pids = fs::read_to_string(self.sandbox.path.join("pids")).unwrap();
        let (shell, sleeper) = pids.trim().split_once(' ').unwrap();
        // The child last: the ProcD, too, ends who could start more.
        for pid in [shell, sleeper] {
            Self::as_a_node_calls(self.site.kill(&self.sandbox, pid.parse().unwrap(), 9)).run().expect(0);
        }
        let ended = self.job.take().unwrap().finish();
        assert_eq!((ended.code, ended.signal), (None, Some(9)), "{ended:?}");
    }

    fn clean_up(&mut self) {
        let left = self.sandbox.snapshot();
        Self::as_a_node_calls(self.site.cleanup(&self.sandbox)).run().expect_quiet();
        self.sandbox.assert_taken_back(&left, &self.given);
        let read = |name: &str| fs::read_to_string(self.sandbox.path.join(name)).unwrap();
        assert!(read(&format!("output of {}", self.name)).starts_with(&self.name));
        assert_eq!(read("results/deep/small").trim_end(), self.name);
        // The last one is the listing's own.
        assert_eq!(read("descriptors").split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
        assert_eq!(
            (read("out"), read("err"), self.sandbox.path.join("empty").exists()),
            (String::new(), String::new(), false)
        );
    }
}
