//! The identities that own rooms, kept between calls in a file that only their owner can read.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use url::Url;

use super::exit::{CliError, Exit};
use crate::api::Identity;

/// The file and what is in it.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    kept: Kept,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// By server.
    #[serde(default)]
    identities: BTreeMap<String, Identity>,
}

impl State {
    /// Reads `identities.json` in this folder. A file that is not there is empty.
    pub(super) fn open(dir: Option<&Path>) -> Result<Self, CliError> {
        let dir = dir.ok_or_else(|| {
            CliError::usage("there is no place to keep identities: set HOME or XDG_STATE_HOME")
        })?;
        let path = dir.join("identities.json");
        let kept = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| {
                CliError::usage(format!(
                    "the file {} is damaged; remove it to start anew (rooms made before cannot be \
                     managed then)",
                    path.display()
                ))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept::default(),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        Ok(Self { path, kept })
    }

    /// Who made rooms on this server.
    pub(super) fn identity(&self, server: &Url) -> Option<Identity> {
        self.kept.identities.get(server.as_str()).cloned()
    }

    /// Keeps an identity, readable by its owner alone, whole or not at all.
    pub(super) fn keep(&mut self, server: &Url, identity: &Identity) -> Result<(), CliError> {
        self.kept.identities.insert(server.to_string(), identity.clone());
        let bytes = serde_json::to_vec_pretty(&self.kept)
            .map_err(|error| CliError::new(Exit::Failed, "STATE", error.to_string()))?;
        self.write(&bytes).map_err(|error| failed("write", &self.path, &error))
    }

    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder.create(dir)?;
        let part = dir.join(format!(".identities.{}.part", std::process::id()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&part)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.and_then(|()| fs::rename(&part, &self.path)).inspect_err(|_| {
            let _ = fs::remove_file(&part);
        })
    }
}

fn failed(to: &str, path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(
        Exit::Usage,
        "STATE",
        format!("cannot {to} the identities in {}: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use halyard_protocol::{ids::PeerId, token::Token};

    use super::*;

    fn identity() -> Identity {
        Identity {
            username: PeerId::new("u").expect("a name"),
            id_token: Token::new("s3cret"),
            expires_at: 7,
            lifetime: 3600,
        }
    }

    #[test]
    fn an_identity_is_found_again_by_its_server_only() {
        let home = tempfile::tempdir().expect("a folder");
        let dir = home.path().join("a/halyard");
        let server = Url::parse("http://h:1/").expect("a URL");
        let mut state = State::open(Some(&dir)).expect("nothing there yet");
        assert!(state.identity(&server).is_none());
        state.keep(&server, &identity()).expect("kept");
        let again = State::open(Some(&dir)).expect("there");
        assert_eq!(again.identity(&server).expect("kept").id_token.expose(), "s3cret");
        let other = Url::parse("http://h:2/").expect("a URL");
        assert!(again.identity(&other).is_none());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().expect("a folder");
        let dir = home.path().join("halyard");
        let server = Url::parse("http://h:1/").expect("a URL");
        State::open(Some(&dir)).expect("new").keep(&server, &identity()).expect("kept");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&dir.join("identities.json")), 0o600);
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(fs::read_dir(&dir).expect("a folder").count(), 1, "nothing is left over");
    }

    #[test]
    fn a_damaged_file_is_told_and_not_overwritten() {
        let home = tempfile::tempdir().expect("a folder");
        fs::write(home.path().join("identities.json"), "{s3cret").expect("written");
        let error = State::open(Some(home.path())).expect_err("damaged");
        assert!(error.message.contains("identities.json"), "{error}");
        assert!(!error.message.contains("s3cret"), "{error}");
    }
}
