//! One session as HTTP sees it: which ICE session it is in, and what a fragment means for it.

use halyard_protocol::signal::Candidate;

use super::{fragment::Fragment, offer::Offer};

/// The session behind a `Location`. Its entity tag names the ICE session, so that candidates of an
/// earlier one are told apart however late they come.
#[derive(Debug)]
pub struct Resource {
    offer: Offer,
    etag: String,
    /// A restart that the connection is working on, and the tag it will have.
    restarting: Option<(Offer, String)>,
}

/// What to do about a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Tell the connection about these.
    Candidates(Vec<Candidate>),
    /// Give the connection this description, and its answer to the player; then these candidates.
    Restart {
        /// The first offer in the new ICE session.
        sdp: String,
        /// The player's new candidates.
        candidates: Vec<Candidate>,
    },
}

/// Why a fragment is not for this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It does not say which ICE session it is for.
    #[error(
        "say which ICE session this is for: If-Match with the ETag of the answer, or If-Match: * for \
         an ICE restart"
    )]
    NoPrecondition,
    /// It is for another one.
    #[error("this is for an ICE session that is over; use the ETag of the last answer")]
    OtherSession,
    /// One restart at a time.
    #[error("an ICE restart is under way already; wait for its answer")]
    Busy,
}

impl Resource {
    /// A session that begins with this offer. The tag has to be new to the world.
    pub fn new(offer: Offer, tag: &str) -> Self {
        Self { offer, etag: quoted(tag), restarting: None }
    }

    /// The offer as it stands.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// As it goes into a header, quotes included.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// What to do about a fragment that came with this `If-Match`. `tag` is for the ICE session that
    /// a restart begins; whoever is told to restart says later whether it [came
    /// about](Self::restarted) or [not](Self::not_restarted).
    pub fn patch(
        &mut self,
        if_match: Option<&str>,
        fragment: Fragment,
        tag: &str,
    ) -> Result<Step, PatchError> {
        let if_match = if_match.ok_or(PatchError::NoPrecondition)?;
        if !matches(if_match, &self.etag) {
            return Err(PatchError::OtherSession);
        }
        match fragment.credentials {
            Some(credentials) if credentials != *self.offer.credentials() => {
                if self.restarting.is_some() {
                    return Err(PatchError::Busy);
                }
                let offer = self.offer.restarted(&credentials);
                let sdp = offer.sdp().to_owned();
                self.restarting = Some((offer, quoted(tag)));
                Ok(Step::Restart { sdp, candidates: fragment.candidates })
            }
            _ => Ok(Step::Candidates(fragment.candidates)),
        }
    }

    /// The connection is in the new ICE session.
    pub fn restarted(&mut self) {
        if let Some((offer, etag)) = self.restarting.take() {
            self.offer = offer;
            self.etag = etag;
        }
    }

    /// It is not, and goes on in the old one.
    pub fn not_restarted(&mut self) {
        self.restarting = None;
    }
}

fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}

/// `If-Match` by strong comparison (RFC 9110, 13.1.1). `"*"` with quotes is what the draft's own
/// example has, so it counts too.
fn matches(if_match: &str, etag: &str) -> bool {
    let if_match = if_match.trim();
    if_match == "*" || if_match == "\"*\"" || if_match.split(',').any(|one| one.trim() == etag)
}

#[cfg(test)]
mod tests {
    use super::{super::offer::tests::OFFER, *};

    const NEW: &str = "a=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n\
        a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
    const SAME: &str = "a=ice-ufrag:zjkk\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\n\
        a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";

    fn resource() -> Resource {
        Resource::new(Offer::check(OFFER.as_bytes()).expect("a good offer"), "one")
    }

    fn fragment(text: &str) -> Fragment {
        Fragment::parse(text).expect("a fragment")
    }

    #[test]
    fn candidates_need_the_tag_of_their_ice_session() {
        let mut resource = resource();
        let mut patch = |if_match| resource.patch(if_match, fragment(SAME), "two");
        assert_eq!(patch(None), Err(PatchError::NoPrecondition));
        for other in ["\"two\"", "one", "W/\"one\"", "", "\"one"] {
            assert_eq!(patch(Some(other)), Err(PatchError::OtherSession), "{other}");
        }
        for good in ["\"one\"", " \"x\", \"one\"", "*"] {
            assert!(matches!(patch(Some(good)), Ok(Step::Candidates(found)) if found.len() == 1));
        }
        assert_eq!(resource.etag(), "\"one\"", "candidates begin nothing new");
    }

    #[test]
    fn other_credentials_are_a_restart_and_the_old_tag_is_over_after_it() {
        let mut resource = resource();
        let step = resource.patch(Some("*"), fragment(NEW), "two").expect("a restart");
        let Step::Restart { sdp, candidates } = step else { panic!("{step:?}") };
        assert!(sdp.contains("a=ice-ufrag:ysXw\r\n") && !sdp.contains("zjkk"), "{sdp}");
        assert_eq!(candidates.len(), 1);
        assert_eq!(resource.etag(), "\"one\"", "not before it came about");
        assert_eq!(resource.patch(Some("*"), fragment(NEW), "three"), Err(PatchError::Busy));
        resource.restarted();
        assert_eq!(resource.etag(), "\"two\"");
        let late = resource.patch(Some("\"one\""), fragment(SAME), "three");
        assert_eq!(late, Err(PatchError::OtherSession));
        let more = resource.patch(Some("\"two\""), fragment(NEW), "three");
        assert!(matches!(more, Ok(Step::Candidates(_))), "{more:?}");
    }

    #[test]
    fn a_restart_that_fails_leaves_the_session_as_it_was() {
        let mut resource = resource();
        let begun = resource.patch(Some("\"one\""), fragment(NEW), "two");
        assert!(matches!(begun, Ok(Step::Restart { .. })), "the draft wants any of them served");
        resource.not_restarted();
        assert_eq!(resource.etag(), "\"one\"");
        let went_on = resource.patch(Some("\"one\""), fragment(SAME), "three");
        assert!(matches!(went_on, Ok(Step::Candidates(_))), "{went_on:?}");
    }
}
