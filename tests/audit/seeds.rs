//! Inputs to begin with: what the original code said, and what our own programs say about real trees.

use crate::bodies::confined::confined;
use crate::bodies::playground::Playground;
use crate::bodies::receive::{as_step, step};
use crate::bodies::{channel, environment, messages, receive};
use glexec_rs::confine::Confined;
use glexec_rs::confine::landlock::Grant;
use glexec_rs::confine::side::{CLEANUP_PILOT, CLEANUP_TARGET, reading};
use glexec_rs::copy::progress::Progress;
use glexec_rs::copy::send::{Tree, send_tree};
use glexec_rs::files::component::Component;
use glexec_rs::files::walk::{LIST, open_directory};
use glexec_rs::protocol::connection::{Connection, pair};
use glexec_rs::protocol::heard;
use glexec_rs::protocol::heard::record::Records;
use glexec_rs::protocol::heard::tree::Piece;
use glexec_rs::protocol::packet::Packet;
use glexec_rs::protocol::record::Record;
use glexec_rs::protocol::tree::{Totals, Verdict};
use rustix::fs::CWD;
use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Repeats an input at once, and writes it down where that is asked for.
fn keep(target: &str, name: &str, input: &[u8], body: fn(&[u8])) {
    body(input);
    if let Some(seeds) = std::env::var_os("FUZZ_SEEDS") {
        let directory = Path::new(&seeds).join(target);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), input).unwrap();
    }
}

/// The packets of one copy of a tree as a job leaves it.
fn packets_of_a_real_tree(what: &Tree<'_>) -> Vec<Vec<u8>> {
    let playground = Playground::new();
    drop(playground.directory("root"));
    for (name, content, mode) in
        [("x509", &b"secret"[..], 0o600), ("stdout", b"", 0o644), ("condor_exec.exe", b"#!/bin/sh\nexit 0\n", 0o4755)]
    {
        playground.file(&format!("root/{name}"), content, mode);
    }
    let root = playground.path.join("root");
    fs::create_dir_all(root.join("d/a/b")).unwrap();
    playground.file("root/d/large", &[7; 20_000], 0o600);
    playground.file("root/d/a/c", b"c", 0o400);
    for (name, target) in [("l", "d/a/c"), ("d/up", "../stdout"), ("out", "/etc/passwd"), ("d/a/b/out", "../../../..")]
    {
        symlink(target, root.join(name)).unwrap();
    }
    fs::hard_link(root.join("d/large"), root.join("d/large-again")).unwrap();

    let path = CString::new(root.as_os_str().as_bytes()).unwrap();
    let opened = open_directory(CWD, &path, LIST).unwrap();
    let granted = rustix::io::fcntl_dupfd_cloexec(&opened.directory, 3).unwrap();
    let (ours, theirs) = pair().unwrap();
    let receiver = std::thread::spawn(move || {
        confined(&CLEANUP_PILOT, &[], |proof| {
            let connection = Connection::new(theirs);
            let (mut packet, mut packets) = (Packet::default(), Vec::<Vec<u8>>::new());
            loop {
                connection.receive(&mut packet, proof).unwrap();
                packets.push(packet.bytes().to_vec());
                if let Some(Ok(Record::End { entries, .. })) = records(packet.bytes(), proof).last() {
                    let complete = Verdict::Complete(Totals { entries, ..Totals::default() });
                    connection.send(&complete.encode(), &[]).unwrap();
                    return packets;
                }
            }
        })
    });
    let connection = Connection::new(ours);
    let grant = Grant { object: granted.as_fd(), rights: reading() };
    confined(&CLEANUP_TARGET, &[grant], |proof| send_tree(&connection, opened, *what, Progress::none(), proof))
        .unwrap();
    receiver.join().unwrap()
}

fn records<'p>(packet: &'p [u8], proof: &Confined) -> Records<'p> {
    match heard::tree::piece(packet, proof) {
        Ok(Piece::Records(records)) => records,
        _ => panic!("no records"),
    }
}

#[test]
fn what_a_real_copy_says_is_received_step_by_step() {
    let proxy = Component::new(receive::PROXY.as_bytes()).unwrap();
    for (name, first, what) in [("cleanup", 0, Tree::Results(&proxy)), ("setup", 1, Tree::Inputs(None))] {
        let mut steps = vec![first];
        for packet in packets_of_a_real_tree(&what) {
            keep("messages", name, &packet, messages::target);
            confined(&CLEANUP_PILOT, &[], |proof| {
                for record in records(&packet, proof) {
                    steps.extend(as_step(&record.unwrap()).expect("a record that has a step"));
                }
            });
            steps.push(step::FLUSH);
        }
        // Behind the end there is nothing to be flushed.
        steps.pop();
        keep("receive", name, &steps, receive::target);
    }
}

/// Steps of a sender, whose tree is complete.
fn whole(first: u8, steps: &[&[u8]]) -> Vec<u8> {
    [&[first], &steps.concat()[..], &[step::END, 0, 0, 0]].concat()
}

#[test]
fn every_record_is_received_in_a_whole_copy() {
    let record = |kind: u8, name: u8, mode: u16, last: &[u8]| {
        let [low, high] = mode.to_le_bytes();
        let attributes = if matches!(kind, step::FILE | step::LEFT_OUT) { vec![] } else { vec![low, high, 1] };
        [&[kind, name], &attributes[..], last].concat()
    };
    let directory = |name: u8, mode: u16| record(step::ENTER, name, mode, &[]);
    let closed = |name: u8, mode: u16| [directory(name, mode), vec![step::LEAVE]].concat();
    let file = |name: u8, mode: u16| record(step::SMALL, name, mode, b"\x07content");
    let link = |name: u8, target: u8| record(step::SYMLINK, name, 0o777, &[target]);
    let every_kind = |name: u8| {
        let passed = record(step::FILE, name, 0, &[0]);
        [closed(name, 0o755), file(name, 0o644), link(name, 0), passed, record(step::LEFT_OUT, name, 0, &[])]
    };
    let numbers = |count: usize| 0..u8::try_from(count).unwrap();
    let mut inputs = Vec::new();
    // The pilot's tree, and a job's.
    for first in [1, 0] {
        for name in numbers(receive::NAMES.len()) {
            inputs.extend(every_kind(name).map(|one| whole(first, &[&one])));
        }
        for (one, other) in (0..5).flat_map(|one| (0..5).map(move |other| (one, other))) {
            inputs.push(whole(first, &[&every_kind(0)[one], &every_kind(0)[other]]));
        }
        for bit in 0..16 {
            let (mode, odd) = (1 << bit, 0o7777 ^ (1 << bit));
            inputs.push(whole(first, &[&closed(0, mode), &file(1, mode), &closed(2, odd), &file(3, odd)]));
        }
        for kind in numbers(receive::KINDS) {
            let passed = |name| record(step::FILE, name, 0, &[kind]);
            inputs.push(whole(first, &[&passed(0), &passed(1), &directory(2, 0o700), &passed(0), &[step::LEAVE]]));
        }
    }
    // And under each rule for links, beside a directory that their targets can go through.
    for first in [1, 0, 2, 4] {
        for (target, depth) in
            numbers(receive::TARGETS.len()).flat_map(|target| (0..3).map(move |depth| (target, depth)))
        {
            let (down, up) = (directory(3, 0o755).repeat(depth), vec![step::LEAVE; depth]);
            inputs.push(whole(first, &[&down, &closed(0, 0o755), &link(1, target), &file(2, 0o600), &up]));
        }
    }
    // Through a link that leads up (`..`, `.`, `../..`), one whose target goes on from there (`a/../../beside`,
    // `a/..`).
    for (up, through, depth) in [1, 2, 3]
        .into_iter()
        .flat_map(|up| [(up, 9), (up, 12)])
        .flat_map(|(up, through)| (1..4).map(move |depth| (up, through, depth)))
    {
        let (down, back) = (directory(3, 0o755).repeat(depth), vec![step::LEAVE; depth]);
        inputs.push(whole(0, &[&down, &link(0, up), &link(1, through), &back]));
    }
    for (number, input) in inputs.iter().enumerate() {
        keep("receive", &format!("whole-{number}"), input, receive::target);
    }
}

#[test]
fn every_message_with_descriptors_is_taken_or_refused() {
    for passed in 0..8_u8 {
        for (at, which) in (0..=passed.count_ones() as usize).flat_map(|at| (0..64).map(move |which| (at, which))) {
            let mut input = vec![0x80 | passed, 7, 0, 0, 0, 0];
            input.truncate(3 + passed.count_ones() as usize);
            input[2 + at] = which;
            keep(
                "channel",
                &format!("{passed}-{at}-{which}"),
                &[&input, &b"A=1 B='2 3'"[..]].concat(),
                channel::target,
            );
        }
    }
}

#[test]
fn every_form_of_one_block_beside_a_whole_one_is_taken_or_refused() {
    // How it is written, its content, its labels, what stands behind its content; the other block is whole.
    let block = |how: u8, length: u8, more: u8, label: u8| {
        let more = if how & 0x20 == 0 { &[][..] } else { &[more] };
        [&[how, length], &vec![7; length.into()][..], &[label, label], more].concat()
    };
    for how in (0..8).flat_map(|how| [how, 0x20 | how, 0x40 | how]) {
        for (length, more) in
            [0, 1, 3, 4, 6, 9, 125, 128, 200, 255].into_iter().flat_map(|length| (0..5).map(move |more| (length, more)))
        {
            let input = [block(1, 100, 0, 0), block(how, length, more, 1)].concat();
            keep("pem", &format!("{how}-{length}-{more}"), &input, crate::bodies::pem::target);
        }
    }
    // Every label with every header, and what stands in front of it.
    for (label, header, before) in (0..11).flat_map(|label| (0..24).map(move |rest| (label, rest / 4, rest % 4))) {
        let input = [block(1, 100, 0, 0), block(0x91, 100, 0, label), vec![header, before]].concat();
        keep("pem", &format!("{label}-{header}-{before}"), &input, crate::bodies::pem::target);
    }
}

#[test]
fn what_a_site_has_anyway_is_taken() {
    for (target, body, path) in [
        ("policy", crate::bodies::policy::target as fn(&[u8]), "helpers/policy/example.conf"),
        ("proc_files", crate::bodies::proc_files::target, "/proc/self/stat"),
        ("proc_files", crate::bodies::proc_files::target, "/proc/self/status"),
        ("env_file", crate::bodies::env_file::target, "/proc/self/environ"),
    ] {
        let content = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        keep(target, path.rsplit('/').next().unwrap(), &content, body);
    }
}

#[test]
fn what_the_original_said_is_understood() {
    for (file, field) in [("env_merge.json", "raw"), ("env_encode.json", "raw_sent")] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
        let file: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        for case in file["cases"].as_array().unwrap() {
            let digits = case[field].as_str().unwrap().as_bytes();
            let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            let raw: Vec<u8> = digits.chunks(2).map(byte).collect();
            keep("environment", case["id"].as_str().unwrap(), &raw, environment::target);
        }
    }
}
