//! Parsers that several programs need. Each takes what its key says is accepted, and nothing else.

use std::{ops::RangeBounds, path::PathBuf, time::Duration};

use url::Url;

/// What [`web_address`] accepts.
pub const WEB_ADDRESS: &str = "an http:// or https:// address without ? and #";
/// What [`count`] accepts.
pub const COUNT: &str = "a whole number from 1 on";
/// What [`yes`] accepts.
pub const YES_OR_NO: &str = "true or false";

/// A path that is not empty.
pub fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// A text with something in it.
pub fn not_empty(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.to_owned())
}

/// How many, at least one.
pub fn count(text: &str) -> Option<usize> {
    text.parse().ok().filter(|&number| number > 0)
}

/// Yes or no.
pub fn yes(text: &str) -> Option<bool> {
    text.parse().ok()
}

/// How long, like `90s`, `30m` or `2h`, within bounds.
pub fn duration(accepted: impl RangeBounds<Duration>) -> impl Fn(&str) -> Option<Duration> {
    move |text| humantime::parse_duration(text).ok().filter(|duration| accepted.contains(duration))
}

/// The address of a site, or of something below it.
pub fn web_address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}

/// The address of a STUN or TURN server, with one of these schemes: `["stun:", "stuns:"]`.
pub fn ice_url(schemes: &[&str]) -> impl Fn(&str) -> Option<String> {
    move |text| {
        let after = schemes.iter().find_map(|scheme| text.strip_prefix(scheme))?;
        (!after.is_empty() && !after.contains(' ')).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_keeps_its_bounds() {
        let parse = duration(Duration::from_secs(1)..=Duration::from_mins(1));
        assert_eq!(parse("1m"), Some(Duration::from_mins(1)));
        for text in ["", "1", "0s", "61s", "soon"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_web_address_is_one_of_a_site() {
        for good in ["http://127.0.0.1:8080", "https://halyard.example/below/"] {
            assert!(web_address(good).is_some(), "{good}");
        }
        for bad in ["", "halyard.example", "ftp://x", "https://x?q", "https://x#f", "http://"] {
            assert!(web_address(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_ice_address_has_a_scheme_and_something_behind_it() {
        let parse = ice_url(&["stun:", "stuns:"]);
        assert_eq!(parse("stuns:a:5349").as_deref(), Some("stuns:a:5349"));
        for bad in ["", "stun:", "turn:a", "a:3478", "stun:a b"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
