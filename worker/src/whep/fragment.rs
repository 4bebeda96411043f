//! A piece of a session description: what a `PATCH` carries, both ways (RFC 8840).

use std::fmt::Write;

use halyard_protocol::signal::Candidate;

/// Candidates in one fragment; real ends have a few dozen.
const MAX_CANDIDATES: usize = 128;

/// What RFC 8839 allows a user name fragment to be long.
const UFRAG_CHARS: std::ops::RangeInclusive<usize> = 4..=256;

/// And a password.
const PWD_CHARS: std::ops::RangeInclusive<usize> = 22..=256;

/// What a player says about its side of ICE.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fragment {
    /// User name fragment and password, of the ICE session that the candidates belong to.
    pub credentials: Option<Credentials>,
    /// Ways to reach the player.
    pub candidates: Vec<Candidate>,
}

/// Which ICE session something belongs to. The password proves nothing to us, but has to be told to
/// the connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name fragment.
    pub ufrag: String,
    /// The password.
    pub pwd: String,
}

/// Without the password.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// Why something is no fragment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// A line that is no line of a description.
    #[error("line {0} is no line of a session description; accepted are lines like a=candidate:…")]
    Line(usize),
    /// There is nothing in it.
    #[error("there is neither a=candidate nor a=ice-ufrag in it, so it says nothing")]
    Empty,
    /// One of the two is missing.
    #[error("a=ice-ufrag and a=ice-pwd go together, one of them is missing")]
    HalfCredentials,
    /// Two sessions in one fragment.
    #[error("it has two different a=ice-ufrag; all media are bundled here and share one")]
    TwoSessions,
    /// Not what ICE allows.
    #[error(
        "a=ice-ufrag has 4 to 256 and a=ice-pwd 22 to 256 letters, digits, + and / (RFC 8839); these \
         do not"
    )]
    BadCredentials,
    /// More than is looked at.
    #[error("it has more than {MAX_CANDIDATES} candidates")]
    TooMany,
}

impl Fragment {
    /// Reads one. Unknown attributes are passed over.
    pub fn parse(text: &str) -> Result<Self, FragmentError> {
        let mut fragment = Self::default();
        let (mut ufrag, mut pwd): (Option<&str>, Option<&str>) = (None, None);
        let mut mid = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() {
                continue;
            }
            let Some((kind, value)) = line.split_once('=').filter(|(kind, _)| {
                kind.len() == 1 && kind.bytes().all(|byte| byte.is_ascii_lowercase())
            }) else {
                return Err(FragmentError::Line(number + 1));
            };
            match (kind, value.split_once(':').unwrap_or((value, ""))) {
                ("m", _) => mid = None,
                ("a", ("mid", value)) => mid = Some(value.to_owned()),
                ("a", ("ice-ufrag", value)) => same(&mut ufrag, value)?,
                ("a", ("ice-pwd", value)) => same(&mut pwd, value)?,
                ("a", ("candidate", _)) => {
                    if fragment.candidates.len() >= MAX_CANDIDATES {
                        return Err(FragmentError::TooMany);
                    }
                    fragment.candidates.push(Candidate {
                        candidate: value.to_owned(),
                        sdp_mid: mid.clone(),
                        // Everything is bundled: where no section is named, it is the first.
                        sdp_m_line_index: mid.is_none().then_some(0),
                        username_fragment: None,
                    });
                }
                _ => {}
            }
        }
        fragment.credentials = match (ufrag, pwd) {
            (Some(ufrag), Some(pwd)) => Some(Credentials::new(ufrag, pwd)?),
            (None, None) => None,
            _ => return Err(FragmentError::HalfCredentials),
        };
        if let Some(credentials) = &fragment.credentials {
            for candidate in &mut fragment.candidates {
                candidate.username_fragment = Some(credentials.ufrag.clone());
            }
        } else if fragment.candidates.is_empty() {
            return Err(FragmentError::Empty);
        }
        Ok(fragment)
    }

    /// Our own side of an ICE restart, cut out of the answer to it: the ICE lines of the session and
    /// of the first section that is used.
    pub fn of_answer(answer: &str) -> String {
        let (mut session, mut section) = (String::new(), String::new());
        let (mut in_any, mut in_section) = (false, false);
        for line in answer.lines().map(str::trim_end) {
            if let Some(media) = line.strip_prefix("m=") {
                // The first section that was not refused (port 0) carries the bundle.
                if in_section {
                    break;
                }
                in_any = true;
                if media.split_ascii_whitespace().nth(1) != Some("0") {
                    in_section = true;
                    let _ = write!(section, "{line}\r\n");
                }
                continue;
            }
            let Some(attribute) = line.strip_prefix("a=") else { continue };
            let name = attribute.split(':').next().unwrap_or_default();
            let ice = matches!(name, "ice-ufrag" | "ice-pwd" | "ice-options");
            if in_section && (ice || matches!(name, "mid" | "candidate")) {
                let _ = write!(section, "{line}\r\n");
            } else if !in_any && (ice || matches!(name, "group" | "ice-lite")) {
                let _ = write!(session, "{line}\r\n");
            }
        }
        format!("{session}{section}a=end-of-candidates\r\n")
    }
}

impl Credentials {
    /// Checks that they are what RFC 8839 allows.
    pub fn new(ufrag: &str, pwd: &str) -> Result<Self, FragmentError> {
        let ice = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        };
        // A few ends use - and _ too; what they may not do is end a line.
        let lenient = |text: &str| ice(&text.replace(['-', '_', '='], "+"));
        let good = UFRAG_CHARS.contains(&ufrag.len())
            && PWD_CHARS.contains(&pwd.len())
            && lenient(ufrag)
            && lenient(pwd);
        if !good {
            return Err(FragmentError::BadCredentials);
        }
        Ok(Self { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() })
    }
}

/// The one value of an attribute that may be repeated.
fn same<'a>(known: &mut Option<&'a str>, value: &'a str) -> Result<(), FragmentError> {
    match known {
        Some(known) if *known != value => Err(FragmentError::TwoSessions),
        _ => {
            *known = Some(value);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The draft's own example, shortened.
    const TRICKLE: &str = "a=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
        a=mid:0\r\n\
        a=ice-ufrag:EsAw\r\n\
        a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n\
        a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0\r\n\
        a=end-of-candidates\r\n";

    #[test]
    fn the_drafts_example_is_read() {
        let read = Fragment::parse(TRICKLE).expect("a fragment");
        assert_eq!(read.credentials.as_ref().map(|one| one.ufrag.as_str()), Some("EsAw"));
        assert_eq!(read.candidates.len(), 2);
        let first = &read.candidates[0];
        assert!(first.candidate.starts_with("candidate:1387637174 1 udp"), "{}", first.candidate);
        assert_eq!(first.sdp_mid.as_deref(), Some("0"));
        assert_eq!(first.username_fragment.as_deref(), Some("EsAw"));
        let unix = TRICKLE.replace("\r\n", "\n");
        assert_eq!(Fragment::parse(&unix).expect("either line ending"), read);
    }

    #[test]
    fn what_is_no_fragment_is_told_apart() {
        use FragmentError as E;
        let error = |text: &str| Fragment::parse(text).expect_err("no fragment");
        assert_eq!(error("hello"), E::Line(1));
        assert_eq!(error("a=mid:0\r\n{\"candidate\": 1}\r\n"), E::Line(2));
        assert_eq!(error(""), E::Empty);
        assert_eq!(error("a=mid:0\r\na=end-of-candidates\r\n"), E::Empty);
        assert_eq!(error("a=ice-ufrag:abcd\r\n"), E::HalfCredentials);
        let pwd = "a=ice-pwd:0123456789012345678901\r\n";
        assert_eq!(error(&format!("a=ice-ufrag:abc\r\n{pwd}")), E::BadCredentials);
        assert_eq!(error(&format!("a=ice-ufrag:ab cd\r\n{pwd}")), E::BadCredentials);
        let two = format!("a=ice-ufrag:abcd\r\n{pwd}m=x 9 x 9\r\na=ice-ufrag:efgh\r\n{pwd}");
        assert_eq!(error(&two), E::TwoSessions);
        let line = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
        assert_eq!(error(&line.repeat(MAX_CANDIDATES + 1)), E::TooMany);
    }

    #[test]
    fn a_password_is_not_printed() {
        let read = Fragment::parse(TRICKLE).expect("a fragment");
        assert!(!format!("{read:?}").contains("P2uYro0UCOQ4zxjKXaWCBui1"));
    }

    #[test]
    fn of_an_answer_the_ice_lines_of_the_first_used_section_are_left() {
        let answer = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AB\r\n\
            a=group:BUNDLE 1\r\na=ice-options:trickle\r\n\
            m=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:wrong\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:1\r\na=sendonly\r\na=ice-ufrag:good\r\n\
            a=ice-pwd:0123456789012345678901\r\na=candidate:1 1 udp 1 192.0.2.1 7 typ host\r\n\
            a=rtpmap:102 H264/90000\r\n\
            m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\na=ice-ufrag:good\r\n";
        // A refused section's lines come before the section that counts, and are not for the player.
        let expected = "a=group:BUNDLE 1\r\na=ice-options:trickle\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:1\r\na=ice-ufrag:good\r\n\
            a=ice-pwd:0123456789012345678901\r\na=candidate:1 1 udp 1 192.0.2.1 7 typ host\r\n\
            a=end-of-candidates\r\n";
        assert_eq!(Fragment::of_answer(answer), expected);
        let read = Fragment::parse(&Fragment::of_answer(answer)).expect("our own is one too");
        assert_eq!(read.candidates.len(), 1);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "(a=|m=|\r\n|ice-ufrag:|ice-pwd:|candidate:|mid:|[ -~]{0,9}){0,40}") {
            if let Ok(read) = Fragment::parse(&text) {
                prop_assert!(read.candidates.iter().all(|one| !one.candidate.contains(['\r', '\n'])));
            }
            let _ = Fragment::of_answer(&text);
        }
    }
}
