//! What OpenSSL makes of a file, and what update_proxy makes of it as a new proxy, side by side.

use crate::common::{Site, pem};
use std::fs;
use std::path::Path;
use std::process::Command;

/// OpenSSL as programs use it for a file with certificate, key and chain (`SSL_CTX_use_certificate_chain_file`,
/// `SSL_CTX_use_PrivateKey_file`, with no pass phrase): one answer for each file that is named.
const READ: &str = "
import ssl, sys
for file in sys.argv[1:]:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(file, password='')
        print('reads')
    except Exception:
        print('refuses')
";

/// A real certificate and its real key in several forms.
const MAKE: &str = "
openssl ecparam -name prime256v1 -genkey -out both
openssl req -x509 -new -key both -subj /CN=x -days 2 -out certificate
openssl x509 -in certificate -trustout -out trusted
openssl pkey -in both -out key
openssl ec -in both -out ec
openssl ecparam -name prime256v1 -out parameters
openssl pkey -in both -aes128 -passout pass:long -out encrypted
openssl ec -in both -aes128 -passout pass:long -out old-encrypted
";

fn output(command: &mut Command) -> String {
    let output = command.output().expect("openssl and python3 are there");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Another line as the block's `at`th.
fn with_line(block: &str, at: usize, line: &str) -> String {
    let mut lines: Vec<&str> = block.lines().collect();
    lines.insert(at, line);
    lines.join("\n") + "\n"
}

/// The same digits in lines of this length.
fn lines_of(block: &str, length: usize) -> String {
    let lines: Vec<&str> = block.lines().collect();
    let [begin, digits @ .., end] = &lines[..] else { panic!("a block") };
    let digits = digits.concat();
    let digits: Vec<&str> = digits.as_bytes().chunks(length).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("{begin}\n{}\n{end}\n", digits.join("\n"))
}

const TAKEN: &str = "";
const BROKEN: &str = "whole";
const ENCRYPTED: &str = "encrypted";

/// Each form with OpenSSL's verdict, and ours as the word of the refusal.
fn forms(of: impl Fn(&str) -> String) -> Vec<(&'static str, &'static str, &'static str, String)> {
    let [cert, key, ec] = ["certificate", "key", "ec"].map(&of);
    let [parameters, encrypted, old] = ["parameters", "encrypted", "old-encrypted"].map(&of);
    let in_cert = |at, line| with_line(&cert, at, line) + &key;
    let in_key = |at, line| cert.clone() + &with_line(&key, at, line);
    let key_label = |label: &str| cert.clone() + &key.replace("PRIVATE KEY", label);
    let cert_label = |label: &str| cert.replace("CERTIFICATE", label) + &key;
    let whole = cert.clone() + &key;
    let other = "-----BEGIN X-----\nAAAA\n-----END X-----\n";
    vec![
        // Labels.
        ("as they usually are", "reads", TAKEN, whole.clone() + &cert),
        ("the key first", "reads", TAKEN, key.clone() + &whole),
        ("EC PRIVATE KEY", "reads", TAKEN, cert.clone() + &ec),
        ("EC PARAMETERS before the key", "reads", TAKEN, cert.clone() + &parameters + &ec),
        ("EC PARAMETERS before all", "reads", TAKEN, parameters + &ec + &cert),
        ("X509 CERTIFICATE", "reads", TAKEN, cert_label("X509 CERTIFICATE")),
        ("TRUSTED CERTIFICATE", "reads", TAKEN, of("trusted") + &key),
        ("NEW CERTIFICATE", "refuses", BROKEN, cert_label("NEW CERTIFICATE")),
        ("PKCS7", "refuses", BROKEN, cert_label("PKCS7")),
        ("OPENSSH PRIVATE KEY", "refuses", BROKEN, key_label("OPENSSH PRIVATE KEY")),
        ("ANY PRIVATE KEY", "refuses", BROKEN, key_label("ANY PRIVATE KEY")),
        ("no key", "refuses", BROKEN, cert.clone()),
        ("no certificate", "refuses", BROKEN, key.clone()),
        ("another block", "reads", TAKEN, other.to_owned() + &whole),
        ("another block, empty", "refuses", BROKEN, other.replace("AAAA\n", "") + &whole),
        ("another block, not Base64", "refuses", BROKEN, other.replace("AAAA", "AA*A") + &whole),
        // Pass phrases.
        ("an encrypted key", "refuses", ENCRYPTED, cert.clone() + &encrypted),
        ("an encrypted key, the old form", "refuses", ENCRYPTED, cert.clone() + &old),
        ("an encrypted key before another", "refuses", ENCRYPTED, cert.clone() + &encrypted + &key),
        ("the old form before another", "refuses", ENCRYPTED, cert.clone() + &old + &key),
        ("an encrypted key behind another", "reads", TAKEN, whole.clone() + &encrypted),
        ("the old form behind another", "reads", TAKEN, whole.clone() + &old),
        (
            "another block, encrypted",
            "reads",
            TAKEN,
            with_line(&with_line(other, 1, ""), 1, "Proc-Type: 4,ENCRYPTED") + &whole,
        ),
        // Headers.
        ("another block with a header", "reads", TAKEN, with_line(&with_line(other, 1, ""), 1, "Comment: x") + &whole),
        ("a certificate with a header", "refuses", BROKEN, with_line(&with_line(&cert, 1, ""), 1, "Comment: x") + &key),
        ("a key with a header", "refuses", BROKEN, cert.clone() + &with_line(&with_line(&key, 1, ""), 1, "Comment: x")),
        ("a header without its end", "refuses", BROKEN, in_cert(1, "Comment: x")),
        ("an empty header", "reads", TAKEN, in_cert(1, "")),
        ("two", "refuses", BROKEN, with_line(&with_line(&cert, 1, ""), 1, "") + &key),
        ("an empty header and long lines", "refuses", BROKEN, with_line(&lines_of(&cert, 76), 1, "") + &key),
        ("an empty header and short lines", "refuses", BROKEN, with_line(&lines_of(&cert, 40), 1, "") + &key),
        ("an empty line within", "refuses", BROKEN, in_cert(3, "")),
        ("an empty line at the end", "refuses", BROKEN, in_key(4, "")),
        // Lines.
        ("ends of lines of another system", "reads", TAKEN, whole.replace('\n', "\r\n")),
        ("blanks at the ends of lines", "reads", TAKEN, whole.replace('\n', " \t\n")),
        ("blanks before digits", "reads", TAKEN, cert.replace("\nM", "\n  M") + &key),
        ("blanks between digits", "reads", TAKEN, cert.replace("-\nMI", "-\nM \tI") + &key),
        ("a blank before the beginning", "refuses", BROKEN, format!(" {whole}")),
        ("a blank before the end", "refuses", BROKEN, whole.replacen("-----END", " -----END", 1)),
        ("more behind the beginning", "refuses", BROKEN, whole.replacen("CATE-----", "CATE-----x", 1)),
        ("more behind the end", "refuses", BROKEN, whole.replacen("CATE-----\n-", "CATE-----x\n-", 1)),
        ("all digits in one line", "reads", TAKEN, lines_of(&cert, 9999) + &lines_of(&key, 9999)),
        ("lines of 76", "reads", TAKEN, lines_of(&cert, 76) + &key),
        ("lines of 7", "reads", TAKEN, lines_of(&cert, 7) + &key),
        ("no end of the last line", "reads", TAKEN, whole.trim_end().to_owned()),
        ("a byte order mark", "reads", TAKEN, format!("\u{feff}{whole}")),
        // Text between the blocks.
        ("text", "reads", TAKEN, format!("subject=/CN=x\n\n{cert}\nkey:\n{key}\n\n")),
        ("lines with dashes", "reads", TAKEN, format!("- x\n--\n-----\n---- x ----\n{cert}-----BEGIN x\n{key}")),
        ("an end of nothing", "reads", TAKEN, format!("-----END X-----\n{whole}-----END X-----\n")),
        // Content.
        ("no digit", "refuses", BROKEN, cert.replace("-\nMI", "-\nM*") + &key),
        ("a dash among the digits", "refuses", BROKEN, cert.replace("-\nMI", "-\nM-") + &key),
        ("a beginning among the digits", "refuses", BROKEN, in_cert(2, "-----BEGIN CERTIFICATE-----")),
        ("no end", "refuses", BROKEN, cert.replace("-----END CERTIFICATE-----\n", "") + &key),
        ("the end of something else", "refuses", BROKEN, cert.replace("END CERT", "END X509 CERT") + &key),
        ("cut off in the chain", "refuses", BROKEN, whole.clone() + &cert[..300]),
        // Where we are stricter: what was going to come is missing, and what was written is lost.
        ("cut off in a beginning", "reads", BROKEN, whole.clone() + "-----BEGIN CERT"),
        ("zeros behind it", "reads", BROKEN, whole.clone() + "\0\0\0\n"),
        // Where we know less: content is the switcher's to look at.
        ("a digit is missing", "refuses", TAKEN, cert.replace("-\nMI", "-\nM") + &key),
        ("padding among the digits", "refuses", TAKEN, cert.replace("-\nMI", "-\nM=") + &key),
    ]
}

#[test]
#[ignore = "needs root"]
fn u6_forms_of_a_new_proxy_as_openssl_reads_them() {
    let site = Site::new();
    let work = site.root.join("forms");
    fs::create_dir(&work).unwrap();
    output(Command::new("sh").args(["-ec", MAKE]).current_dir(&work));
    let forms = forms(|name| fs::read_to_string(work.join(name)).unwrap());
    let files: Vec<_> = (0..forms.len()).map(|index| work.join(format!("form{index}"))).collect();
    for (file, (_, _, _, content)) in files.iter().zip(&forms) {
        fs::write(file, content).unwrap();
    }
    let openssl = output(Command::new("python3").args(["-c", READ]).args(&files));

    let sandbox = site.handed_over();
    let mut last = pem(1);
    let mut differences = Vec::new();
    for ((form, theirs, word, content), answer) in forms.iter().zip(openssl.lines()) {
        let new = site.private_file("new", content.as_bytes());
        let finished = site.update_proxy(&sandbox, &new).run();
        let ours = if finished.code == Some(0) { TAKEN } else { word };
        if answer != *theirs || (finished.code == Some(0)) != (*word == TAKEN) {
            differences.push(format!("{form}: OpenSSL {answer}, we {:?}: {}", finished.code, finished.said()));
        } else if ours == TAKEN {
            finished.expect_quiet();
            last = content.clone().into_bytes();
        } else {
            finished.expect_refusal(1, &[word]);
        }
        assert!(!Path::new(&new).exists());
        assert!(fs::read(sandbox.proxy_path()).unwrap() == last, "{form}");
        assert!(fs::read(sandbox.parked_proxy()).unwrap() == last, "{form}");
    }
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(openssl.lines().count(), forms.len());
}
