//! Whether a new proxy is a whole PEM credential.

use super::confined::confined;
use super::input::Input;
use glexec_rs::confine::Confined;
use glexec_rs::confine::side::CLEANUP_PILOT;
use glexec_rs::files::pem::{self, Unfit};

/// What stands between the dashes.
const LABELS: [&str; 11] = [
    "CERTIFICATE",
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "PUBLIC KEY",
    "X509 CRL",
    "X509 CERTIFICATE",
    "TRUSTED CERTIFICATE",
    "ENCRYPTED PRIVATE KEY",
    "DSA PRIVATE KEY",
    "EC PARAMETERS",
];

/// What may stand in front of a block's digits.
const HEADERS: [&str; 6] =
    ["", "\n", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", "Proc-Type: 4,MIC-CLEAR\n\n", "x\n\n", "\n\n"];

/// What may stand between blocks.
const BETWEEN: [&str; 4] = ["subject=/CN=x\n\n", "-----END X-----\n", "-----BEGIN\n--\n", "-----BEGIN X----\n"];

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The input is a file; and a recipe for one made of blocks.
pub fn target(data: &[u8]) {
    confined(&CLEANUP_PILOT, &[], |proof| check_all(data, proof));
}

fn check_all(data: &[u8], proof: &Confined) {
    check(data, proof);
    let mut input = Input::new(data);
    let mut pem = Vec::new();
    while !input.is_empty() && pem.len() < 1 << 16 {
        let how = input.byte();
        let content = match how & 7 {
            // A sequence of just this length, or of another one.
            0..=4 => der(input.text(), usize::from(how & 7)),
            5 => der(&input.text().repeat(200), 3),
            _ => input.text().to_vec(),
        };
        let (begin, end) = (LABELS[input.choice(LABELS.len())], LABELS[input.choice(LABELS.len())]);
        let end = if how & 0x40 == 0 { begin } else { end };
        let newline = if how & 8 == 0 { "\n" } else { "\r\n" };
        let header = if how & 0x80 == 0 { "" } else { HEADERS[input.choice(HEADERS.len())] };
        let body = header.to_owned() + &base64(&content).join(newline);
        // Behind it, digits and padding that do not belong there.
        let more = match if how & 0x20 == 0 { 0 } else { input.choice(5) } {
            0 => "".into(),
            1 => "=".into(),
            2 => "A===".into(),
            3 => "====".into(),
            _ => String::from_utf8_lossy(input.text()),
        };
        let before = if how & 16 == 0 { "" } else { BETWEEN[input.choice(BETWEEN.len())] };
        pem.extend_from_slice(
            format!("{before}-----BEGIN {begin}-----{newline}{body}{more}{newline}-----END {end}-----{newline}")
                .as_bytes(),
        );
    }
    check(&pem, proof);
    // Cut anywhere.
    let cut = data.iter().fold(0_usize, |sum, byte| sum * 31 % 65_521 + usize::from(*byte));
    check(&pem[..cut.min(pem.len())], proof);
}

fn check(pem: &[u8], proof: &Confined) {
    assert_eq!(pem::check(pem, proof), model(pem), "{:?}", String::from_utf8_lossy(pem));
}

/// The same question, answered in three steps: lines, blocks, what is in them.
fn model(pem: &[u8]) -> Result<(), Unfit> {
    let text = pem.strip_prefix("\u{feff}".as_bytes()).unwrap_or(pem);
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).collect();
    let (mut at, mut found) = (0, Vec::new());
    let mut is_cut = false;
    while let Some(line) = lines.get(at) {
        at += 1;
        let Some(label) = between(line, "BEGIN") else {
            is_cut =
                at == lines.len() && !line.is_empty() && b"-----BEGIN ".iter().zip(*line).all(|(one, two)| one == two);
            continue;
        };
        let Some(length) = lines[at..].iter().position(|line| between(line, "END").is_some()) else {
            found.push(None);
            break;
        };
        let ended = between(lines[at + length], "END");
        found.push(kind(label, &lines[at..at + length]).filter(|_| ended == Some(label)));
        at += length + 1;
    }
    if pem.contains(&0) {
        return Err(Unfit::NotWhole);
    }
    let (mut certificates, mut keys) = (0, 0);
    for kind in found {
        match kind {
            Some(Kind::Certificate) => certificates += 1,
            Some(Kind::Key) => keys += 1,
            Some(Kind::Locked) if keys == 0 => return Err(Unfit::Encrypted),
            Some(Kind::Strange) if keys == 0 => return Err(Unfit::NotWhole),
            Some(Kind::Other | Kind::Locked | Kind::Strange) => {}
            None => return Err(Unfit::NotWhole),
        }
    }
    if certificates > 0 && keys > 0 && !is_cut { Ok(()) } else { Err(Unfit::NotWhole) }
}

/// What a block is; the last one is a key with a header that nobody knows.
enum Kind {
    Certificate,
    Key,
    Locked,
    Other,
    Strange,
}

fn between<'p>(line: &'p [u8], word: &str) -> Option<&'p [u8]> {
    let front = format!("-----{word} ");
    (line.len() >= front.len() + 5 && line.starts_with(front.as_bytes()) && line.ends_with(b"-----"))
        .then(|| &line[front.len()..line.len() - 5])
}

/// `None` if it is malformed.
fn kind(label: &[u8], lines: &[&[u8]]) -> Option<Kind> {
    let empty = lines.iter().position(|line| line.is_empty());
    let (header, digits) = match empty {
        Some(at) => (&lines[..at], &lines[at + 1..]),
        None => (&lines[..0], lines),
    };
    let is_digit = |byte: &u8| DIGITS.contains(byte) || b"= \t".contains(byte);
    let all_digits = !digits.is_empty() && digits.concat().iter().all(is_digit);
    let lengths: Vec<usize> = digits.iter().map(|line| line.len()).collect();
    let in_form = match lengths.split_last() {
        Some((last, others)) => (1..=64).contains(last) && others.iter().all(|length| *length == 64),
        None => false,
    };
    if !all_digits || empty.is_some() && !in_form {
        return None;
    }
    let is_locked = header.first().is_some_and(|line| line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED"));
    Some(match core::str::from_utf8(label).unwrap_or_default() {
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" if header.is_empty() => Kind::Certificate,
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => return None,
        "ENCRYPTED PRIVATE KEY" => Kind::Locked,
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "DSA PRIVATE KEY" => {
            match (header.is_empty(), is_locked) {
                (true, _) => Kind::Key,
                (false, true) => Kind::Locked,
                (false, false) => Kind::Strange,
            }
        }
        _ => Kind::Other,
    })
}

/// A DER sequence around `content`, as credentials are, its length in so many bytes (0: the shortest form).
fn der(content: &[u8], length_bytes: usize) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    let length = match length_bytes {
        0 => vec![length[3] & 0x7f],
        count => [&[0x80 | count as u8], &length[4 - count..]].concat(),
    };
    [&[0x30], &length[..], content].concat()
}

fn base64(bytes: &[u8]) -> Vec<String> {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * index)) as usize & 63]));
        }
        text.push_str(&"=".repeat(3 - chunk.len()));
    }
    text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}
