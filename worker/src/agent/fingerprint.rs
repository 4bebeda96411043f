//! Whether two offers are of the same connection. Pure.

/// The certificates that an SDP names, in order. They belong to the peer connection: an ICE
/// restart, or a video section added later, comes under the same ones; a page that was loaded
/// again, or a program that started anew, has others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint(Vec<String>);

impl Fingerprint {
    /// Of this SDP.
    pub fn of(sdp: &str) -> Self {
        let mut found: Vec<_> = sdp
            .lines()
            .filter_map(|line| line.trim().strip_prefix("a=fingerprint:"))
            .map(str::to_ascii_lowercase)
            .collect();
        // Repeated in every media section.
        found.sort_unstable();
        found.dedup();
        Self(found)
    }

    /// Whether an offer of these certificates changes the connection of those. An SDP without any
    /// is nobody's.
    pub fn is_same_connection(&self, other: &Self) -> bool {
        !self.0.is_empty() && self == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_of_the_same_connection_and_a_reload_is_not() {
        let first = "v=0\r\na=fingerprint:sha-256 AB:CD\r\nm=x\r\na=fingerprint:sha-256 AB:CD\r\n";
        let restart = "v=0\r\no=- 7 8 IN\r\na=fingerprint:sha-256 ab:cd\r\n";
        let reload = "v=0\r\na=fingerprint:sha-256 EF:01\r\n";
        let of = Fingerprint::of;
        assert!(of(first).is_same_connection(&of(restart)));
        assert!(!of(first).is_same_connection(&of(reload)));
        assert!(!of("v=0").is_same_connection(&of("v=0")), "none is nobody's");
    }
}
