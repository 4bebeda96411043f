//! The secret that existing clients prove to have: `HMAC-SHA256(secret, nonce)`, both decoded.

use std::{fmt, sync::Arc};

use aws_lc_rs::hmac;
use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Fewer bytes could be guessed.
const LEAST_BYTES: usize = 16;

/// More is a file that was meant for something else.
const MOST_BYTES: usize = 1024;

/// Base64url as existing clients write it: read with and without padding, written without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A shared secret. It never prints.
#[derive(Clone)]
pub struct Secret(Arc<hmac::Key>);

/// A text is no secret. It is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "accepted are {LEAST_BYTES} to {MOST_BYTES} bytes in base64url, for example of \
     `head -c 32 /dev/urandom | basenc --base64url`"
)]
pub struct NoSecret;

impl Secret {
    /// Reads a secret in base64url.
    pub fn read(text: &str) -> Result<Self, NoSecret> {
        let bytes = BASE64.decode(text.trim()).map_err(|_| NoSecret)?;
        if !(LEAST_BYTES..=MOST_BYTES).contains(&bytes.len()) {
            return Err(NoSecret);
        }
        Ok(Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes))))
    }

    /// Whether this is the answer to the nonce of [`nonce_text`]. Takes as long for a wrong one.
    pub(super) fn proves(&self, nonce: &[u8; 32], answer: &str) -> bool {
        let Ok(answer) = BASE64.decode(answer) else { return false };
        hmac::verify(&self.0, nonce, &answer).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A nonce as it is said.
pub(super) fn nonce_text(nonce: &[u8; 32]) -> String {
    BASE64.encode(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with the existing client's own functions.
    const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const NONCE: &str = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM";
    const ANSWER: &str = "HLnb0Ch3S657qOL9mJCj1oNvskd0_DN6fVbuj3Q21i4";

    #[test]
    fn the_answer_of_an_existing_client_proves_its_secret() {
        let secret = Secret::read(SECRET).expect("a secret");
        let nonce: [u8; 32] = std::array::from_fn(|at| 100 + at as u8);
        assert_eq!(nonce_text(&nonce), NONCE);
        assert!(secret.proves(&nonce, ANSWER));
        assert!(Secret::read(&format!("{SECRET}=\n")).expect("padded").proves(&nonce, ANSWER));
        let other = Secret::read("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHiA").expect("a secret");
        assert!(!other.proves(&nonce, ANSWER));
        for wrong in
            ["", "missing", NONCE, &ANSWER[..42], "HLnb0Ch3S657qOL9mJCj1oNvskd0_DN6fVbuj3Q21i5"]
        {
            assert!(!secret.proves(&nonce, wrong), "{wrong}");
        }
        assert!(!secret.proves(&[0; 32], ANSWER), "an answer to another question");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_none_prints() {
        for bad in ["", "short", "not base64!", &"A".repeat(2000)] {
            assert_eq!(Secret::read(bad).err(), Some(NoSecret), "{bad}");
        }
        assert_eq!(format!("{:?}", Secret::read(SECRET).expect("a secret")), "Secret");
    }
}
