//! Whether a new proxy is a whole credential, as far as its form tells.

use crate::confine::Confined;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

/// The labels of blocks in which OpenSSL looks for a certificate, and for a key that needs no pass phrase.
const CERTIFICATES: [&[u8]; 3] = [b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"];
const KEYS: [&[u8]; 4] = [b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"DSA PRIVATE KEY"];
const ENCRYPTED_KEY: &[u8] = b"ENCRYPTED PRIVATE KEY";

/// With a header, the digits' lines have just this length, the last one at most.
const HEADED_LINE: usize = 64;

/// Why a file is no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It was cut off, or is none.
    NotWhole,
    /// Its first key is of no use without a pass phrase.
    Encrypted,
}

/// Whether `pem` is a whole proxy credential as far as its form tells, read as OpenSSL does: blocks that are all
/// complete, among them a certificate and a private key, and nothing but Base64 in them; any text between them.
///
/// Nothing is verified or decoded; the switcher does that. A file that was cut off or is empty would kill the job,
/// though (HTCondor's delegation can deliver one): a cut lies inside a block, whose end is missing then, or between
/// blocks, where it cannot be seen by anybody. Other than OpenSSL this refuses what ends in the beginning of a block,
/// and zeros, which are what a file system puts for content that it lost.
///
/// # Errors
/// It is not.
pub fn check(pem: &[u8], _: &Confined) -> Result<(), Unfit> {
    if pem.contains(&0) {
        return Err(Unfit::NotWhole);
    }
    let (mut has_certificate, mut has_key) = (false, false);
    let mut lines = pem.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let mut last: &[u8] = b"";
    // A byte order mark counts for nothing.
    let mut next = lines.next().map(|first| first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first));
    while let Some(line) = next {
        last = line;
        if let Some(label) = label(line, BEGIN) {
            let header = rest_of_block(label, &mut lines)?;
            // Whoever reads it takes the first key, and every certificate.
            match header {
                _ if label == ENCRYPTED_KEY && !has_key => return Err(Unfit::Encrypted),
                Header::Encrypted if KEYS.contains(&label) && !has_key => return Err(Unfit::Encrypted),
                Header::Other if KEYS.contains(&label) && !has_key => return Err(Unfit::NotWhole),
                Header::Encrypted | Header::Other if CERTIFICATES.contains(&label) => return Err(Unfit::NotWhole),
                _ => {}
            }
            has_certificate |= CERTIFICATES.contains(&label);
            has_key |= KEYS.contains(&label);
            last = b"";
        }
        next = lines.next();
    }
    let is_cut = !last.is_empty() && (BEGIN.starts_with(last) || last.starts_with(BEGIN));
    if has_certificate && has_key && !is_cut { Ok(()) } else { Err(Unfit::NotWhole) }
}

/// What stands before the empty line in a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    None,
    Encrypted,
    Other,
}

fn label<'p>(line: &'p [u8], front: &[u8]) -> Option<&'p [u8]> {
    line.strip_prefix(front)?.strip_suffix(b"-----")
}

/// Takes the lines of a block up to its end.
fn rest_of_block<'p>(begun: &[u8], lines: &mut impl Iterator<Item = &'p [u8]>) -> Result<Header, Unfit> {
    let mut header = None;
    // Of what came since the block's beginning or its empty line.
    let (mut first, mut is_base64, mut is_short): (Option<&[u8]>, bool, bool) = (None, true, false);
    for line in lines {
        if let Some(ended) = label(line, END) {
            let is_whole = ended == begun && first.is_some() && is_base64;
            return if is_whole { Ok(header.unwrap_or(Header::None)) } else { Err(Unfit::NotWhole) };
        }
        match (line.is_empty(), header) {
            (true, None) => {
                header = Some(match first.take() {
                    None => Header::None,
                    Some(line) if line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED") => Header::Encrypted,
                    Some(_) => Header::Other,
                });
                (is_base64, is_short) = (true, false);
            }
            (true, Some(_)) => break,
            (false, Some(_)) if is_short || line.len() > HEADED_LINE => break,
            (false, _) => {
                first = first.or(Some(line));
                is_base64 &= line.iter().all(is_digit_or_blank);
                is_short = line.len() < HEADED_LINE;
            }
        }
    }
    Err(Unfit::NotWhole)
}

fn is_digit_or_blank(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::Unfit;
    use crate::confine::Confined;

    fn is_whole(pem: &[u8]) -> bool {
        super::check(pem, &Confined::assumed()).is_ok()
    }

    const SHORT: &str = "MAUCAwEAAQ==";

    fn long() -> String {
        format!("{}\n", "q0+/".repeat(16)).repeat(20) + SHORT
    }

    fn block(label: &str, body: &str) -> String {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    #[test]
    fn whole_proxies_pass() {
        for key in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
            let pem = block("CERTIFICATE", SHORT) + &block(key, &long()) + &block("CERTIFICATE", &long());
            assert!(is_whole(pem.as_bytes()), "{pem}");
            assert!(is_whole(pem.replace('\n', "\r\n").as_bytes()));
            assert!(is_whole(format!("subject=/CN=x\n{pem}\n\n").as_bytes()));
        }
    }

    #[test]
    fn everything_cut_off_anywhere_in_a_block_is_refused() {
        let pem = block("CERTIFICATE", SHORT) + &block("PRIVATE KEY", &long()) + &block("CERTIFICATE", &long());
        let ends: Vec<usize> =
            pem.match_indices("-----END").map(|(at, _)| at + pem[at..].find('\n').unwrap()).collect();
        for cut in 0..pem.len() {
            // Cut right behind the key, what is left is a whole proxy without its chain; nothing in the file tells.
            let between_blocks = cut == ends[1] || cut == ends[1] + 1;
            assert_eq!(is_whole(&pem.as_bytes()[..cut]), between_blocks || cut == ends[2], "cut at {cut}");
        }
    }

    #[test]
    fn the_first_key_decides_whether_it_is_encrypted() {
        let check = |pem: String| super::check(pem.as_bytes(), &Confined::assumed());
        let certificate = block("CERTIFICATE", SHORT);
        let key = block("PRIVATE KEY", SHORT);
        for locked in [
            block("ENCRYPTED PRIVATE KEY", SHORT),
            block("RSA PRIVATE KEY", &format!("Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n{SHORT}")),
        ] {
            assert_eq!(check(certificate.clone() + &locked), Err(Unfit::Encrypted));
            assert_eq!(check(certificate.clone() + &locked + &key), Err(Unfit::Encrypted));
            assert_eq!(check(certificate.clone() + &key + &locked), Ok(()));
        }
    }

    #[test]
    fn lines_behind_a_header_have_64_digits_and_the_last_one_no_more() {
        let headed = |body: &str| block("CERTIFICATE", &format!("\n{body}")) + &block("PRIVATE KEY", SHORT);
        let digits = |count: usize| "A".repeat(count);
        for (lengths, taken) in [
            (&[64, 64][..], true),
            (&[64, 63], true),
            (&[65], false),
            (&[63, 64], false),
            (&[1], true),
            (&[64, 65], false),
        ] {
            let body: Vec<String> = lengths.iter().map(|length| digits(*length)).collect();
            assert_eq!(is_whole(headed(&body.join("\n")).as_bytes()), taken, "{lengths:?}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let certificate = block("CERTIFICATE", SHORT);
        let key = block("PRIVATE KEY", SHORT);
        for bad in [
            String::new(),
            certificate.clone(),
            key.clone(),
            certificate.clone() + &key.replace("END PRIVATE", "END PUBLIC"),
            certificate.clone() + &key.replace(SHORT, ""),
            certificate.clone() + &key.replace("AAQ", "A*Q"),
            certificate + "-----BEGIN PRIVATE KEY-----\n" + &key,
        ] {
            assert!(!is_whole(bad.as_bytes()), "{bad}");
        }
    }
}
