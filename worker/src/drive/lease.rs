//! Who drives: one peer or nobody.

use halyard_protocol::{access::Access, ids::PeerId};

/// The lease on the machine. By default nobody holds it, and its number only grows, so that a
/// message sent under an earlier lease is told apart for ever.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease {
    holder: Option<PeerId>,
    number: u64,
}

/// Why the lease did not change hands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseRefused {
    /// A viewer asked.
    #[error("driving needs the operator's link; you joined with the viewer's")]
    Viewer,
    /// Somebody drives already.
    #[error("{holder} drives; ask them to release, or let the room's owner take over")]
    Held {
        /// Who.
        holder: PeerId,
    },
    /// Taking over is for admins.
    #[error("only the room's owner can take over while somebody drives; use request instead")]
    NotAdmin,
    /// A release by somebody who does not drive.
    #[error("there is nothing to release: you do not drive")]
    NotHolder,
}

impl Lease {
    /// Who drives.
    pub fn holder(&self) -> Option<&PeerId> {
        self.holder.as_ref()
    }

    /// Grows with every change.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether `peer` drives.
    pub fn is_held_by(&self, peer: &PeerId) -> bool {
        self.holder.as_ref() == Some(peer)
    }

    /// `peer` wants to drive, if nobody does. `Ok(true)` when the lease changed hands, `Ok(false)`
    /// when it was theirs already.
    pub fn request(&mut self, peer: &PeerId, access: Access) -> Result<bool, LeaseRefused> {
        if !access.may_operate() {
            return Err(LeaseRefused::Viewer);
        }
        match &self.holder {
            Some(holder) if holder == peer => Ok(false),
            Some(holder) => Err(LeaseRefused::Held { holder: holder.clone() }),
            None => Ok(self.give(Some(peer.clone()))),
        }
    }

    /// `peer` wants to drive, whoever does now. Operators may take what nobody holds.
    pub fn take(&mut self, peer: &PeerId, access: Access) -> Result<bool, LeaseRefused> {
        match self.request(peer, access) {
            Err(LeaseRefused::Held { .. }) if access < Access::Admin => Err(LeaseRefused::NotAdmin),
            Err(LeaseRefused::Held { .. }) => Ok(self.give(Some(peer.clone()))),
            other => other,
        }
    }

    /// `peer` is done.
    pub fn release(&mut self, peer: &PeerId) -> Result<bool, LeaseRefused> {
        if self.is_held_by(peer) { Ok(self.give(None)) } else { Err(LeaseRefused::NotHolder) }
    }

    fn give(&mut self, holder: Option<PeerId>) -> bool {
        self.holder = holder;
        self.number += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> PeerId {
        PeerId::new(name).expect("a good name")
    }

    #[test]
    fn the_table_of_who_may_do_what() {
        use Access::{Admin, Operator, Viewer};
        let (ann, bob) = (peer("ann"), peer("bob"));
        let nobody = Lease::default();
        let mut anns = Lease::default();
        anns.request(&ann, Operator).expect("free");

        assert_eq!(nobody.clone().request(&ann, Viewer), Err(LeaseRefused::Viewer));
        assert_eq!(nobody.clone().take(&ann, Viewer), Err(LeaseRefused::Viewer));
        assert_eq!(nobody.clone().take(&ann, Operator), Ok(true));
        assert_eq!(nobody.clone().release(&ann), Err(LeaseRefused::NotHolder));
        assert_eq!(anns.clone().request(&ann, Operator), Ok(false));
        assert_eq!(
            anns.clone().request(&bob, Admin),
            Err(LeaseRefused::Held { holder: ann.clone() })
        );
        assert_eq!(anns.clone().take(&bob, Operator), Err(LeaseRefused::NotAdmin));
        assert_eq!(anns.clone().take(&bob, Admin), Ok(true));
        assert_eq!(anns.clone().release(&bob), Err(LeaseRefused::NotHolder));
        assert_eq!(anns.clone().release(&ann), Ok(true));
    }

    #[test]
    fn the_number_grows_with_every_change_and_only_then() {
        let (ann, bob) = (peer("ann"), peer("bob"));
        let mut lease = Lease::default();
        assert_eq!(lease.number(), 0);
        lease.request(&ann, Access::Operator).expect("free");
        lease.request(&ann, Access::Operator).expect("hers");
        lease.request(&bob, Access::Operator).expect_err("held");
        assert_eq!(lease.number(), 1);
        lease.release(&ann).expect("hers");
        assert_eq!(lease.number(), 2);
        lease.request(&bob, Access::Operator).expect("free");
        assert_eq!(lease.number(), 3);
    }
}
