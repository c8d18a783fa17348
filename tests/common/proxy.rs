//! Proxy credentials as far as their form goes: whole PEM blocks of whole DER sequences, trusted by nobody.

#![forbid(unsafe_code)]

/// A proxy's file: certificate, key, and the certificate that signed it. `seed` makes its bytes differ from others.
pub fn pem(seed: u8) -> Vec<u8> {
    [("CERTIFICATE", 831), ("RSA PRIVATE KEY", 1187), ("CERTIFICATE", 1010)]
        .iter()
        .map(|(label, length)| block(label, &sequence(seed, *length)))
        .collect::<String>()
        .into_bytes()
}

/// A DER SEQUENCE with `length` bytes in it (256 to 65535).
fn sequence(seed: u8, length: u16) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    let content = (0..length).map(|index| (index % 251) as u8 ^ seed);
    [0x30, 0x82, high, low].into_iter().chain(content).collect()
}

fn block(label: &str, content: &[u8]) -> String {
    let text = base64(content);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        text.extend((0..=chunk.len()).map(|index| char::from(DIGITS[(bits >> (18 - 6 * index)) as usize & 63])));
        text.push_str(&"=".repeat(3 - chunk.len()));
    }
    text
}
