//! The little that is read from a description or a candidate line here.

use std::collections::HashSet;

/// The user name fragment of a description: which generation of candidates belongs to it.
pub(super) fn ufrag(sdp: &str) -> Option<String> {
    sdp.lines().find_map(|line| line.trim_end().strip_prefix("a=ice-ufrag:")).map(str::to_owned)
}

/// A description without the candidates that an older one has already.
pub(super) fn without_candidates_of(sdp: &str, older: &str) -> String {
    let old: HashSet<_> = older.lines().filter(|line| line.starts_with("a=candidate:")).collect();
    let kept = sdp.split_inclusive('\n').filter(|line| !old.contains(line.trim_end()));
    kept.collect()
}

/// A description whose candidates stand where they are read. The library puts them into the first
/// section even where that one is refused (port 0), and others pass over such a section; they belong
/// into the first that is used.
pub(super) fn with_candidates_in_use(sdp: &str) -> String {
    let is_refused = |section: &str| {
        section.lines().next().is_some_and(|media| media.split(' ').nth(1) == Some("0"))
    };
    let mut sections: Vec<String> = Vec::new();
    for line in sdp.split_inclusive('\n') {
        match sections.last_mut() {
            Some(section) if !line.starts_with("m=") => section.push_str(line),
            _ => sections.push(line.to_owned()),
        }
    }
    // What stands before the first section is none.
    let Some(used) = sections.iter().skip(1).position(|one| !is_refused(one)) else {
        return sdp.to_owned();
    };
    let mut moved = String::new();
    for section in sections.iter_mut().skip(1).take(used) {
        let (of_ice, others): (Vec<&str>, Vec<&str>) = section
            .split_inclusive('\n')
            .partition(|line| line.starts_with("a=candidate:") || line.starts_with("a=end-of-"));
        moved.extend(of_ice);
        *section = others.concat();
    }
    if let Some(section) = sections.get_mut(1 + used) {
        section.push_str(&moved);
    }
    sections.concat()
}

/// Whether a candidate line has an address. Browsers give names instead (`….local`) that only the
/// local network can resolve; they try our addresses anyway.
pub(super) fn is_resolvable(line: &str) -> bool {
    let address = line.split_ascii_whitespace().nth(4).unwrap_or_default();
    address.rsplit_once('.').is_none_or(|(_, end)| !end.eq_ignore_ascii_case("local"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fragment_is_found_with_either_line_ending() {
        assert_eq!(ufrag("v=0\r\na=ice-ufrag:aBc+\r\na=ice-pwd:x\r\n").as_deref(), Some("aBc+"));
        assert_eq!(ufrag("v=0\na=ice-ufrag:q\n").as_deref(), Some("q"));
        assert_eq!(ufrag("v=0\r\n"), None);
    }

    #[test]
    fn candidates_of_the_last_generation_are_left_out() {
        let older = "v=0\r\na=candidate:1 1 udp 1 192.0.2.1 1000 typ host\r\n";
        let sdp = "v=0\r\na=candidate:1 1 udp 1 192.0.2.1 1000 typ host\r\n\
                   a=candidate:1 1 udp 1 192.0.2.1 2000 typ host\r\nm=x\r\n";
        let expected = "v=0\r\na=candidate:1 1 udp 1 192.0.2.1 2000 typ host\r\nm=x\r\n";
        assert_eq!(without_candidates_of(sdp, older), expected);
        assert_eq!(without_candidates_of(sdp, "v=0\r\n"), sdp);
    }

    #[test]
    fn candidates_move_from_a_refused_section_to_the_first_that_is_used() {
        let found = "a=candidate:1 1 udp 1 192.0.2.1 1000 typ host\r\na=end-of-candidates\r\n";
        let head = "v=0\r\na=group:BUNDLE 1\r\n";
        let (audio, video) = ("m=audio 0 x 0\r\na=mid:0\r\n", "m=video 9 x 102\r\na=mid:1\r\n");
        let data = "m=application 9 x y\r\na=mid:2\r\n";
        let moved = with_candidates_in_use(&format!("{head}{audio}{found}{video}{data}"));
        assert_eq!(moved, format!("{head}{audio}{video}{found}{data}"));
        for as_it_is in [
            format!("{head}{video}{found}{audio}"),
            format!("{head}{audio}{found}"),
            head.to_owned(),
            String::new(),
        ] {
            assert_eq!(with_candidates_in_use(&as_it_is), as_it_is);
        }
    }

    #[test]
    fn names_of_the_local_network_are_left_to_the_other_end() {
        let hidden = "candidate:1 1 udp 2113937151 0b0a-1.local 54321 typ host generation 0";
        assert!(!is_resolvable(hidden));
        assert!(is_resolvable("candidate:1 1 udp 2113937151 192.0.2.7 54321 typ host"));
        assert!(is_resolvable("nonsense"));
    }
}
