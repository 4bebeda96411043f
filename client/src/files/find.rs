//! What one name is, and what is named like a pattern.

use cap_std::fs::Dir;
use globset::{GlobBuilder, GlobMatcher};
use halyard_protocol::{
    channel::{Entry, EntryKind, FileErrorCode},
    limits::{MAX_FILE_NAME_BYTES, MAX_FOLDER_DEPTH},
    transfer::{Failure, RelativeName},
};

use super::{
    Listing,
    failure::failed,
    list::{MAX_FOLDER_ENTRIES, described, listed, paged},
};

/// One file or folder, by the last part of its path.
pub(super) fn stat(root: &Dir, path: &RelativeName) -> Result<Entry, Failure> {
    let found =
        root.metadata(path.as_str()).map_err(|error| failed("look at", path.as_str(), &error))?;
    let kind = if found.is_dir() {
        EntryKind::Directory
    } else if found.is_file() {
        RelativeName::new(path.as_str())?;
        EntryKind::File
    } else {
        return Err(Failure::new(
            FileErrorCode::WrongKind,
            format!("{:?} is neither a file nor a folder", path.as_str()),
        ));
    };
    Ok(described(kind, path.file_name(), Some(&found)))
}

/// One page of what matches, sorted by path. Folders that links lead to are not searched: they may
/// lead in a circle.
pub(super) fn glob(root: &Dir, pattern: &str, offset: u64) -> Result<Listing, Failure> {
    let matcher = compiled(pattern)?;
    let mut search = Search { matcher, pattern, looked: 0, found: Vec::new() };
    // What stands before the first part with a wildcard need not be searched for.
    let fixed = fixed_part(pattern);
    if fixed.is_empty() {
        search.walk(root, "", 0)?;
    } else if let Ok(name) = RelativeName::folder(fixed)
        && root.metadata(name.as_str()).is_ok_and(|found| found.is_dir())
    {
        let below = root
            .open_dir(name.as_str())
            .map_err(|error| failed("search", name.as_str(), &error))?;
        search.walk(&below, name.as_str(), 0)?;
    }
    search.found.sort_unstable_by(|(_, a), (_, b)| a.cmp(b));
    Ok(paged(root, &search.found, offset))
}

fn compiled(pattern: &str) -> Result<GlobMatcher, Failure> {
    let wrong = |why: String| {
        Failure::new(
            FileErrorCode::BadName,
            format!("the pattern {why}; a pattern looks like models/**/*.ckpt"),
        )
    };
    if pattern.len() > MAX_FILE_NAME_BYTES {
        return Err(wrong(format!(
            "has {} bytes, at most {MAX_FILE_NAME_BYTES} are accepted",
            pattern.len()
        )));
    }
    if pattern.starts_with('/') || pattern.split('/').any(|part| part == "..") {
        return Err(wrong(format!("{pattern:?} leads out of the shared folder")));
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
    Ok(glob.map_err(|error| wrong(format!("cannot be read: {error}")))?.compile_matcher())
}

/// The folders before the first part that has a wildcard in it.
fn fixed_part(pattern: &str) -> &str {
    let special = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    pattern[..special].rfind('/').map_or("", |slash| &pattern[..slash])
}

struct Search<'a> {
    matcher: GlobMatcher,
    pattern: &'a str,
    looked: usize,
    found: Vec<(EntryKind, String)>,
}

impl Search<'_> {
    fn walk(&mut self, dir: &Dir, above: &str, depth: usize) -> Result<(), Failure> {
        let failed = |error| failed("search", above, &error);
        for entry in dir.entries().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            self.looked += 1;
            if self.looked > MAX_FOLDER_ENTRIES {
                return Err(Failure::new(
                    FileErrorCode::TooMany,
                    format!(
                        "{:?}: more than {MAX_FOLDER_ENTRIES} names would have to be looked at; \
                         name a folder to search in",
                        self.pattern
                    ),
                ));
            }
            let Some((kind, last)) = listed(dir, &entry) else { continue };
            let name = if above.is_empty() { last.clone() } else { format!("{above}/{last}") };
            if name.len() > MAX_FILE_NAME_BYTES {
                continue;
            }
            if self.matcher.is_match(&name) {
                self.found.push((kind, name.clone()));
            }
            let real = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if real && depth < MAX_FOLDER_DEPTH {
                // Gone meanwhile, or not for us: like a name that does not match.
                if let Ok(below) = dir.open_dir(&last) {
                    self.walk(&below, &name, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_begins_where_the_pattern_does() {
        for (pattern, fixed) in [
            ("models/**/*.ckpt", "models"),
            ("a/b/c.txt", "a/b"),
            ("*.txt", ""),
            ("a/b{1,2}/c", "a"),
            ("a\\*/b", ""),
        ] {
            assert_eq!(fixed_part(pattern), fixed, "{pattern}");
        }
    }

    #[test]
    fn patterns_that_lead_out_or_mean_nothing_are_refused() {
        for pattern in ["../*", "a/../*", "/etc/*", "a[", "{a", &"x".repeat(2000)] {
            let failure = compiled(pattern).expect_err(pattern);
            assert_eq!(failure.code, FileErrorCode::BadName, "{failure}");
            assert!(failure.message.contains("models/**/*.ckpt"), "{failure}");
        }
    }
}
