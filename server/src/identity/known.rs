//! Tokens that were found good a while ago.
//!
//! Verifying a signature is a third of what a join costs, and a peer shows the token that it was
//! just given. A token that was signed or verified here is recognised by its SHA-256, which nobody
//! can find another token for. When it ends is looked at every time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::Subject;
use crate::secret::TokenHash;

/// Tokens in one generation: some 150 bytes each, and there are two generations.
const GENERATION: usize = 8192;

/// Who a token names, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Good {
    pub(super) subject: Subject,
    /// Seconds since 1970.
    pub(super) expires_at: u64,
}

/// The tokens found good last. When the young generation is full, the old one is forgotten.
#[derive(Debug, Default)]
pub(super) struct Known {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<[u8; 32], Good>,
    old: HashMap<[u8; 32], Good>,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Generations> {
        // Whole between statements, and at worst a token is verified once more.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found out about this token. Whether its time is over is the caller's to see.
    pub(super) fn recall(&self, token: TokenHash) -> Option<Good> {
        let generations = self.lock();
        let (young, old) = (&generations.young, &generations.old);
        young.get(token.as_bytes()).or_else(|| old.get(token.as_bytes())).cloned()
    }

    /// Remembers a token that is good: just signed here, or verified.
    pub(super) fn remember(&self, token: TokenHash, good: Good) {
        let mut generations = self.lock();
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(*token.as_bytes(), good);
    }
}

#[cfg(test)]
mod tests {
    use halyard_protocol::token::Token;

    use super::*;

    fn hash(number: usize) -> TokenHash {
        TokenHash::of(&Token::new(number.to_string()))
    }

    #[test]
    fn the_last_tokens_are_known_and_memory_is_bounded() {
        let known = Known::default();
        let most = 3 * GENERATION;
        for number in 0..most {
            let good = Good { subject: Subject::new(number.to_string()), expires_at: 1 };
            known.remember(hash(number), good);
        }
        let last = known.recall(hash(most - 1)).expect("known");
        assert_eq!(last.subject.as_str(), (most - 1).to_string());
        assert!(known.recall(hash(most - GENERATION - 1)).is_some());
        assert_eq!(known.recall(hash(0)), None);
        let generations = known.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION);
    }
}
