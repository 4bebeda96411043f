//! Where a file belongs: a relative path that cannot leave its folder.
//!
//! A name comes from the other end and becomes a path on this machine, so it is checked once, here,
//! and the same on every system: a backslash or a drive letter leaves no folder on Linux, but it
//! does where the file is passed on to.

use std::{fmt, str::FromStr};

use crate::limits::{MAX_FILE_NAME_BYTES, MAX_NAME_PART_BYTES};

/// What an unfinished file's name ends with.
pub const PART_SUFFIX: &str = ".part";

/// A relative path: parts in any script, separated by `/`.
///
/// It has no empty part, no `.` and no `..`, no control character, no backslash, no drive letter,
/// at most [`MAX_FILE_NAME_BYTES`] in all and [`MAX_NAME_PART_BYTES`] in each part.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelativeName(String);

/// A text is not a relative path. Positions are bytes from the start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("the file name is empty")]
    Empty,
    /// Longer than the limit.
    #[error("the file name has {bytes} bytes with its folders, at most {most} are accepted", most = MAX_FILE_NAME_BYTES)]
    TooLong {
        /// How long it was.
        bytes: usize,
    },
    /// One part is longer than file systems take.
    #[error("the part of the file name at byte {at} has {bytes} bytes, at most {most} are accepted", most = MAX_NAME_PART_BYTES)]
    PartTooLong {
        /// Where it begins.
        at: usize,
        /// How long it was.
        bytes: usize,
    },
    /// It starts with `/` or a drive letter.
    #[error("the file name is absolute, accepted are paths relative to the shared folder")]
    Absolute,
    /// Two slashes in a row, or one at the end.
    #[error("the file name has an empty part at byte {at}: remove the extra slash")]
    EmptyPart {
        /// Where it would begin.
        at: usize,
    },
    /// `.` or `..`.
    #[error("the file name has the part {found:?} at byte {at}, which could leave the folder")]
    Dots {
        /// Which of the two.
        found: &'static str,
        /// Where it begins.
        at: usize,
    },
    /// A control character, a backslash, or a character that reorders text on the screen.
    #[error(
        "the file name has the character {found:?} at byte {at}, which is not accepted in file names"
    )]
    BadCharacter {
        /// The character.
        found: char,
        /// Where it stands.
        at: usize,
    },
    /// It ends like an unfinished file.
    #[error("file names that end in {PART_SUFFIX:?} are kept for unfinished files: rename it")]
    Unfinished,
    /// A part of it is named like an unfinished folder.
    #[error(
        "the part of the file name at byte {at} begins with \".\" and ends in {PART_SUFFIX:?}: such \
         names are kept for unfinished folders, rename it"
    )]
    UnfinishedFolder {
        /// Where it begins.
        at: usize,
    },
}

impl RelativeName {
    /// Checks the name of a file.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let name = Self::folder(text)?;
        if is_unfinished(name.file_name()) {
            return Err(NameError::Unfinished);
        }
        Ok(name)
    }

    /// Checks the name of a folder, which may end in anything but what [`RelativeName::staging`]
    /// makes.
    pub fn folder(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        check(&text)?;
        Ok(Self(text))
    }

    /// The path as text, `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// Everything before the last part, if there is anything.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// Where the file is kept until it is whole: beside its place, ending in [`PART_SUFFIX`].
    ///
    /// A name that leaves no room for the suffix is cut and told apart by its hash.
    pub fn part(&self) -> String {
        self.beside("")
    }

    /// Where a folder is kept until it is whole: beside its place, hidden, and with a name that
    /// nobody else can use.
    pub fn staging(&self) -> String {
        self.beside(".")
    }

    fn beside(&self, prefix: &str) -> String {
        let name = self.file_name();
        let room = MAX_NAME_PART_BYTES - PART_SUFFIX.len() - prefix.len();
        let part = if name.len() <= room {
            format!("{prefix}{name}{PART_SUFFIX}")
        } else {
            let hash = blake3::hash(name.as_bytes()).to_hex();
            let kept = name.floor_char_boundary(room - 17);
            format!("{prefix}{}~{}{PART_SUFFIX}", &name[..kept], &hash[..16])
        };
        match self.parent() {
            Some(parent) => format!("{parent}/{part}"),
            None => part,
        }
    }
}

/// Whether a file's name is one that [`RelativeName::part`] makes. Letters of either case count,
/// because some file systems do not tell them apart.
pub(super) fn is_unfinished(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() >= PART_SUFFIX.len()
        && bytes[bytes.len() - PART_SUFFIX.len()..].eq_ignore_ascii_case(PART_SUFFIX.as_bytes())
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_FILE_NAME_BYTES {
        return Err(NameError::TooLong { bytes: text.len() });
    }
    if text.starts_with(['/', '\\']) || has_drive(text) {
        return Err(NameError::Absolute);
    }
    if let Some((at, found)) = text.char_indices().find(|&(_, c)| is_refused(c)) {
        return Err(NameError::BadCharacter { found, at });
    }
    let mut at = 0;
    for part in text.split('/') {
        match part {
            "" => return Err(NameError::EmptyPart { at }),
            "." => return Err(NameError::Dots { found: ".", at }),
            ".." => return Err(NameError::Dots { found: "..", at }),
            _ if part.len() > MAX_NAME_PART_BYTES => {
                return Err(NameError::PartTooLong { at, bytes: part.len() });
            }
            _ if part.starts_with('.') && is_unfinished(part) => {
                return Err(NameError::UnfinishedFolder { at });
            }
            _ => at += part.len() + 1,
        }
    }
    Ok(())
}

/// `C:` at the start, with or without a slash behind it.
fn has_drive(text: &str) -> bool {
    matches!(text.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

/// The bidirectional controls make `gpj.exe` look like `exe.jpg`; nobody needs them in a name.
fn is_refused(c: char) -> bool {
    c.is_control()
        || c == '\\'
        || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

impl fmt::Display for RelativeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RelativeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl AsRef<str> for RelativeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_script_are_accepted() {
        for text in
            ["a", "logs/2026/run.txt", "测试/файл.zip", "é 🚁.bin", "..a", "a..", "12:30 log"]
        {
            assert_eq!(RelativeName::new(text).expect(text).as_str(), text);
        }
    }

    #[test]
    fn what_could_leave_the_folder_is_refused_with_its_place() {
        for (text, error) in [
            ("", NameError::Empty),
            ("/etc/passwd", NameError::Absolute),
            ("\\\\host\\share", NameError::Absolute),
            ("C:\\x", NameError::Absolute),
            ("c:x", NameError::Absolute),
            ("..", NameError::Dots { found: "..", at: 0 }),
            ("a/../b", NameError::Dots { found: "..", at: 2 }),
            ("a/./b", NameError::Dots { found: ".", at: 2 }),
            ("a//b", NameError::EmptyPart { at: 2 }),
            ("a/", NameError::EmptyPart { at: 2 }),
            ("a\\..\\b", NameError::BadCharacter { found: '\\', at: 1 }),
            ("a\0b", NameError::BadCharacter { found: '\0', at: 1 }),
            ("a\nb", NameError::BadCharacter { found: '\n', at: 1 }),
            ("a\u{202E}gpj.exe", NameError::BadCharacter { found: '\u{202E}', at: 1 }),
            ("film.mp4.part", NameError::Unfinished),
            ("x.PART", NameError::Unfinished),
            ("x/.PART", NameError::UnfinishedFolder { at: 2 }),
            (".set.part/tree/a", NameError::UnfinishedFolder { at: 0 }),
            ("a/.set.Part/b", NameError::UnfinishedFolder { at: 2 }),
        ] {
            assert_eq!(RelativeName::new(text), Err(error), "{text:?}");
        }
        assert_eq!(
            RelativeName::new("a/../b").expect_err("dots").to_string(),
            "the file name has the part \"..\" at byte 2, which could leave the folder"
        );
    }

    #[test]
    fn lengths_are_counted_in_bytes() {
        let part = "é".repeat(127);
        assert!(RelativeName::new(format!("{part}x/{part}y")).is_ok());
        assert_eq!(
            RelativeName::new(format!("a/{part}éé")),
            Err(NameError::PartTooLong { at: 2, bytes: 258 })
        );
        assert_eq!(
            RelativeName::new("a/".repeat(512) + "a"),
            Err(NameError::TooLong { bytes: 1025 })
        );
    }

    #[test]
    fn a_folder_may_end_like_an_unfinished_file() {
        assert!(RelativeName::folder("old.part").is_ok());
        assert!(RelativeName::new("old.part/file").is_ok());
    }

    #[test]
    fn an_unfinished_file_stands_beside_its_place_and_fits() {
        assert_eq!(RelativeName::new("a/b.zip").expect("good").part(), "a/b.zip.part");
        let long = "長".repeat(85);
        let part = RelativeName::new(format!("a/{long}")).expect("255 bytes").part();
        let other = RelativeName::new(format!("a/{}x", &long[..252])).expect("253 bytes").part();
        assert!(part.len() <= 2 + MAX_NAME_PART_BYTES && part.ends_with(PART_SUFFIX), "{part}");
        assert_ne!(part, other);
        assert_eq!(RelativeName::new("a/b").expect("good").staging(), "a/.b.part");
        let hidden = RelativeName::new(format!("a/{long}")).expect("255 bytes").staging();
        assert!(hidden.starts_with("a/.") && hidden.len() <= 2 + MAX_NAME_PART_BYTES, "{hidden}");
        assert!(RelativeName::folder(hidden).is_err(), "nobody else can use it");
    }
}
