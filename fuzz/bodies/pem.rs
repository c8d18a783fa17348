//! Whether a new proxy is a whole PEM credential.

use super::confined::confined;
use super::input::Input;
use glexec_rs::confine::Confined;
use glexec_rs::confine::side::CLEANUP_PILOT;
use glexec_rs::files::pem::is_whole;

/// What stands between the dashes.
const LABELS: [&str; 6] = ["CERTIFICATE", "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "PUBLIC KEY", "X509 CRL"];

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
        let body = base64(&content).join(newline);
        // Behind it, digits and padding that do not belong there.
        let more = match if how & 0x20 == 0 { 0 } else { input.choice(5) } {
            0 => "".into(),
            1 => "=".into(),
            2 => "A===".into(),
            3 => "====".into(),
            _ => String::from_utf8_lossy(input.text()),
        };
        let before = if how & 16 == 0 { "" } else { "subject=/CN=x\n\n" };
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
    assert_eq!(is_whole(pem, proof), model(pem), "{:?}", String::from_utf8_lossy(pem));
}

/// The same question, answered block by block, each collected first.
fn model(pem: &[u8]) -> bool {
    let mut labels = Vec::new();
    let mut lines = pem.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let between = |line: &[u8], word: &str| {
        let text = String::from_utf8_lossy(line).into_owned();
        let inner = text.strip_prefix(&format!("-----{word} ")).and_then(|rest| rest.strip_suffix("-----"));
        inner.map(|_| line[6 + word.len()..line.len() - 5].to_vec())
    };
    while let Some(line) = lines.next() {
        let Some(label) = between(line, "BEGIN") else {
            if line.first() == Some(&b'-') {
                return false;
            }
            continue;
        };
        let mut body = Vec::new();
        let ended = loop {
            let Some(line) = lines.next() else { return false };
            match (between(line, "BEGIN"), between(line, "END")) {
                (Some(_), _) => return false,
                (None, Some(ended)) => break ended,
                (None, None) => body.extend_from_slice(line),
            }
        };
        let is_digit = |byte: &u8| DIGITS.contains(byte) || *byte == b'=';
        if ended != label || body.is_empty() || !body.iter().all(is_digit) {
            return false;
        }
        labels.push(label);
    }
    labels.iter().any(|label| label == b"CERTIFICATE") && labels.iter().any(|label| label.ends_with(b"PRIVATE KEY"))
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
