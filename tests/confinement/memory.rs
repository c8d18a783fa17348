//! What a helper still has in its memory when it ends: nothing of a proxy.

use crate::common::{Call, Site, pem};
use crate::tracing::{Event, Next, Side, trace};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// How much of a proxy in one piece is a find.
const PIECE: usize = 24;

/// The writable memory of a stopped process.
fn memory(pid: i32) -> Vec<u8> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let file = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut part = vec![0; (to - from) as usize];
        file.read_exact_at(&mut part, from).unwrap();
        all.extend(part);
    }
    all
}

/// The pieces of the proxy's key that are in `memory`.
fn found(memory: &[u8], proxy: &[u8]) -> usize {
    let text = std::str::from_utf8(proxy).unwrap();
    let key = text.split("PRIVATE KEY-----").nth(1).expect("a proxy has a key").as_bytes();
    let pieces: Vec<&[u8]> = key.chunks_exact(PIECE).collect();
    assert!(pieces.len() >= 3, "a key of {} bytes", key.len());
    // Most of a memory is zeros.
    memory.windows(PIECE).filter(|window| window[0] != 0 && pieces.contains(window)).count()
}

/// How often a piece of the proxies is in the memory of each side, at the most, over its life and at its end.
fn pieces(call: Call, proxies: &[Vec<u8>]) -> HashMap<Side, (usize, usize)> {
    let running = call.traced().start();
    let helper = running.pid() as i32;
    let mut seen: HashMap<Side, (usize, usize)> = HashMap::new();
    let look = |pid| proxies.iter().map(|proxy| found(&memory(pid), proxy)).sum::<usize>();
    let finished = trace(running, |tracee, event| {
        if let Event::Entry(registers) = event {
            let is_end = registers.orig_rax == libc::SYS_exit_group as u64;
            let passes_on =
                [libc::SYS_sendmsg, libc::SYS_pwrite64, libc::SYS_write].contains(&(registers.orig_rax as i64));
            if is_end || passes_on {
                let side = Side::of(tracee.process, helper);
                let (most, last) = seen.entry(side).or_default();
                let now = look(tracee.process);
                *most = now.max(*most);
                if is_end {
                    *last = now;
                }
            }
        }
        Next::Call
    });
    finished.expect(0);
    seen
}

#[test]
#[ignore = "needs root"]
fn no_piece_of_a_proxy_is_left_in_the_memory_of_a_helper_that_ends() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let proxies = [pem(1), pem(7)].map(Vec::from);
    let setup = pieces(site.setup(&sandbox), &proxies);
    let new = site.private_file("new-proxy", &pem(7));
    let update = pieces(site.update_proxy(&sandbox, &new), &proxies);
    // A proxy that the job has put elsewhere comes back like any other file.
    crate::common::put_file(crate::common::GREG, &sandbox.path.join("copy"), &pem(7), 0o600);
    let cleanup = pieces(site.cleanup(&sandbox), &proxies);
    for (helper, seen) in [("setup", setup), ("update_proxy", update), ("cleanup", cleanup)] {
        for side in [Side::Pilot, Side::Target] {
            let (most, last) = seen[&side];
            assert!(most > 0, "{helper}, {side:?}: it never had the proxy, or it was not found");
            assert_eq!(last, 0, "{helper}, {side:?}: pieces of a proxy are left");
        }
    }
}
