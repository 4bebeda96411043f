//! The words that people type: one table for flags, variables and the file.

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    One,
    /// Several: an array in the file, commas between them elsewhere.
    Many,
    /// Several: the flag is repeated, the variable has one a line, the file has tables.
    Lines,
    /// Several, each with keys of its own: tables in the file, and typed nowhere else.
    Tables,
    /// One value that must not be shown. `HALYARD_…_FILE`, or the key with `_file` behind it, names
    /// a file that holds it.
    Secret,
    /// Yes or no. On the command line the flag alone means yes.
    Switch,
}

/// One setting as people type it: `--room-ttl`, `HALYARD_ROOM_TTL` and `room_ttl` are the same.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The TOML key. The flag has dashes for underscores, the variable capitals and `HALYARD_`.
    pub name: &'static str,
    /// What it does.
    pub help: &'static str,
    /// What is accepted, as said when something else was typed.
    pub accepted: &'static str,
    /// How it is written.
    pub shape: Shape,
}

impl Key {
    /// A key of any shape.
    pub const fn new(
        shape: Shape,
        name: &'static str,
        help: &'static str,
        accepted: &'static str,
    ) -> Self {
        Self { name, help, accepted, shape }
    }

    /// A key that takes one value.
    pub const fn one(name: &'static str, help: &'static str, accepted: &'static str) -> Self {
        Self::new(Shape::One, name, help, accepted)
    }

    /// A key that takes several.
    pub const fn many(name: &'static str, help: &'static str, accepted: &'static str) -> Self {
        Self::new(Shape::Many, name, help, accepted)
    }

    /// The flag without its dashes in front.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The variable.
    pub fn variable(&self) -> String {
        format!("HALYARD_{}", self.name.to_ascii_uppercase())
    }

    /// A value of it, as it may be repeated.
    pub(crate) fn shown(&self, text: &str) -> String {
        if self.shape == Shape::Secret { "(not shown)" } else { text }.to_owned()
    }
}

/// All keys of a program, in groups: commands that take different flags have one each.
#[derive(Debug, Clone, Copy)]
pub struct Keys(pub &'static [&'static [Key]]);

impl Keys {
    /// Every key.
    pub fn iter(self) -> impl Iterator<Item = &'static Key> {
        self.0.iter().copied().flatten()
    }

    /// The key of this name.
    pub fn find(self, name: &str) -> Option<&'static Key> {
        self.iter().find(|key| key.name == name)
    }

    /// The secret that is in the file which this key names.
    pub(crate) fn secret_of(self, name: &str) -> Option<&'static Key> {
        self.find(name.strip_suffix("_file")?).filter(|key| key.shape == Shape::Secret)
    }
}

/// The nearest of `known` to what was typed, if at most so many letters are wrong.
pub(crate) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
    wrong: usize,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(typed, word), word))
        .filter(|&(distance, _)| distance <= wrong)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, word)| word)
}
