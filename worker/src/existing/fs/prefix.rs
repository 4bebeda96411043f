//! Paths that differ in how they begin: the same folder, mounted elsewhere.

/// The beginnings in which two paths differ: everything before their common end.
pub(super) fn changed(old: &str, new: &str) -> (String, String) {
    let (old_parts, new_parts) = (parts(old), parts(new));
    let ends = old_parts.iter().rev().zip(new_parts.iter().rev());
    let common = ends.take_while(|(old, new)| old == new).count();
    if common == 0 || common == old_parts.len() && common == new_parts.len() {
        return (old.to_owned(), new.to_owned());
    }
    let before = |parts: &[&str]| joined(&parts[..parts.len() - common]);
    (before(&old_parts), before(&new_parts))
}

/// The path with its beginning exchanged. `None` when it begins otherwise.
pub(super) fn exchanged(path: &str, old: &str, new: &str) -> Option<String> {
    if old.is_empty() {
        return Some(format!("{}/{path}", new.trim_end_matches('/')));
    }
    let rest = path.strip_prefix(old)?;
    // `/vast` is no beginning of `/vast2/a`.
    (rest.is_empty() || rest.starts_with('/') || old.ends_with('/')).then(|| format!("{new}{rest}"))
}

fn parts(path: &str) -> Vec<&str> {
    let root = path.starts_with('/').then_some("/");
    root.into_iter().chain(path.split('/').filter(|part| !part.is_empty())).collect()
}

fn joined(parts: &[&str]) -> String {
    match parts {
        ["/", rest @ ..] => format!("/{}", rest.join("/")),
        parts => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_stands_before_the_common_end() {
        for (old, new, prefixes) in [
            ("/Volumes/talmo/p/day1/v.mp4", "/vast/p/day1/v.mp4", ("/Volumes/talmo", "/vast")),
            ("/a/v.mp4", "/v.mp4", ("/a", "/")),
            ("p/v.mp4", "/root/p/v.mp4", ("", "/root")),
            ("/a/x.mp4", "/b/y.mp4", ("/a/x.mp4", "/b/y.mp4")),
            ("/a/x.mp4", "/a/x.mp4", ("/a/x.mp4", "/a/x.mp4")),
        ] {
            let (was, is) = changed(old, new);
            assert_eq!((was.as_str(), is.as_str()), prefixes, "{old} {new}");
        }
    }

    #[test]
    fn a_beginning_is_exchanged_at_whole_parts_alone() {
        let vast = |path| exchanged(path, "/Volumes/talmo", "/vast");
        assert_eq!(vast("/Volumes/talmo/a/b.mp4").as_deref(), Some("/vast/a/b.mp4"));
        assert_eq!(vast("/Volumes/talmo2/a.mp4"), None);
        assert_eq!(vast("/elsewhere/a.mp4"), None);
        assert_eq!(exchanged("a/b.mp4", "", "/vast/").as_deref(), Some("/vast/a/b.mp4"));
    }
}
