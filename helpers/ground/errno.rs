//! Names of the kernel's errors that musl has no text for.

/// What musl says to them.
const NOTHING: &str = "No error information (os error ";

/// Each number with its name, which is all there is to say about it. Those above 511 are the kernel's own, but for
/// file systems that let them out.
const NAMES: &str = "44 ECHRNG 45 EL2NSYNC 46 EL3HLT 47 EL3RST 48 ELNRNG 49 EUNATCH 50 ENOCSI 51 EL2HLT 52 EBADE \
    53 EBADR 54 EXFULL 55 ENOANO 56 EBADRQC 57 EBADSLT 59 EBFONT 64 ENONET 65 ENOPKG 66 EREMOTE 68 EADV 69 ESRMNT \
    70 ECOMM 73 EDOTDOT 76 ENOTUNIQ 78 EREMCHG 79 ELIBACC 80 ELIBBAD 81 ELIBSCN 82 ELIBMAX 83 ELIBEXEC 85 ERESTART \
    86 ESTRPIPE 87 EUSERS 109 ETOOMANYREFS 117 EUCLEAN 118 ENOTNAM 119 ENAVAIL 120 EISNAM 132 ERFKILL 133 EHWPOISON \
    512 ERESTARTSYS 521 EBADHANDLE 522 ENOTSYNC 523 EBADCOOKIE 524 ENOTSUPP 525 ETOOSMALL 526 ESERVERFAULT \
    527 EBADTYPE 528 EJUKEBOX";

/// A message with names instead of no information.
pub(crate) fn named(mut message: String) -> String {
    if message.contains(NOTHING) {
        let mut words = NAMES.split_ascii_whitespace();
        while let (Some(number), Some(name)) = (words.next(), words.next()) {
            message = message.replace(&format!("{NOTHING}{number})"), &format!("{name} (os error {number})"));
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::named;
    use rustix::io::Errno;

    #[test]
    fn p9_every_error_has_a_text_or_a_name() {
        for number in 1..134 {
            let text = named(Errno::from_raw_os_error(number).to_string());
            // Linux has no errors of these numbers.
            assert_eq!(text.contains("No error"), [41, 58].contains(&number), "{number}: {text}");
            assert!(text.ends_with(&format!(" (os error {number})")), "{text}");
        }
        let two = format!("a: {}; b: {}", Errno::UCLEAN, Errno::from_raw_os_error(524));
        assert_eq!(named(two), "a: EUCLEAN (os error 117); b: ENOTSUPP (os error 524)");
        assert_eq!(named("as it is".to_owned()), "as it is");
    }
}
