//! A player's offer, and whether it can be served.

use super::{
    fragment::{Credentials, FragmentError},
    sections,
};

/// An offer that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    sdp: String,
    credentials: Credentials,
}

/// Why an offer is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Not a description at all, or one without what a connection needs.
    #[error("{0}")]
    Malformed(String),
    /// A description of something that a player cannot be served with.
    #[error("{0}")]
    Unserved(String),
}

impl Offer {
    /// Looks at what was posted.
    pub fn check(body: &[u8]) -> Result<Self, OfferError> {
        let malformed = |words: &str| OfferError::Malformed(words.to_owned());
        let unserved = |words: &str| Err(OfferError::Unserved(words.to_owned()));
        let sdp = std::str::from_utf8(body)
            .map_err(|_| malformed("this is not text; accepted is a session description, v=0…"))?;
        if !sdp.trim_start().starts_with("v=0") {
            return Err(malformed("this is no session description: it does not begin with v=0"));
        }
        let attribute = |name: &str| {
            sdp.lines().find_map(|line| line.trim_end().strip_prefix("a=")?.strip_prefix(name))
        };
        let (Some(ufrag), Some(pwd)) = (attribute("ice-ufrag:"), attribute("ice-pwd:")) else {
            return Err(malformed("a=ice-ufrag or a=ice-pwd is missing: WebRTC needs both"));
        };
        if attribute("fingerprint:").is_none() {
            return Err(malformed("a=fingerprint is missing: WebRTC is always encrypted"));
        }
        let credentials = Credentials::new(ufrag, pwd)
            .map_err(|error: FragmentError| OfferError::Malformed(error.to_string()))?;
        let (_, mut sections) = sections::split(sdp);
        sections.retain(|section| section.is_video() && !section.is_refused());
        match sections.as_slice() {
            [] => unserved("it has no m=video section: there is nothing that could be shown"),
            [video] if !video.receives() => unserved(
                "its video section is a=sendonly or a=inactive; a player offers a=recvonly",
            ),
            [video] if !video.has_h264() => unserved(
                "its video section has no H264, which is what this worker sends; allow that codec in \
                 the player",
            ),
            [_] => Ok(Self { sdp: sdp.to_owned(), credentials }),
            _ => unserved("it has several m=video sections; WHEP has one picture"),
        }
    }

    /// As it was posted.
    pub fn sdp(&self) -> &str {
        &self.sdp
    }

    /// The ICE session that it begins, or goes on with.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The same offer in another ICE session, without candidates, and one version later.
    #[must_use]
    pub fn restarted(&self, credentials: &Credentials) -> Self {
        let Credentials { ufrag, pwd } = credentials;
        let kept = self
            .sdp
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.starts_with("a=candidate:") && *line != "a=end-of-candidates");
        let changed = kept.map(|line| {
            if line.starts_with("a=ice-ufrag:") {
                format!("a=ice-ufrag:{ufrag}\r\n")
            } else if line.starts_with("a=ice-pwd:") {
                format!("a=ice-pwd:{pwd}\r\n")
            } else if let Some(later) = line.strip_prefix("o=").and_then(later) {
                format!("{later}\r\n")
            } else {
                format!("{line}\r\n")
            }
        });
        let sdp = changed.collect();
        Self { sdp, credentials: credentials.clone() }
    }

    /// The answer as players want it.
    ///
    /// * Sections that the connection refused (sound, where there is none) are answered as `inactive`
    ///   instead. Browsers that bundle everything from the start, as WHEP asks for, cannot take a
    ///   refusal of the section that carries the bundle.
    /// * Candidates stand in the section that carries the bundle.
    /// * A player that asks for one port for RTP and RTCP (`rtcp-mux-only`, RFC 8858) is told the same,
    ///   since there is never another here.
    pub fn finish(&self, answer: &str) -> String {
        let (head, mut sections) = sections::split(answer);
        let offered = sections::split(&self.sdp).1;
        let used = sections.iter().find(|section| !section.is_refused()).cloned();
        let Some(used) = used else { return answer.to_owned() };
        let candidates = sections::take_candidates(&mut sections);
        for (section, offered) in sections.iter_mut().zip(&offered) {
            if section.is_refused()
                && !offered.is_refused()
                && let Some(inactive) = sections::inactive(offered, &used)
            {
                *section = inactive;
            }
        }
        sections::put_candidates(&mut sections, candidates);
        let mut finished = sections::bundled(&head, &sections);
        if self.sdp.contains("a=rtcp-mux-only") {
            finished = finished.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n");
        }
        finished
    }
}

/// An origin line (without `o=`) with its version one higher.
fn later(origin: &str) -> Option<String> {
    let mut words: Vec<&str> = origin.split(' ').collect();
    let version = words.get(2)?.parse::<u64>().ok()?.wrapping_add(1).to_string();
    words[2] = &version;
    Some(format!("o={}", words.join(" ")))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a browser posts, shortened.
    pub(in crate::whep) const OFFER: &str = "v=0\r\no=- 52285 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        a=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 0.0.0.0\r\n\
        a=ice-ufrag:zjkk\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\n\
        a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n\
        a=fingerprint:sha-256 DA:7B\r\na=setup:actpass\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
        a=rtpmap:102 H264/90000\r\n";

    #[test]
    fn a_browsers_offer_is_served() {
        let offer = Offer::check(OFFER.as_bytes()).expect("a good offer");
        assert_eq!((offer.sdp(), offer.credentials().ufrag.as_str()), (OFFER, "zjkk"));
        for also in ["a=sendrecv\r\n", ""] {
            Offer::check(OFFER.replace("a=recvonly\r\n", also).as_bytes()).expect("served too");
        }
        let bundled =
            OFFER.replace("m=video 9", "m=video 0").replace("a=mid", "a=bundle-only\r\na=mid");
        Offer::check(bundled.as_bytes()).expect("port 0 in a bundle is a port");
    }

    #[test]
    fn what_is_no_offer_and_what_is_none_for_a_player_are_told_apart() {
        let check = |text: &str| Offer::check(text.as_bytes()).expect_err("refused");
        let malformed = |text: &str| matches!(check(text), OfferError::Malformed(_));
        let unserved = |text: &str| matches!(check(text), OfferError::Unserved(_));
        assert!(malformed(""));
        assert!(malformed("{\"sdp\": \"v=0\"}"));
        assert!(malformed("v=0\r\n"));
        assert!(malformed(&OFFER.replace("a=fingerprint", "a=x")));
        assert!(malformed(&OFFER.replace("ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y", "ice-pwd:short")));
        assert!(matches!(Offer::check(&[0xff, 0xfe]), Err(OfferError::Malformed(_))));
        assert!(unserved(&OFFER.replace("m=video", "m=audio")));
        assert!(unserved(&OFFER.replace("m=video 9", "m=video 0")), "a refused section");
        assert!(unserved(&OFFER.replace("recvonly", "sendonly")));
        assert!(unserved(&OFFER.replace("recvonly", "inactive")));
        assert!(unserved(&OFFER.replace("H264", "VP8")));
        let twice =
            format!("{OFFER}m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=rtpmap:102 H264/90000\r\n");
        assert!(unserved(&twice));
    }

    #[test]
    fn a_restart_changes_the_ice_lines_and_nothing_else() {
        let offer = Offer::check(OFFER.as_bytes()).expect("a good offer");
        let other = Credentials::new("ysXw", "vw5LmwG4y/e6dPP/zAP9Gp5k").expect("good ones");
        let expected = OFFER
            .replace("52285 2", "52285 3")
            .replace("zjkk", "ysXw")
            .replace("bP+XJMM09aR8AiX1jdukzR6Y", "vw5LmwG4y/e6dPP/zAP9Gp5k")
            .replace("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n", "");
        assert_eq!(offer.restarted(&other).sdp(), expected);
    }

    #[test]
    fn who_wants_one_port_is_told_that_there_is_one() {
        let offer = OFFER.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n");
        let answer = "v=0\r\na=group:BUNDLE 0\r\nm=video 9 x 102\r\na=mid:0\r\na=rtcp-mux\r\n";
        let finished = |offer: &str| Offer::check(offer.as_bytes()).expect("good").finish(answer);
        assert_eq!(finished(OFFER), answer);
        assert_eq!(finished(&offer), format!("{answer}a=rtcp-mux-only\r\n"));
    }

    #[test]
    fn sound_that_there_is_none_of_is_answered_as_inactive_and_carries_the_bundle() {
        let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:zjkk\r\n\
            a=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\na=setup:actpass\r\na=mid:a\r\na=recvonly\r\n\
            a=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\n";
        let offer =
            OFFER.replace("BUNDLE 0", "BUNDLE a 0").replace("m=video", &format!("{audio}m=video"));
        let candidate = "a=candidate:1 1 udp 1 192.0.2.1 7 typ host\r\na=end-of-candidates\r\n";
        let head = "v=0\r\na=fingerprint:sha-256 AB\r\n";
        let video = "m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=setup:active\r\na=mid:0\r\n\
            a=ice-ufrag:ours\r\na=ice-pwd:0123456789012345678901\r\na=rtcp-mux\r\na=sendonly\r\n";
        let refused = "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\n";
        let expected = format!(
            "{head}a=group:BUNDLE a 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n\
             a=mid:a\r\na=setup:active\r\na=ice-ufrag:ours\r\na=ice-pwd:0123456789012345678901\r\n\
             a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\na=inactive\r\n\
             {candidate}{video}"
        );
        let offer = Offer::check(offer.as_bytes()).expect("a good offer");
        // Wherever the candidates were.
        for answer in [
            format!("{head}a=group:BUNDLE 0\r\n{refused}{candidate}{video}"),
            format!("{head}a=group:BUNDLE 0\r\n{refused}{video}{candidate}"),
        ] {
            assert_eq!(offer.finish(&answer), expected);
        }
        let taken = format!("{head}a=group:BUNDLE 0\r\n{video}{candidate}");
        assert_eq!(offer.finish(&taken), taken, "nothing was refused");
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in "(m=audio|m=video|m=| 0 | 9 |\r\n|a=mid:|a=group:|[ -~]{0,9}){0,40}") {
            let _ = Offer::check(OFFER.as_bytes()).expect("a good offer").finish(&text);
        }

        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Offer::check(&bytes);
        }

        #[test]
        fn neither_does_a_description_with_pieces_missing(cut in 0..OFFER.len(), gap in 0..60usize) {
            let mut text = OFFER.to_owned();
            text.replace_range(cut..(cut + gap).min(OFFER.len()), "");
            if let Ok(offer) = Offer::check(text.as_bytes()) {
                let again = offer.restarted(offer.credentials());
                prop_assert!(Offer::check(again.sdp().as_bytes()).is_ok(), "{}", again.sdp());
            }
        }
    }
}
