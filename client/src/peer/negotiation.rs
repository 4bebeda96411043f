//! Offers, answers and candidates, one step at a time.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use halyard_protocol::signal::Candidate;
use rtc::peer_connection::configuration::RTCOfferOptions;
use tokio::time::timeout;
use webrtc::{
    peer_connection::{PeerConnection, RTCIceCandidateInit, RTCSessionDescription},
    rtp_transceiver::RTCRtpTransceiverDirection,
};

use super::{
    PeerError, audio,
    build::{Place, Sound},
    opening,
    sdp::{is_resolvable, ufrag, with_candidates_in_use, without_candidates_of},
    shared::Shared,
    video::codec,
};

/// Candidates kept for a description that has not come yet.
const MAX_EARLY_CANDIDATES: usize = 64;

/// Candidates taken for one description; real ends have a few dozen. Each one is tried with every
/// address of ours, so more would make us knock at whatever doors the other end names.
const MAX_CANDIDATES: usize = 128;

/// The longest candidate line that is looked at; real ones have about a hundred bytes.
const MAX_CANDIDATE_BYTES: usize = 1024;

pub(super) struct Negotiation {
    shared: Arc<Shared>,
    connection: Arc<dyn PeerConnection>,
    places: Vec<Place>,
    sound: Option<Sound>,
    gather_wait: Duration,
    /// The other end's user name fragment, once its description is applied.
    remote_ufrag: Option<String>,
    /// An offer is out, and candidates that come now may belong to its answer.
    awaits_answer: bool,
    early: Vec<Candidate>,
    /// Of the other end's present description, those inside it included.
    candidates: usize,
}

impl Negotiation {
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: Arc<dyn PeerConnection>,
        (places, sound): (Vec<Place>, Option<Sound>),
        gather_wait: Duration,
    ) -> Self {
        Self {
            shared,
            connection,
            places,
            sound,
            gather_wait,
            remote_ufrag: None,
            awaits_answer: false,
            early: Vec::new(),
            candidates: 0,
        }
    }

    /// Makes what follows fast.
    pub(super) fn hurry(&self) {
        opening::hurry(&self.shared, &self.connection);
    }

    pub(super) async fn create_offer(&mut self, restart: bool) -> Result<String, PeerError> {
        let failed = |error: rtc::shared::error::Error| PeerError::Describe {
            kind: "offer",
            reason: error.to_string(),
        };
        let options = restart.then_some(RTCOfferOptions { ice_restart: true });
        let offer = self.connection.create_offer(options).await.map_err(failed)?;
        let sdp = self.describe(offer).await.map_err(failed)?;
        self.awaits_answer = true;
        Ok(sdp)
    }

    pub(super) async fn accept_offer(&mut self, sdp: String) -> Result<String, PeerError> {
        let bad = |error: rtc::shared::error::Error| PeerError::BadDescription {
            kind: "offer",
            reason: error.to_string(),
        };
        let failed = |error: rtc::shared::error::Error| PeerError::Describe {
            kind: "answer",
            reason: error.to_string(),
        };
        let candidates = candidates_of("offer", &sdp)?;
        self.remote_ufrag = ufrag(&sdp);
        let offer = RTCSessionDescription::offer(sdp).map_err(bad)?;
        self.connection.set_remote_description(offer).await.map_err(bad)?;
        self.candidates = candidates;
        self.add_early_candidates().await;
        if let Some(sound) = &self.sound {
            let is_matched = sound.transceiver.mid().await.ok().flatten().is_some();
            let said = sound.transceiver.direction().await.map_err(failed)?;
            if is_matched && said == RTCRtpTransceiverDirection::Sendrecv {
                sound.transceiver.set_direction(sound.direction()).await.map_err(failed)?;
            }
        }
        let answer = self.connection.create_answer(None).await.map_err(failed)?;
        let sdp = self.describe(answer).await.map_err(failed)?;
        self.agree().await;
        Ok(sdp)
    }

    pub(super) async fn accept_answer(&mut self, sdp: String) -> Result<(), PeerError> {
        let bad = |error: rtc::shared::error::Error| PeerError::BadDescription {
            kind: "answer",
            reason: error.to_string(),
        };
        if !self.awaits_answer {
            return Err(PeerError::BadDescription {
                kind: "answer",
                reason: "no offer of ours is open".to_owned(),
            });
        }
        let candidates = candidates_of("answer", &sdp)?;
        let new_ufrag = ufrag(&sdp);
        let answer = RTCSessionDescription::answer(sdp).map_err(bad)?;
        self.connection.set_remote_description(answer).await.map_err(bad)?;
        self.candidates = candidates;
        self.remote_ufrag = new_ufrag;
        self.awaits_answer = false;
        self.add_early_candidates().await;
        self.agree().await;
        Ok(())
    }

    pub(super) async fn add_candidate(&mut self, candidate: Candidate) -> Result<(), PeerError> {
        if candidate.candidate.len() > MAX_CANDIDATE_BYTES {
            return Err(PeerError::BadCandidate(format!(
                "{} bytes, at most {MAX_CANDIDATE_BYTES} are accepted",
                candidate.candidate.len()
            )));
        }
        // "That was all" changes nothing here.
        if candidate.candidate.is_empty() || !is_resolvable(&candidate.candidate) {
            return Ok(());
        }
        if self.is_early(&candidate) {
            if self.early.len() >= MAX_EARLY_CANDIDATES {
                return Err(PeerError::BadCandidate(format!(
                    "{MAX_EARLY_CANDIDATES} others wait for their description already"
                )));
            }
            self.early.push(candidate);
            return Ok(());
        }
        self.add(candidate).await
    }

    /// Whether the description that a candidate belongs to has not been applied yet.
    fn is_early(&self, candidate: &Candidate) -> bool {
        let Some(remote) = &self.remote_ufrag else { return true };
        match &candidate.username_fragment {
            Some(theirs) => theirs != remote,
            None => self.awaits_answer,
        }
    }

    async fn add_early_candidates(&mut self) {
        for candidate in std::mem::take(&mut self.early) {
            let is_stale = matches!(
                (&candidate.username_fragment, &self.remote_ufrag),
                (Some(theirs), Some(remote)) if theirs != remote
            );
            if is_stale {
                continue;
            }
            if let Err(error) = self.add(candidate).await {
                tracing::debug!(%error, "an early candidate is dropped");
            }
        }
    }

    async fn add(&mut self, candidate: Candidate) -> Result<(), PeerError> {
        if self.candidates >= MAX_CANDIDATES {
            return Err(PeerError::BadCandidate(format!(
                "{MAX_CANDIDATES} were taken already, more are not tried"
            )));
        }
        self.candidates += 1;
        let init = RTCIceCandidateInit {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_mline_index: candidate.sdp_m_line_index,
            username_fragment: candidate.username_fragment,
            url: None,
        };
        self.connection
            .add_ice_candidate(init)
            .await
            .map_err(|error| PeerError::BadCandidate(error.to_string()))
    }

    /// Applies our own description, waits a little for candidates, and gives it with those found.
    async fn describe(&self, own: RTCSessionDescription) -> rtc::shared::error::Result<String> {
        let shared = &self.shared;
        shared.trickles.store(false, Ordering::Release);
        shared.gathered.send_replace(false);
        let mut gathered = shared.gathered.subscribe();
        let created = own.sdp.clone();
        self.connection.set_local_description(own).await?;
        // Not gathered in time is no failure: the rest is trickled.
        let _ = timeout(self.gather_wait, gathered.wait_for(|gathered| *gathered)).await;
        // In this order: a candidate is in the description, or it is trickled, or both.
        shared.trickles.store(true, Ordering::Release);
        let described = self.connection.local_description().await;
        let sdp = described.map_or_else(
            || created.clone(),
            // What was there when it was created belongs to the sockets before a restart.
            |described| without_candidates_of(&described.sdp, &created),
        );
        let sdp = with_candidates_in_use(&sdp);
        *shared.ufrag.lock().unwrap_or_else(PoisonError::into_inner) = ufrag(&sdp);
        Ok(sdp)
    }

    async fn agree(&self) {
        for place in &self.places {
            place.track.agree(codec::agreed(&*place.transceiver).await);
        }
        if let Some(Sound { track: Some(track), transceiver, .. }) = &self.sound {
            track.agree(audio::agreed(&**transceiver).await);
        }
    }
}

/// How many candidates a description brings along, if that is few enough.
fn candidates_of(kind: &'static str, sdp: &str) -> Result<usize, PeerError> {
    let found = sdp.lines().filter(|line| line.starts_with("a=candidate:")).count();
    if found > MAX_CANDIDATES {
        return Err(PeerError::BadDescription {
            kind,
            reason: format!("it has {found} candidates, at most {MAX_CANDIDATES} are accepted"),
        });
    }
    Ok(found)
}
