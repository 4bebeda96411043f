//! The cryptography of the whole process, and whom it believes.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// More is no list of authorities; a device file would never end.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Makes aws-lc-rs the process's TLS provider, unless somebody chose one already.
///
/// Several libraries below this one bring TLS along. When more than one provider is compiled in,
/// rustls refuses to guess and panics at the first connection; so everything here that may open
/// one calls this first. Calling it again is free.
pub fn install_provider() {
    // The error says that there is one already, which is all that is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Why a connection failed, with what to do where the certificate is of a stranger.
pub(crate) fn explained(reason: String) -> String {
    if reason.contains("UnknownIssuer") {
        let advice = "this system does not know its authority; name it with --ca-file FILE";
        return format!("{reason}: {advice}");
    }
    reason
}

/// Which certificates are believed: those of the authorities that this system trusts, and of others
/// beside them, for a broker with a certificate of an authority of one's own.
#[derive(Clone, Default)]
pub struct Trust {
    more: Arc<[CertificateDer<'static>]>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("more", &self.more.len()).finish()
    }
}

/// A file of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It is not there, or not for this user.
    #[error("cannot read the authorities in {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing in it that can be believed.
    #[error("{path} holds no certificates of authorities in PEM: {why}")]
    Certificates {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Trust {
    /// The system's authorities and those in this file (PEM, one or several).
    pub fn and_file(path: &Path) -> Result<Self, TrustError> {
        let failed = |source| TrustError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(failed)?;
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        let bad = |why: String| TrustError::Certificates { path: path.to_owned(), why };
        let more: Arc<[_]> = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|error| bad(error.to_string()))?;
        if more.is_empty() {
            return Err(bad("there is no CERTIFICATE block".to_owned()));
        }
        // What TLS would refuse at the first connection is better said now.
        let mut roots = RootCertStore::empty();
        for certificate in &*more {
            roots.add(certificate.clone()).map_err(|error| bad(error.to_string()))?;
        }
        Ok(Self { more })
    }

    /// What is believed beside the system's authorities, for HTTP.
    pub(crate) fn certificates(&self) -> Vec<reqwest::Certificate> {
        let certificate = |der: &CertificateDer<'_>| reqwest::Certificate::from_der(der).ok();
        self.more.iter().filter_map(certificate).collect()
    }

    /// The same for a WebSocket. Reads the system's authorities, which takes milliseconds.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        install_provider();
        let mut roots = RootCertStore::empty();
        // What cannot be read of them is not believed, and the handshake says so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(self.more.iter().cloned());
        let config = ClientConfig::builder().with_root_certificates(roots);
        Arc::new(config.with_no_client_auth())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_refused_with_its_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ca.pem");
        let error = Trust::and_file(&path).expect_err("not there").to_string();
        assert!(error.contains("ca.pem") && error.starts_with("cannot read"), "{error}");
        for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            fs::write(&path, text).expect("written");
            let error = Trust::and_file(&path).expect_err(text).to_string();
            assert!(error.contains("ca.pem holds no certificates"), "{error}");
        }
    }
}
