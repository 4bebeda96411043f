//! What counts of all that was typed, and asking for it.

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::{Path, PathBuf},
};

use crate::{Key, Keys, Place, SettingError, Shape, Typed, environment, file};

/// One value and where it stood.
#[derive(Clone)]
pub struct Found {
    /// What was typed.
    pub raw: Raw,
    /// Where.
    pub place: Place,
    /// What was typed is not the secret but the name of a file that holds it.
    in_file: bool,
}

/// A value before it means anything.
#[derive(Clone)]
pub enum Raw {
    /// Texts; exactly one where the key takes one.
    Parts(Vec<String>),
    /// What the file has for [`Shape::Lines`] and [`Shape::Tables`].
    Tables(toml::Value),
}

impl Found {
    pub(crate) fn new(raw: Raw, place: Place) -> Self {
        Self { raw, place, in_file: false }
    }

    pub(crate) fn text(key: &Key, text: &str, place: Place) -> Self {
        Self::new(Raw::Parts(parts(key, text)), place)
    }

    pub(crate) fn in_file(path: &str, place: Place) -> Self {
        Self { raw: Raw::Parts(vec![path.to_owned()]), place, in_file: true }
    }

    fn parts(&self) -> &[String] {
        match &self.raw {
            Raw::Parts(parts) => parts,
            Raw::Tables(_) => &[],
        }
    }

    /// Fetches a secret from its file.
    fn fetched(self) -> Result<Self, SettingError> {
        let Some(path) = self.parts().first().filter(|_| self.in_file).map(PathBuf::from) else {
            return Ok(self);
        };
        let text = file::read(&path, self.place.clone())?;
        // Editors and shells end a line; nobody means that.
        match text.trim_end_matches(['\r', '\n']) {
            text if text.trim().is_empty() => Err(SettingError::Empty { path, place: self.place }),
            text => Ok(Self::new(Raw::Parts(vec![text.to_owned()]), self.place)),
        }
    }
}

/// What one text has in it.
pub(crate) fn parts(key: &Key, text: &str) -> Vec<String> {
    let separator = match key.shape {
        Shape::Many => ',',
        Shape::Lines => '\n',
        _ => return vec![text.to_owned()],
    };
    text.split(separator).map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect()
}

/// What counts of all that was typed, by key. It holds secrets, so it cannot be printed.
pub struct Values {
    keys: Keys,
    found: BTreeMap<&'static str, Found>,
}

impl Values {
    /// Looks at all three places: flags win over variables, variables over the file. A file that
    /// holds a secret is read only where its secret counts.
    pub fn read(keys: Keys, typed: &Typed) -> Result<Self, SettingError> {
        const CONFIG: &str = "HALYARD_CONFIG";
        let by_variable = typed.variables.get(CONFIG).filter(|path| !path.is_empty());
        let mut found = match (&typed.file, by_variable) {
            (Some(path), _) => file::found(keys, path, Place::Flag("config".to_owned()))?,
            (None, Some(path)) => {
                file::found(keys, Path::new(path), Place::Variable(CONFIG.to_owned()))?
            }
            (None, None) => BTreeMap::new(),
        };
        found.extend(environment::found(keys, &typed.variables)?);
        found.extend(keys.iter().filter_map(|key| {
            let text = typed.flags.get(key.name)?;
            Some((key.name, Found::text(key, text, Place::Flag(key.flag()))))
        }));
        let fetched = found.into_iter().map(|(name, found)| Ok((name, found.fetched()?)));
        Ok(Self { keys, found: fetched.collect::<Result<_, _>>()? })
    }

    /// What was typed for a key, unless nothing was.
    pub fn get(&self, name: &str) -> Option<&Found> {
        self.found.get(name)
    }

    /// The tables of a key of [`Shape::Tables`], and where they stood.
    pub fn tables(&self, name: &str) -> Option<(&toml::Value, &Place)> {
        match self.get(name)? {
            Found { raw: Raw::Tables(tables), place, .. } => Some((tables, place)),
            Found { raw: Raw::Parts(_), .. } => None,
        }
    }

    /// Where each key stood that was typed at all.
    pub fn places(&self) -> BTreeMap<&'static str, Place> {
        self.found.iter().map(|(name, found)| (*name, found.place.clone())).collect()
    }

    /// Every part of a key's value, parsed; `None` when the key was not typed. What the parser does
    /// not take is refused with what the key accepts.
    pub fn all<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, SettingError> {
        let (Some(found), Some(key)) = (self.get(name), self.keys.find(name)) else {
            debug_assert!(self.keys.find(name).is_some(), "{name} is no key");
            return Ok(None);
        };
        let parsed = found.parts().iter().map(|part| {
            parse(part).ok_or_else(|| SettingError::BadValue {
                key: name,
                value: key.shown(part),
                place: found.place.clone(),
                accepted: key.accepted,
            })
        });
        parsed.collect::<Result<_, _>>().map(Some)
    }

    /// A key's one value, parsed.
    pub fn one<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        Ok(self.all(name, parse)?.and_then(|mut parts| parts.pop()))
    }

    /// A key's one value, by a parser that says itself what is wrong: with the value, unless that
    /// may be a secret, and with what is accepted.
    pub fn checked<T, E: Display>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, SettingError> {
        let Some(found) = self.get(name) else { return Ok(None) };
        let refused = |why: E| SettingError::Refused {
            key: name,
            place: found.place.clone(),
            why: why.to_string(),
        };
        found.parts().last().map(|text| parse(text).map_err(refused)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use tempfile::NamedTempFile;

    use super::*;
    use crate::parse::{count, not_empty};

    const KEYS: Keys = Keys(&[&[
        Key::one("room_ttl", "", "how long"),
        Key::one("max_rooms", "", "how many"),
        Key::many("urls", "", "addresses"),
        Key::new(Shape::Lines, "camera", "", "cameras"),
        Key::new(Shape::Tables, "job", "", "jobs"),
        Key::new(Shape::Secret, "turn_secret", "", "a text"),
        Key::new(Shape::Switch, "quiet", "", "true or false"),
    ]]);

    fn file(text: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    fn typed(
        flags: &[(&'static str, &str)],
        variables: &[(&str, &str)],
        file: Option<&NamedTempFile>,
    ) -> Typed {
        Typed {
            flags: flags.iter().map(|&(key, value)| (key, value.to_owned())).collect(),
            variables: variables.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
            file: file.map(|file| file.path().to_owned()),
        }
    }

    fn read(typed: &Typed) -> Values {
        Values::read(KEYS, typed).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refusal(typed: &Typed) -> String {
        Values::read(KEYS, typed).err().expect("must be refused").to_string()
    }

    fn text(values: &Values, key: &'static str) -> Option<String> {
        values.one(key, not_empty).expect("any text")
    }

    #[test]
    fn each_key_comes_from_where_it_counts_most_and_the_place_is_known() {
        let file = file("room_ttl = 'c'\nmax_rooms = 3\n\nquiet = true\n");
        let values = read(&typed(
            &[("room_ttl", "a")],
            &[("HALYARD_ROOM_TTL", "b"), ("HALYARD_MAX_ROOMS", "2")],
            Some(&file),
        ));
        assert_eq!(text(&values, "room_ttl").as_deref(), Some("a"));
        assert_eq!(values.one("max_rooms", count).expect("a number"), Some(2));
        assert_eq!(text(&values, "urls"), None);
        let places = values.places();
        assert_eq!(places["room_ttl"].to_string(), "the flag --room-ttl");
        assert_eq!(places["max_rooms"].to_string(), "the variable HALYARD_MAX_ROOMS");
        assert!(places["quiet"].to_string().ends_with(", line 4"), "{:?}", places["quiet"]);
    }

    #[test]
    fn the_file_is_named_by_the_flag_or_else_by_the_variable() {
        let (one, other) = (file("room_ttl = 'one'\n"), file("room_ttl = 'other'\n"));
        let path = other.path().to_str().expect("text");
        let variable = [("HALYARD_CONFIG", path)];
        assert_eq!(text(&read(&typed(&[], &variable, None)), "room_ttl").as_deref(), Some("other"));
        let both = read(&typed(&[], &variable, Some(&one)));
        assert_eq!(text(&both, "room_ttl").as_deref(), Some("one"));
        let said = refusal(&typed(&[], &[("HALYARD_CONFIG", "/no/such.toml")], None));
        assert!(
            said.starts_with("cannot read /no/such.toml, named by the variable HALYARD_CONFIG: "),
            "{said}"
        );
        read(&typed(&[], &[("HALYARD_CONFIG", "")], None));
    }

    #[test]
    fn several_values_are_an_array_or_stand_between_commas_or_one_a_line() {
        let file = file("urls = ['a', 'b']\n[[camera]]\nname = 'rear'\n[[job]]\n[[job]]\n");
        let all = |values: &Values, key| values.all(key, not_empty).expect("texts");
        let values = read(&typed(&[], &[], Some(&file)));
        assert_eq!(all(&values, "urls"), Some(vec!["a".into(), "b".into()]));
        let (jobs, place) = values.tables("job").expect("two");
        assert_eq!(jobs.as_array().map(Vec::len), Some(2));
        assert!(!place.to_string().contains("line"), "which of them is wrong is not known here");
        assert!(matches!(values.get("camera").expect("one").raw, Raw::Tables(_)));

        let flags = [("urls", " c,,d "), ("camera", "x=1,2\n\n y=3")];
        let values = read(&typed(&flags, &[], Some(&file)));
        assert_eq!(all(&values, "urls"), Some(vec!["c".into(), "d".into()]));
        assert_eq!(all(&values, "camera"), Some(vec!["x=1,2".into(), "y=3".into()]));
        assert_eq!(all(&read(&typed(&[("urls", "")], &[], None)), "urls"), Some(vec![]));
    }

    #[test]
    fn a_value_is_refused_with_all_that_helps() {
        let refused =
            |typed: &Typed| read(typed).one("max_rooms", count).expect_err("no number").to_string();
        assert_eq!(
            refused(&typed(&[], &[("HALYARD_MAX_ROOMS", "many")], None)),
            "max_rooms is \"many\" in the variable HALYARD_MAX_ROOMS; accepted is how many"
        );
        let file = file("\nmax_rooms = 0\n");
        let path = file.path().display();
        assert_eq!(
            refused(&typed(&[], &[], Some(&file))),
            format!("max_rooms is \"0\" in the file {path}, line 2; accepted is how many")
        );
        let why = |typed: &Typed| {
            let said = read(typed).checked("max_rooms", |text| Err::<(), _>(format!("no {text}")));
            said.expect_err("refused").to_string()
        };
        assert_eq!(why(&typed(&[("max_rooms", "x")], &[], None)), "--max-rooms: no x");
        let in_file = format!("max_rooms in the file {path}, line 2: no 0");
        assert_eq!(why(&typed(&[], &[], Some(&file))), in_file);
    }

    #[test]
    fn a_secret_may_stand_in_a_file_that_a_variable_or_the_configuration_names() {
        let secret = file("s3cret \r\n");
        let path = secret.path().to_str().expect("text");
        let by_variable = typed(&[], &[("HALYARD_TURN_SECRET_FILE", path)], None);
        assert_eq!(text(&read(&by_variable), "turn_secret").as_deref(), Some("s3cret "));
        let config = file(&format!("turn_secret_file = '{path}'\n"));
        let by_file = read(&typed(&[], &[], Some(&config)));
        assert_eq!(text(&by_file, "turn_secret").as_deref(), Some("s3cret "));
        // Nobody is asked for a file whose secret does not count.
        let gone = [("HALYARD_TURN_SECRET_FILE", "/no/such/file")];
        let flag = read(&typed(&[("turn_secret", "typed")], &gone, None));
        assert_eq!(text(&flag, "turn_secret").as_deref(), Some("typed"));

        let said = refusal(&typed(&[], &gone, None));
        assert!(said.contains("named by the variable HALYARD_TURN_SECRET_FILE"), "{said}");
        let empty = file("\n");
        let path = empty.path().to_str().expect("text");
        let said = refusal(&typed(&[], &[("HALYARD_TURN_SECRET_FILE", path)], None));
        assert!(said.ends_with("HALYARD_TURN_SECRET_FILE, is empty"), "{said}");
    }

    #[test]
    fn a_secret_and_its_file_at_once_are_refused() {
        let both = [("HALYARD_TURN_SECRET", "a"), ("HALYARD_TURN_SECRET_FILE", "b")];
        assert_eq!(
            refusal(&typed(&[], &both, None)),
            "HALYARD_TURN_SECRET and HALYARD_TURN_SECRET_FILE are both set; keep one of them"
        );
        let file = file("turn_secret_file = 'b'\nturn_secret = 'a'\n");
        let said = refusal(&typed(&[], &[], Some(&file)));
        assert!(said.starts_with("turn_secret and turn_secret_file in the file"), "{said}");
    }

    #[test]
    fn a_secret_is_never_repeated() {
        for line in ["turn_secret = 3.141", "turn_secret = ['s3cret']", "turn_secret = \"s3cret"] {
            let file = file(&format!("quiet = true\n{line}\n"));
            let said = refusal(&typed(&[], &[], Some(&file)));
            assert!(said.contains("line 2"), "{said}");
            assert!(!said.contains("3.141") && !said.contains("s3cret"), "{said}");
        }
        let values = read(&typed(&[("turn_secret", "s3cret")], &[], None));
        let said = values.one("turn_secret", |_| None::<()>).expect_err("refused").to_string();
        assert!(said.contains("(not shown)") && !said.contains("s3cret"), "{said}");
    }

    #[test]
    fn what_is_misspelt_is_told_with_what_was_meant() {
        let near = file("quiet = true\nroom_tll = '1h'\n");
        let said = refusal(&typed(&[], &[], Some(&near)));
        assert!(said.starts_with("room_tll in the file "), "{said}");
        assert!(said.contains("line 2: unknown key") && said.ends_with("\"room_ttl\"?"), "{said}");
        let far = refusal(&typed(&[], &[], Some(&file("colour = 'red'\n"))));
        assert!(far.ends_with("camera, job, turn_secret, quiet"), "{far}");
        for (wrong, right) in [
            ("HALYARD_ROOM_TTLS", "HALYARD_ROOM_TTL"),
            ("HALYARD_TURN_SECRET_FIEL", "HALYARD_TURN_SECRET_FILE"),
            ("HALYARD_CONFG", "HALYARD_CONFIG"),
        ] {
            let said = refusal(&typed(&[], &[(wrong, "x")], None));
            let expected = format!("the variable {wrong} is not known; did you mean {right}?");
            assert_eq!(said, expected);
        }
        read(&typed(&[], &[("HALYARD_OF_ANOTHER", "x"), ("ROOM_TTLS", "x")], None));
    }

    #[test]
    fn a_file_that_is_too_long_is_some_other_file() {
        let film = file(&"# frame\n".repeat(200_000));
        let said = refusal(&typed(&[], &[], Some(&film)));
        assert!(said.ends_with("named by the flag --config: it is larger than 1 MiB"), "{said}");
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic_and_none_tells_a_secret(
            before in "[ -~\n]{0,60}", after in "[ -~\n]{0,60}",
        ) {
            let file = file(&format!("{before}\nturn_secret = \"s3cret\"{after}"));
            if let Err(error) = Values::read(KEYS, &typed(&[], &[], Some(&file))) {
                prop_assert!(!error.to_string().contains("s3cret"), "{}", error);
            }
        }
    }
}
