//! Which symbolic links may come back from a job.

use crate::files::component::Component;

/// Whether a link in a directory of `depth` (0 is the sandbox itself) can be kept: no chain of such links leads out
/// of the sandbox, and none names the proxy.
///
/// The target must be relative, `..` only in front and not more often than the link is deep, and its last component
/// must not be the proxy's name. Then every `..` is taken in the link's own real directory, where `depth` of them end
/// at the sandbox; what follows only descends, through directories or through links of which the same is true. So
/// nothing needs to be resolved, and it does not matter what the tree looks like later. A chain that ends at the
/// proxy must have a link whose last component is its name.
pub fn stays_inside(target: &[u8], depth: usize, proxy: &Component) -> bool {
    let mut climbed = 0_usize;
    let mut descended = false;
    let mut last: &[u8] = b".";
    for part in target.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
        if part != b".." {
            descended = true;
        } else if descended {
            return false;
        } else {
            climbed = climbed.saturating_add(1);
        }
        last = part;
    }
    !target.is_empty() && !target.starts_with(b"/") && climbed <= depth && last != proxy.bytes()
}

#[cfg(test)]
mod tests {
    use super::{Component, stays_inside};

    #[test]
    fn links_out_are_not_kept() {
        let proxy = Component::new(b"x509").unwrap();
        let kept = |target: &str, depth| stays_inside(target.as_bytes(), depth, &proxy);
        for (target, depth) in [
            ("a", 0),
            ("a/b", 0),
            ("./a", 0),
            (".", 0),
            ("..", 1),
            ("../a", 1),
            ("../../a/./b//c/", 2),
            ("x509/a", 0),
            ("...", 0),
        ] {
            assert!(kept(target, depth), "{target} at {depth}");
        }
        for (target, depth) in [
            ("", 5),
            ("/", 5),
            ("/a", 5),
            ("..", 0),
            ("./..", 0),
            ("../..", 1),
            ("a/..", 5),
            ("x/x/../..", 5),
            ("a/../b", 5),
            ("../a/..", 5),
            ("x509", 0),
            ("../x509", 1),
            ("./x509/", 0),
            ("d/x509", 0),
        ] {
            assert!(!kept(target, depth), "{target} at {depth}");
        }
    }
}
