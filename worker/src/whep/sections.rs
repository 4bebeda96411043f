//! A description in pieces: what stands before the first section, and the sections.

use std::collections::BTreeSet;

/// One `m=` line and what follows it.
#[derive(Debug, Clone)]
pub(super) struct Section {
    lines: Vec<String>,
}

/// Cuts a description up.
pub(super) fn split(sdp: &str) -> (Vec<String>, Vec<Section>) {
    let (mut head, mut sections) = (Vec::new(), Vec::<Section>::new());
    for line in sdp.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        let line = line.to_owned();
        if line.starts_with("m=") {
            sections.push(Section { lines: vec![line] });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line);
        } else {
            head.push(line);
        }
    }
    (head, sections)
}

impl Section {
    /// Port 0; of an offer also what only waits for the bundle, which is not refused.
    pub(super) fn is_refused(&self) -> bool {
        let port = self.lines.first().and_then(|media| media.split(' ').nth(1));
        port == Some("0") && !self.lines.iter().any(|line| line == "a=bundle-only")
    }

    pub(super) fn is_video(&self) -> bool {
        self.lines.first().is_some_and(|media| media.starts_with("m=video "))
    }

    /// `sendrecv` is what counts where nothing is said (RFC 8866).
    pub(super) fn receives(&self) -> bool {
        !self.lines.iter().any(|line| line == "a=sendonly" || line == "a=inactive")
    }

    pub(super) fn has_h264(&self) -> bool {
        self.lines.iter().any(|line| {
            let codec = line.strip_prefix("a=rtpmap:").and_then(|map| map.split_once(' '));
            codec.is_some_and(|(_, codec)| codec.to_ascii_uppercase().starts_with("H264/"))
        })
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(name))
    }

    fn is_of_candidates(line: &str) -> bool {
        line.starts_with("a=candidate:") || line == "a=end-of-candidates"
    }
}

/// The answer to a section of media that is taken, although nothing is ever sent in it. `used` is a
/// section that is used, for what all of a bundle share. Nothing for what is no media.
pub(super) fn inactive(offered: &Section, used: &Section) -> Option<Section> {
    let mut media = offered.lines.first()?.split(' ');
    let (kind, _port, protocol, payload) =
        (media.next()?, media.next()?, media.next()?, media.next()?);
    if !matches!(kind, "m=audio" | "m=video") {
        return None;
    }
    let mut lines = vec![format!("{kind} 9 {protocol} {payload}"), "c=IN IP4 0.0.0.0".to_owned()];
    lines.push(format!("a=mid:{}", offered.value("a=mid:")?));
    for shared in ["a=setup:", "a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:"] {
        lines.extend(used.value(shared).map(|value| format!("{shared}{value}")));
    }
    lines.push("a=rtcp-mux".to_owned());
    for codec in [format!("a=rtpmap:{payload} "), format!("a=fmtp:{payload} ")] {
        lines.extend(offered.value(&codec).map(|value| format!("{codec}{value}")));
    }
    lines.push("a=inactive".to_owned());
    Some(Section { lines })
}

/// Takes all candidates out, each once.
pub(super) fn take_candidates(sections: &mut [Section]) -> Vec<String> {
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    for section in sections.iter_mut() {
        section.lines.retain(|line| {
            let moves = Section::is_of_candidates(line);
            if moves && line.starts_with("a=candidate:") && known.insert(line.clone()) {
                found.push(line.clone());
            }
            !moves
        });
    }
    found
}

/// Puts candidates to the end of the first section that is not refused: the bundle's.
pub(super) fn put_candidates(sections: &mut [Section], candidates: Vec<String>) {
    let carrier = sections.iter_mut().find(|section| !section.is_refused());
    if let (Some(carrier), false) = (carrier, candidates.is_empty()) {
        carrier.lines.extend(candidates);
        carrier.lines.push("a=end-of-candidates".to_owned());
    }
}

/// The whole description again, with everything that is not refused in one bundle.
pub(super) fn bundled(head: &[String], sections: &[Section]) -> String {
    let mids = sections.iter().filter(|section| !section.is_refused());
    let mids: Vec<&str> = mids.filter_map(|section| section.value("a=mid:")).collect();
    let group = format!("a=group:BUNDLE {}", mids.join(" "));
    let head =
        head.iter().map(|line| if line.starts_with("a=group:BUNDLE") { &group } else { line });
    let lines = head.chain(sections.iter().flat_map(|section| &section.lines));
    lines.flat_map(|line| [line.as_str(), "\r\n"]).collect()
}
