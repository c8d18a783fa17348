//! The format of the profiles, and the rules that a profile has to keep: read at build time, by the tests and by the
//! audit tool.
//!
//! A profile is a file in seccompiler's JSON with one filter, named as the file is. Beyond that format, an element of
//! the list may be `{"include": "NAME"}`, which stands for the rules of `shared/NAME.json`, and a rule may say
//! `"only"` (`x86_64` or `aarch64`) where the other architecture has no such call. What the C library calls by itself
//! is what musl calls.

use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The architectures that every profile is compiled for.
pub const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

/// The newest system call that was reviewed for the deny-lists, its number, which is the same on every architecture,
/// and the Linux that brought it. To a deny-list a call with a higher number does not exist (`ENOSYS`, as on a kernel
/// without it), or a newer kernel would open what nobody has looked at.
///
/// To raise it: go through the kernel's `scripts/syscall.tbl` from here on; what reaches other files, other processes
/// or more of the kernel gets a rule in each deny-list; then change this line, `audit/kernel-features.md` and
/// `tests/common/call_numbers.rs`. A rule can only be written for a name that `seccompiler` knows: there is the end.
pub const NEWEST_REVIEWED: (&str, u32, &str) = ("mseal", 462, "6.10");

/// From here on numbers are the same on every architecture.
const FIRST_COMMON: u32 = 424;

/// The last reviewed call below [`FIRST_COMMON`]: `uretprobe` and `kexec_file_load`.
const LAST_OWN: [(&str, u32); 2] = [("x86_64", 335), ("aarch64", 294)];

/// BPF: load the word at the offset `k` (the system call's number is at 0).
const LOAD: u16 = 0x20;
/// BPF: skip `jt` instructions if the word is greater than `k`, else `jf`.
const JUMP_IF_GREATER: u16 = 0x25;
/// BPF: skip `jt` instructions if the word is `k` or greater, else `jf`.
const JUMP_IF_NOT_BELOW: u16 = 0x35;
/// BPF: end with the answer `k`.
const RETURN: u16 = 0x06;
/// The answer "fail with this errno" (`SECCOMP_RET_ERRNO`), here `ENOSYS`.
const NO_SUCH_CALL: u32 = 0x0005_0000 | 38;

/// One instruction of BPF: code, `jt`, `jf`, `k`.
pub type Step = (u16, u8, u8, u32);

/// The fragment that lets a Rust program end by panic: an allow-list without it would hide why a program died.
const PANIC_PATH: &str = "panic";

/// Calls that need a word on why they are in a list: they start or change processes, reach other ones or the network,
/// or open more of the kernel.
const DANGEROUS: [&str; 62] = [
    "accept",
    "accept4",
    "acct",
    "add_key",
    "bind",
    "bpf",
    "chroot",
    "clone",
    "clone3",
    "connect",
    "delete_module",
    "execve",
    "execveat",
    "fcntl",
    "finit_module",
    "fork",
    "fsopen",
    "init_module",
    "io_uring_setup",
    "ioctl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "kill",
    "listen",
    "mmap",
    "mount",
    "mount_setattr",
    "move_mount",
    "mprotect",
    "name_to_handle_at",
    "open",
    "open_by_handle_at",
    "open_tree",
    "openat",
    "openat2",
    "perf_event_open",
    "personality",
    "pidfd_getfd",
    "pidfd_send_signal",
    "pivot_root",
    "prctl",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "reboot",
    "request_key",
    "setgid",
    "setgroups",
    "setns",
    "setresgid",
    "setresuid",
    "setuid",
    "socket",
    "socketpair",
    "tgkill",
    "tkill",
    "umount2",
    "unshare",
    "userfaultfd",
    "vfork",
];

/// Calls that no allow-list holds: they take from memory, where no filter can look, what makes them harmless or not.
const NEVER: [&str; 3] = ["clone3", "io_uring_setup", "openat2"];

/// The calls that give something a mode, and which argument it is. In an allow-list they never take a set-id bit.
const MODES: [(&str, u8); 11] = [
    ("chmod", 1),
    ("creat", 1),
    ("fchmod", 1),
    ("fchmodat", 2),
    ("fchmodat2", 2),
    ("mkdir", 1),
    ("mkdirat", 2),
    ("mknod", 1),
    ("mknodat", 2),
    ("open", 2),
    ("openat", 3),
];

/// `S_ISUID` and `S_ISGID`.
const SET_ID: u64 = 0o6000;

/// The calls that open by a name, and which argument are the flags.
const OPENING: [(&str, u8); 2] = [("open", 1), ("openat", 2)];

/// `O_CREAT`, and `O_TMPFILE` without the `O_DIRECTORY` that is in it: with one of them there is a mode.
const CREATING: u64 = 0x40_0040;

/// `O_PATH`.
const HANDLE: u64 = 0x20_0000;

/// The calls that change the mode of a name, about which Landlock knows nothing: only to [`OWNERS`], by which no other
/// account gains.
const BY_NAME: [(&str, u8); 3] = [("chmod", 1), ("fchmodat", 2), ("fchmodat2", 2)];

/// The mode 0700.
const OWNERS: u64 = 0o700;

/// The fragment for phases that meet what denies even its owner: only there are handles, of which Landlock knows
/// nothing either.
const OPENING_UP: &str = "opening_up";

/// Calls that an allow-list may hold only with conditions on their arguments.
const ONLY_WITH_CONDITIONS: [&str; 13] = [
    "clone",
    "fcntl",
    "ioctl",
    "kill",
    "mmap",
    "mprotect",
    "open",
    "openat",
    "prctl",
    "socket",
    "tgkill",
    "tkill",
    "prlimit64",
];

/// One profile as it stands in its file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What happens to a call that no rule matches.
    pub mismatch_action: Value,
    /// What happens to a call that a rule matches.
    pub match_action: Value,
    /// The rules and includes, in the order of the file.
    pub filter: Vec<Element>,
}

/// A rule or an include: exactly one of `syscall` and `include` is there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Element {
    /// The name of a fragment.
    pub include: Option<String>,
    /// The name of a call.
    pub syscall: Option<String>,
    /// Conditions of which all must hold; none: every call matches.
    #[serde(default)]
    pub args: Vec<Condition>,
    /// Why the rule is there.
    pub comment: Option<String>,
    /// The one architecture that this is for.
    pub only: Option<String>,
}

/// What an argument has to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Which argument, from 0.
    pub index: u8,
    /// `dword` for what the kernel takes as an `int`, `qword` for the rest.
    #[serde(rename = "type")]
    pub width: String,
    /// seccompiler's comparison.
    pub op: Value,
    /// What it is compared with.
    pub val: u64,
    /// What the number means.
    pub comment: Option<String>,
}

/// One rule, with the call's name at hand.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The name of the call.
    pub syscall: String,
    /// See [`Element::args`].
    pub args: Vec<Condition>,
    /// See [`Element::comment`].
    pub comment: Option<String>,
    /// See [`Element::only`].
    pub only: Option<String>,
}

/// A profile with its includes resolved, that keeps all rules.
#[derive(Debug)]
pub struct Checked {
    /// The name of its file, without `.json`.
    pub name: String,
    /// Whether it lists what is allowed; otherwise it lists what is refused.
    pub is_allow_list: bool,
    mismatch_action: Value,
    match_action: Value,
    /// All rules.
    pub rules: Vec<Rule>,
    /// The fragments that it includes.
    pub includes: BTreeSet<String>,
}

/// Reads a fragment.
///
/// # Errors
/// What is wrong with it.
pub fn fragment(text: &str) -> Result<Vec<Rule>, String> {
    let elements: Vec<Element> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    elements.into_iter().map(rule).collect()
}

fn rule(element: Element) -> Result<Rule, String> {
    match element {
        Element { include: None, syscall: Some(syscall), args, comment, only } => {
            if let Some(only) = &only
                && !ARCHITECTURES.contains(&only.as_str())
            {
                return Err(format!("{syscall}: no architecture is called {only}"));
            }
            Ok(Rule { syscall, args, comment, only })
        }
        other => Err(format!("neither a rule, nor an include where one may stand: {other:?}")),
    }
}

/// Reads the profile `name`, resolves its includes and checks it.
///
/// # Errors
/// What is wrong with it.
pub fn check(name: &str, text: &str, fragments: &BTreeMap<String, Vec<Rule>>) -> Result<Checked, String> {
    let mut filters: BTreeMap<String, Profile> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let profile =
        filters.remove(name).filter(|_| filters.is_empty()).ok_or("it must hold one filter, named as the file is")?;
    let mut rules = Vec::new();
    let mut includes = BTreeSet::new();
    for element in profile.filter {
        if let Element { include: Some(fragment), syscall: None, args, comment: None, only: None } = &element
            && args.is_empty()
        {
            rules
                .extend_from_slice(fragments.get(fragment).ok_or_else(|| format!("no fragment is called {fragment}"))?);
            if !includes.insert(fragment.clone()) {
                return Err(format!("{fragment} is included twice"));
            }
        } else {
            rules.push(rule(element)?);
        }
    }
    let is_allow_list = profile.match_action == json!("allow");
    let checked = Checked {
        name: name.to_owned(),
        is_allow_list,
        mismatch_action: profile.mismatch_action,
        match_action: profile.match_action,
        rules,
        includes,
    };
    checked.lint().map(|()| checked)
}

impl Rule {
    /// Whether it holds only where the argument `index` has none of these bits.
    fn keeps_out(&self, index: u8, bits: u64) -> bool {
        self.args.iter().filter(|condition| condition.index == index && condition.val & bits == 0).any(|condition| {
            let mask = condition.op.get("masked_eq").and_then(Value::as_u64);
            condition.op == json!("eq") || mask.is_some_and(|mask| mask & bits == bits)
        })
    }

    /// Whether it holds only where the argument `index` is this.
    fn demands(&self, index: u8, value: u64) -> bool {
        let is =
            |condition: &Condition| condition.index == index && condition.op == json!("eq") && condition.val == value;
        self.args.iter().any(is)
    }
}

impl Checked {
    fn lint(&self) -> Result<(), String> {
        let refuses = self.match_action.get("errno").is_some_and(Value::is_u64);
        match (self.is_allow_list, self.mismatch_action.as_str(), refuses) {
            (true, Some("kill_process"), _) | (false, Some("allow"), true) => {}
            _ => return Err("an allow-list kills the process (kill_process), a deny-list answers with an errno".into()),
        }
        if self.is_allow_list && !self.includes.contains(PANIC_PATH) {
            return Err(format!("an allow-list includes {PANIC_PATH}"));
        }
        for architecture in ARCHITECTURES {
            let mut unconditional = BTreeMap::new();
            for rule in self.rules_on(architecture) {
                let always = rule.args.is_empty();
                // seccompiler keeps only one of the two, without a word.
                match unconditional.insert(&rule.syscall, always) {
                    Some(before) if before || always => {
                        return Err(format!("{} stands there again beside a rule without conditions", rule.syscall));
                    }
                    _ => {}
                }
            }
        }
        self.rules.iter().try_for_each(|rule| self.lint_rule(rule))?;
        if self.is_allow_list { self.rules.iter().try_for_each(|rule| self.lint_modes(rule)) } else { Ok(()) }
    }

    /// Nothing that is set-id is made, nothing is opened to others by its name, and there are handles only where they
    /// are needed.
    fn lint_modes(&self, rule: &Rule) -> Result<(), String> {
        let syscall = rule.syscall.as_str();
        let argument = |table: &[(&str, u8)]| table.iter().find(|(name, _)| *name == syscall).map(|(_, index)| *index);
        if NEVER.contains(&syscall) {
            return Err(format!("{syscall} takes from memory what no filter sees"));
        }
        let flags = argument(&OPENING);
        let is_handle = flags.is_some_and(|flags| !rule.keeps_out(flags, HANDLE));
        if is_handle && !self.includes.contains(OPENING_UP) {
            return Err(format!("{syscall} with O_PATH is for what includes {OPENING_UP}"));
        }
        if argument(&BY_NAME).is_some_and(|mode| !rule.demands(mode, OWNERS)) {
            return Err(format!("{syscall} must take no other mode than 0700"));
        }
        let has_mode = flags.is_none_or(|flags| !rule.keeps_out(flags, CREATING));
        match argument(&MODES) {
            Some(mode) if has_mode && !rule.keeps_out(mode, SET_ID) => {
                Err(format!("{syscall} must mask the set-id bits out of its mode"))
            }
            _ => Ok(()),
        }
    }

    fn lint_rule(&self, rule: &Rule) -> Result<(), String> {
        let Rule { syscall, args, comment, .. } = rule;
        let explained = comment.as_ref().is_some_and(|comment| !comment.trim().is_empty());
        if DANGEROUS.contains(&syscall.as_str()) && !explained {
            return Err(format!("{syscall} is dangerous and has no comment"));
        }
        if self.is_allow_list && args.is_empty() && ONLY_WITH_CONDITIONS.contains(&syscall.as_str()) {
            return Err(format!("{syscall} must have conditions"));
        }
        if args.iter().any(|condition| condition.comment.as_ref().is_none_or(|comment| comment.trim().is_empty())) {
            return Err(format!("{syscall} has a condition without a comment"));
        }
        Ok(())
    }

    /// What a deny-list begins with: calls that were not reviewed do not exist. Those of x86_64's x32 convention, whose
    /// numbers have a high bit, are among them. An allow-list does not know them anyway.
    pub fn ceiling(&self, architecture: &str) -> Vec<Step> {
        let own = LAST_OWN.into_iter().find(|(name, _)| *name == architecture);
        match own {
            Some((_, last_own)) if !self.is_allow_list => vec![
                (LOAD, 0, 0, 0),
                (JUMP_IF_GREATER, 2, 0, NEWEST_REVIEWED.1),
                (JUMP_IF_NOT_BELOW, 2, 0, FIRST_COMMON),
                (JUMP_IF_GREATER, 0, 1, last_own),
                (RETURN, 0, 0, NO_SUCH_CALL),
            ],
            _ => Vec::new(),
        }
    }

    /// The rules that stand for one architecture.
    pub fn rules_on(&self, architecture: &str) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.only.as_ref().is_none_or(|only| only == architecture))
    }

    /// The profile for one architecture in seccompiler's own format.
    pub fn plain(&self, architecture: &str) -> String {
        let rules: Vec<Value> = self
            .rules_on(architecture)
            .map(|rule| {
                let conditions: Vec<Value> = rule
                    .args
                    .iter()
                    .map(|condition| {
                        json!({"index": condition.index, "type": condition.width, "op": condition.op, "val": condition.val})
                    })
                    .collect();
                if conditions.is_empty() {
                    json!({"syscall": rule.syscall})
                } else {
                    json!({"syscall": rule.syscall, "args": conditions})
                }
            })
            .collect();
        let filter =
            json!({"mismatch_action": self.mismatch_action, "match_action": self.match_action, "filter": rules});
        json!({ &self.name: filter }).to_string()
    }
}
