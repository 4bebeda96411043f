//! The signing key on disk: made once, readable by its owner alone, never half written.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};

const FILE_NAME: &str = "identity-key.p8";

/// Why the signing key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The folder or the file cannot be made, read or written.
    #[error("cannot use the signing key {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else may read it.
    #[error(
        "the signing key {path} may be read by others (mode {mode:o}); run `chmod 600 {path}`, and \
         delete it instead if somebody may have read it"
    )]
    Readable {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is not a key.
    #[error(
        "the signing key {path} is damaged; put back a copy, or delete it (which ends every \
         identity that was signed with it)"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// No key could be made.
    #[error("the system gave no randomness for a signing key")]
    Generate,
}

/// A new P-256 key as PKCS#8.
pub(super) fn generate() -> Result<Vec<u8>, KeyFileError> {
    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map(|document| document.as_ref().to_vec())
        .map_err(|_| KeyFileError::Generate)
}

/// The key of this data directory as PKCS#8, made when there is none.
///
/// Two brokers that start at once in one directory end up with the same key.
pub fn load_or_create(data_dir: &Path) -> Result<Vec<u8>, KeyFileError> {
    let path = data_dir.join(FILE_NAME);
    let failed = |source| KeyFileError::Io { path: path.clone(), source };
    if !path.exists() {
        fs::create_dir_all(data_dir).map_err(failed)?;
        // A temporary file has mode 0600 from the start.
        let mut file = tempfile::NamedTempFile::new_in(data_dir).map_err(failed)?;
        file.write_all(&generate()?).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        match file.persist_noclobber(&path) {
            Ok(_) => sync_folder(data_dir).map_err(failed)?,
            // Another broker was faster: its key it is.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error.error)),
        }
    }
    load(&path)
}

/// The key in this file as PKCS#8, which several brokers may share. None is made when there is none:
/// each would make its own.
pub fn load(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    refuse_if_others_may_read(path)?;
    let path = path.to_owned();
    let key = fs::read(&path).map_err(|source| KeyFileError::Io { path: path.clone(), source })?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key)
        .map_err(|_| KeyFileError::Damaged { path })?;
    Ok(key)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(unix)]
fn refuse_if_others_may_read(path: &Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt;

    let metadata =
        fs::metadata(path).map_err(|source| KeyFileError::Io { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Readable { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_if_others_may_read(_path: &Path) -> Result<(), KeyFileError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_read_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let below = dir.path().join("new/folder");
        let key = load_or_create(&below).expect("made");
        assert_eq!(load_or_create(&below).expect("read"), key);
        let names: Vec<_> = fs::read_dir(&below).expect("listed").collect();
        assert_eq!(names.len(), 1, "nothing temporary is left");
    }

    #[test]
    fn a_damaged_key_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        load_or_create(dir.path()).expect("made");
        let path = dir.path().join(FILE_NAME);
        fs::write(&path, b"rust").expect("damaged");
        let error = load_or_create(dir.path()).expect_err("damaged");
        assert!(matches!(error, KeyFileError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(&path).expect("read"), b"rust");
    }

    #[test]
    fn a_key_that_several_share_is_read_and_never_made() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("shared.p8");
        let error = load(&path).expect_err("none is there");
        assert!(error.to_string().contains("shared.p8"), "{error}");
        assert!(!path.exists());
        let key = load_or_create(dir.path()).expect("made");
        assert_eq!(load(&dir.path().join(FILE_NAME)).expect("read"), key);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().expect("a folder");
        load_or_create(dir.path()).expect("made");
        let path = dir.path().join(FILE_NAME);
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        let error = load_or_create(dir.path()).expect_err("readable by others");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}
