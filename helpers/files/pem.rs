//! Whether a new proxy is a whole credential, as far as its form tells.

use crate::confine::Confined;

/// Whether `pem` is a whole proxy credential as far as its form tells: PEM blocks that are all complete, among them
/// at least one certificate and one private key, and nothing but Base64 in them.
///
/// Nothing is verified; the switcher does that. A file that was cut off or is empty would kill the job, though
/// (HTCondor's delegation can deliver one): a cut lies inside a block, whose end is missing then, or between blocks,
/// where it cannot be seen by anybody.
pub fn is_whole(pem: &[u8], _: &Confined) -> bool {
    let (mut certificates, mut keys) = (0_u32, 0_u32);
    let mut open: Option<Block<'_>> = None;
    for line in pem.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        let label = |front: &[u8]| line.strip_prefix(front).and_then(|rest| rest.strip_suffix(b"-----"));
        match (&mut open, label(b"-----BEGIN "), label(b"-----END ")) {
            (None, Some(begun), _) => open = Some(Block { label: begun, is_empty: true }),
            (Some(block), None, Some(ended)) => {
                if block.label != ended || block.is_empty {
                    return false;
                }
                certificates = certificates.saturating_add(u32::from(ended == b"CERTIFICATE"));
                keys = keys.saturating_add(u32::from(ended.ends_with(b"PRIVATE KEY")));
                open = None;
            }
            (Some(block), None, None) if line.iter().all(is_base64) => block.is_empty &= line.is_empty(),
            // Between blocks there may be text, but not the beginning of what would have been one.
            (None, None, None) if !line.starts_with(b"-") => {}
            _ => return false,
        }
    }
    open.is_none() && certificates > 0 && keys > 0
}

/// A block whose end has not come yet.
struct Block<'p> {
    label: &'p [u8],
    is_empty: bool,
}

fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use crate::confine::Confined;

    fn is_whole(pem: &[u8]) -> bool {
        super::is_whole(pem, &Confined::assumed())
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
