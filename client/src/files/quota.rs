//! How much one peer may leave here.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use halyard_protocol::{channel::FileErrorCode, transfer::Failure};

/// What peers have left here since this was made, by who they are, and how much each may. Clones
/// share the book.
///
/// Counted is what came, not what is still there: a peer that has sent its share sends nothing more,
/// whatever is deleted. Who a peer is says the broker, so another name in the room or another
/// connection does not help; another identity does, where anybody is given one. So a quota keeps
/// honest peers from filling a disk by mistake, and free space that is
/// [kept](super::FileRoot::keeping_free) protects the disk from the others.
#[derive(Clone, Default)]
pub struct Quota {
    limit: Option<u64>,
    left_here: Arc<Mutex<HashMap<String, u64>>>,
}

/// The share of one transfer, counted before its first byte; what of it does not stay is given back
/// when this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    quota: Quota,
    peer: String,
    bytes: u64,
    kept: u64,
}

impl Quota {
    /// So many bytes for each peer.
    pub fn of(limit: u64) -> Self {
        Self { limit: Some(limit), ..Self::default() }
    }

    fn book(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.left_here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much this peer may still send.
    pub(crate) fn left(&self, peer: &str) -> u64 {
        let before = self.book().get(peer).copied().unwrap_or(0);
        self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(before))
    }

    /// Counts these bytes for this peer, or says how many it may still send.
    pub(crate) fn charge(&self, peer: &str, bytes: u64) -> Result<Charge, Failure> {
        let charge = |bytes| Charge { quota: self.clone(), peer: peer.to_owned(), bytes, kept: 0 };
        // Counted nowhere, nothing has to come back.
        let Some(limit) = self.limit else { return Ok(charge(0)) };
        let mut book = self.book();
        let before = book.get(peer).copied().unwrap_or(0);
        let left = limit.saturating_sub(before);
        if bytes > left {
            return Err(Failure::new(
                FileErrorCode::Quota,
                format!(
                    "each peer may leave {limit} bytes here, of which {left} are left for you; {bytes} \
                     are too many: ask who runs this machine for more"
                ),
            ));
        }
        if bytes > 0 {
            book.insert(peer.to_owned(), before + bytes);
        }
        Ok(charge(bytes))
    }
}

impl Charge {
    /// So many of the bytes stay.
    pub(crate) fn keep(&mut self, bytes: u64) {
        self.kept = bytes.min(self.bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let back = self.bytes - self.kept;
        if back == 0 {
            return;
        }
        let mut book = self.quota.book();
        if let Some(left_here) = book.get_mut(&self.peer) {
            *left_here = left_here.saturating_sub(back);
            if *left_here == 0 {
                book.remove(&self.peer);
            }
        }
    }
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quota").field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_its_own_share_and_gets_back_what_does_not_stay() {
        let quota = Quota::of(10);
        let mut first = quota.charge("a", 6).expect("fits");
        let refused = quota.charge("a", 5).expect_err("too many");
        assert_eq!(refused.code, FileErrorCode::Quota);
        assert!(refused.message.contains("of which 4 are left"), "{refused}");
        drop(quota.charge("b", 10).expect("another peer"));
        first.keep(2);
        drop(first);
        drop(quota.charge("a", 8).expect("four came back"));
        assert_eq!(quota.book().get("a"), Some(&2), "what came stays counted");
        assert_eq!(quota.book().get("b"), None);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let quota = Quota::default();
        let mut charge = quota.charge("a", u64::MAX).expect("no limit");
        charge.keep(5);
        drop(charge);
        assert!(quota.book().is_empty());
    }
}
