//! The cryptography of the whole process.

/// Makes aws-lc-rs the process's TLS provider, unless somebody chose one already.
///
/// Several libraries below this one bring TLS along. When more than one provider is compiled in,
/// rustls refuses to guess and panics at the first connection; so everything here that may open
/// one calls this first. Calling it again is free.
pub fn install_provider() {
    // The error says that there is one already, which is all that is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
