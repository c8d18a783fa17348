//! Which symbolic links may come back from a job.

use crate::files::component::Component;

/// Whether a link in a directory of `depth` (0 is the sandbox itself) can be kept: no chain of such links leads out
/// of the sandbox, and none names the proxy.
///
/// A relative target may have `..` only in front and not more often than the link is deep, and its last component must
/// not be the proxy's name. Then every `..` is taken in the link's own real directory, where `depth` of them end
/// at the sandbox; what follows only descends, through directories or through links of which the same is true. So
/// nothing needs to be resolved, and it does not matter what the tree looks like later. A chain that ends at the
/// proxy must have a link whose last component is its name.
///
/// An absolute target must begin, component for component, with one of the `places`: paths of the sandbox in which
/// nobody but those who may replace the sandbox itself can swap a component. Whoever follows it comes to the sandbox by
/// them, and from there on it is a relative one of depth 0, in which there is no `..` at all.
pub fn stays_inside(target: &[u8], depth: usize, proxy: &Component, places: &[Vec<u8>]) -> bool {
    if target.starts_with(b"/") {
        return places.iter().filter_map(|place| below(place, target)).any(|rest| only_descends(rest, 0, proxy));
    }
    !target.is_empty() && only_descends(parts(target), depth, proxy)
}

/// The components of a path; empty ones and `.` mean nothing.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// What is left of a path behind `place`, if it begins with that.
fn below<'t>(place: &[u8], target: &'t [u8]) -> Option<impl Iterator<Item = &'t [u8]>> {
    let mut rest = parts(target);
    parts(place).all(|part| rest.next() == Some(part)).then_some(rest)
}

fn only_descends<'t>(parts: impl Iterator<Item = &'t [u8]>, depth: usize, proxy: &Component) -> bool {
    let mut climbed = 0_usize;
    let mut descended = false;
    let mut last: &[u8] = b".";
    for part in parts {
        if part != b".." {
            descended = true;
        } else if descended {
            return false;
        } else {
            climbed = climbed.saturating_add(1);
        }
        last = part;
    }
    climbed <= depth && last != proxy.bytes()
}

#[cfg(test)]
mod tests {
    use super::{Component, stays_inside};

    #[test]
    fn links_out_are_not_kept() {
        let proxy = Component::new(b"x509").unwrap();
        let kept = |target: &str, depth| stays_inside(target.as_bytes(), depth, &proxy, &[]);
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

    #[test]
    fn absolute_links_are_kept_below_the_sandboxs_own_paths() {
        let proxy = Component::new(b"x509").unwrap();
        let places = [b"/execute/dir_1".to_vec(), b"//real/./execute/../dir_1/".to_vec()];
        let kept = |target: &str| stays_inside(target.as_bytes(), 5, &proxy, &places);
        for target in [
            "/execute/dir_1",
            "/execute/dir_1/",
            "/execute/dir_1/a",
            "//execute/.//dir_1/./a//b/",
            "/real/execute/../dir_1/a",
            "/execute/dir_1/x509/a",
        ] {
            assert!(kept(target), "{target}");
        }
        for target in [
            "/",
            "/execute",
            "/execute/dir_12",
            "/execute/dir_1.condor/a",
            "/execute/dir_1/..",
            "/execute/dir_1/a/..",
            "/execute/dir_1/../dir_1/a",
            "/execute/../execute/dir_1/a",
            "/real/dir_1/a",
            "/execute/dir_1/x509",
            "/execute/dir_1/a/./x509/",
            "execute/dir_1/../../../../../../a",
        ] {
            assert!(!kept(target), "{target}");
        }
        assert!(!stays_inside(b"/a", 5, &proxy, &[]));
    }
}
