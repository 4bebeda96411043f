//! Files that are called like one that somebody has elsewhere: `FS_RESOLVE`.

use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use globset::{GlobBuilder, GlobMatcher};
use serde_json::{Value, json};

use super::{Place, Refused, below};

/// Folders within folders that are looked into.
const DEEPEST: u32 = 5;

/// Candidates that are told.
const TOLD: usize = 20;

/// Candidates that are weighed.
const WEIGHED: usize = 1000;

/// How long a search may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A pattern has to say so much, or everything would match.
const LEAST_CHARACTERS: usize = 3;

/// Longer than any file's name.
const LONGEST_PATTERN: usize = 255;

/// `pattern::size::depth::mount`; everything but the pattern may be left out.
pub(super) fn resolve(place: &Place, rest: &str) -> Result<Value, Refused> {
    let mut parts = rest.split("::");
    let pattern = parts.next().unwrap_or_default();
    let mut number = || {
        let text = parts.next().unwrap_or_default();
        let bad = |_| ("INVALID_REQUEST", format!("{text:?} is no whole number"));
        if text.is_empty() { Ok(None) } else { text.parse::<u64>().map(Some).map_err(bad) }
    };
    let (size, depth) = (number()?, number()?);
    let mount = parts.next().unwrap_or_default();
    if pattern.is_empty() {
        return Err(("INVALID_REQUEST", "Pattern is required".to_owned()));
    }
    if !mount.is_empty() && !mount.eq_ignore_ascii_case("all") && mount != place.label() {
        let mount: String = mount.chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(("MOUNT_NOT_FOUND", format!("Mount '{mount}' not found")));
    }
    let name = pattern.rsplit(['/', '\\']).next().unwrap_or(pattern);
    let wanted = Wanted::new(name, size)?;
    let began = Instant::now();
    let depth = depth.map_or(DEEPEST, |depth| DEEPEST.min(u32::try_from(depth).unwrap_or(DEEPEST)));
    let (mut found, timeout) = search(place, &wanted, depth, &|| began.elapsed() > PATIENCE);
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.path.cmp(&b.path)));
    let truncated = found.len() > TOLD;
    let candidates: Vec<_> = found
        .iter()
        .take(TOLD)
        .map(|found| {
            json!({
                "path": found.path, "name": found.name, "size": found.size,
                "modified": found.modified, "match_type": found.how, "score": found.score,
            })
        })
        .collect();
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(json!({
        "candidates": candidates, "truncated": truncated, "timeout": timeout,
        "search_time_ms": took,
    }))
}

struct Wanted {
    name: String,
    glob: Option<GlobMatcher>,
    size: Option<u64>,
}

struct Found {
    path: String,
    name: String,
    size: u64,
    modified: f64,
    how: &'static str,
    score: f64,
}

impl Wanted {
    fn new(name: &str, size: Option<u64>) -> Result<Self, Refused> {
        if name.chars().count() > LONGEST_PATTERN {
            let words = format!("at most {LONGEST_PATTERN} characters are accepted in a pattern");
            return Err(("INVALID_REQUEST", words));
        }
        let literal = name.chars().filter(|c| !"*?[]".contains(*c)).count();
        let is_glob = name.contains(['*', '?', '[']);
        if literal < LEAST_CHARACTERS && (is_glob || literal == 0) {
            let words =
                format!("Pattern must contain at least {LEAST_CHARACTERS} non-wildcard characters");
            return Err(("PATTERN_TOO_BROAD", words));
        }
        // What is no pattern after all is compared as a name.
        let glob = GlobBuilder::new(name).case_insensitive(true).literal_separator(true).build();
        let glob = glob.ok().filter(|_| is_glob).map(|glob| glob.compile_matcher());
        Ok(Self { name: name.to_lowercase(), glob, size })
    }

    fn matches(&self, name: &str) -> Option<(&'static str, f64)> {
        let lower = name.to_lowercase();
        if lower == self.name {
            Some(("exact", 100.0))
        } else if self.glob.as_ref().is_some_and(|glob| glob.is_match(name)) {
            Some(("wildcard", 50.0))
        } else {
            lower.contains(&self.name).then_some(("substring", 25.0))
        }
    }

    fn size_score(&self, size: u64) -> f64 {
        match self.size {
            Some(wanted) if wanted == size && size > 0 => 20.0,
            Some(wanted) if size > 0 && size.abs_diff(wanted) < wanted / 10 => 10.0,
            _ => 0.0,
        }
    }
}

/// Everything that matches, up to a bound, and whether the time ran out. Links are not followed.
fn search(
    place: &Place,
    wanted: &Wanted,
    depth: u32,
    is_late: &dyn Fn() -> bool,
) -> (Vec<Found>, bool) {
    let mut found = Vec::new();
    let Ok(top) = place.dir().try_clone() else { return (found, false) };
    let mut folders: Vec<(Dir, String, u32)> = vec![(top, String::new(), 0)];
    while let Some((dir, folder, level)) = folders.pop() {
        let Ok(entries) = dir.entries() else { continue };
        for entry in entries {
            if is_late() {
                return (found, true);
            }
            let Ok(entry) = entry else { continue };
            let Ok(kind) = entry.file_type() else { continue };
            let Ok(name) = entry.file_name().into_string() else { continue };
            if kind.is_dir() && level < depth {
                if let Ok(inner) = entry.open_dir() {
                    folders.push((inner, below(&folder, &name), level + 1));
                }
            } else if kind.is_file()
                && let Some((how, score)) = wanted.matches(&name)
                && let Ok(metadata) = entry.metadata()
            {
                let path = place.path(&below(&folder, &name));
                let modified = metadata
                    .modified()
                    .ok()
                    .and_then(|time| time.into_std().duration_since(std::time::UNIX_EPOCH).ok());
                let separators = path.matches('/').count() as f64;
                found.push(Found {
                    score: score + wanted.size_score(metadata.len()) - separators * 0.1,
                    size: metadata.len(),
                    modified: modified.map_or(0.0, |since| since.as_secs_f64()),
                    path,
                    name,
                    how,
                });
                if found.len() >= WEIGHED {
                    return (found, false);
                }
            }
        }
    }
    (found, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(home.path().join("a/b/c/d/e/f")).expect("made");
        for (name, bytes) in [
            ("mice.mp4", 10),
            ("a/Mice.MP4", 100),
            ("a/old_mice.mp4.bak", 10),
            ("a/b/mice2.mp4", 10),
            ("a/b/c/d/e/mice.mp4", 10),
            ("a/b/c/d/e/f/mice.mp4", 10),
        ] {
            std::fs::write(home.path().join(name), vec![0; bytes]).expect("written");
        }
        let place = Place::open(home.path()).expect("opened");
        (home, place)
    }

    fn names(place: &Place, asked: &str) -> Vec<String> {
        let found = resolve(place, asked).expect("an answer");
        let root = place.path("");
        let candidates = found["candidates"].as_array().expect("candidates").iter();
        let path =
            |found: &Value| found["path"].as_str().expect("a path")[root.len() + 1..].to_owned();
        candidates.map(path).collect()
    }

    #[test]
    fn names_come_before_parts_of_names_and_the_right_size_first() {
        let (_home, place) = place();
        assert_eq!(
            names(&place, "/Users/me/mice.mp4::100"),
            ["a/Mice.MP4", "mice.mp4", "a/b/c/d/e/mice.mp4", "a/old_mice.mp4.bak"]
        );
        assert_eq!(names(&place, "mice.mp4::::0"), ["mice.mp4"]);
        assert_eq!(names(&place, "mice?.mp4"), ["a/b/mice2.mp4"]);
        assert!(names(&place, "nothing.mp4").is_empty());
    }

    #[test]
    fn what_would_match_everything_is_refused() {
        let (_home, place) = place();
        for (asked, code) in [
            ("*", "PATTERN_TOO_BROAD"),
            ("*.a", "PATTERN_TOO_BROAD"),
            ("", "INVALID_REQUEST"),
            ("/", "PATTERN_TOO_BROAD"),
            ("mice.mp4::x", "INVALID_REQUEST"),
            ("mice.mp4::::::elsewhere", "MOUNT_NOT_FOUND"),
        ] {
            assert_eq!(resolve(&place, asked).expect_err(asked).0, code, "{asked}");
        }
        assert_eq!(resolve(&place, &"x".repeat(300)).expect_err("long").0, "INVALID_REQUEST");
        // A pattern that cannot be read is a name.
        assert!(names(&place, "mice[").is_empty());
    }

    #[test]
    fn a_search_that_takes_too_long_says_so() {
        let (_home, place) = place();
        let wanted = Wanted::new("mice.mp4", None).expect("good");
        let (found, late) = search(&place, &wanted, 5, &|| true);
        assert!(found.is_empty() && late);
    }
}
