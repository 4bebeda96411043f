//! Who is behind a proxy.
//!
//! `X-Forwarded-For` and `Forwarded` (RFC 7239) grow to the right, one hop each, and everything but
//! what a trusted proxy added may be invented by the caller. So they are read from the right, and
//! the first address that is no trusted proxy is the caller. What cannot be read ends the walk: the
//! caller is then the proxy itself, and whoever sends nonsense shares its limits.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Proxies in a row that are believed in. More are a loop, or a caller who plays.
const MAX_HOPS: usize = 32;

/// What is known of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its address, as far as trusted proxies vouch for it.
    pub address: IpAddr,
    /// Whether it came through a trusted proxy.
    pub proxied: bool,
    /// Whether it used TLS: with this server, or with the proxy in front.
    pub secure: bool,
    /// The host that it asked for, with a port where it named one.
    pub host: Option<String>,
}

impl Caller {
    /// Looks at a request that came from `peer`, with or without TLS of this server's own.
    pub fn of(peer: IpAddr, tls: bool, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let host = text(headers, &header::HOST).map(str::to_owned);
        if !is_trusted(peer, trusted) {
            return Self { address: peer.to_canonical(), proxied: false, secure: tls, host };
        }
        let last = last_forwarded(headers);
        let proto = text_of_last(headers, &X_FORWARDED_PROTO).or(last.proto);
        let named = text_of_last(headers, &X_FORWARDED_HOST).or(last.host);
        Self {
            address: behind(peer, headers, trusted),
            proxied: true,
            secure: proto.map_or(tls, |proto| proto.eq_ignore_ascii_case("https")),
            host: named.or(host),
        }
    }
}

/// Whether an address is a proxy that is believed.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// The address behind a trusted proxy.
fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let x_forwarded_for = headers.get_all(X_FORWARDED_FOR).iter().any(|_| true);
    let forwarded = headers.get_all(header::FORWARDED).iter().any(|_| true);
    let by_x = || rightmost(peer, x_forwarded_for_hops(headers), trusted);
    let by_rfc = || rightmost(peer, forwarded_hops(headers), trusted);
    match (x_forwarded_for, forwarded) {
        (false, false) => peer.to_canonical(),
        (true, false) => by_x(),
        (false, true) => by_rfc(),
        // A proxy that writes one of them passes the other on as the caller made it up. Where they
        // differ nobody knows which is true.
        (true, true) => {
            let (x, rfc) = (by_x(), by_rfc());
            if x == rfc { x } else { peer.to_canonical() }
        }
    }
}

/// The first hop from the right that is no trusted proxy. `hops` come from the right; one that
/// cannot be read is `None`.
fn rightmost(
    peer: IpAddr,
    hops: impl Iterator<Item = Option<IpAddr>>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut nearest = peer.to_canonical();
    for hop in hops.take(MAX_HOPS) {
        let Some(hop) = hop else { break };
        nearest = hop;
        if !is_trusted(hop, trusted) {
            break;
        }
    }
    nearest
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The word of the nearest proxy where several wrote one.
fn text_of_last(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let last = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    let word = last.rsplit(',').next().unwrap_or_default().trim();
    (!word.is_empty()).then(|| word.to_owned())
}

fn x_forwarded_for_hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    lines.flat_map(|line| match line.to_str() {
        Ok(line) => line.rsplit(',').map(node).collect(),
        Err(_) => vec![None],
    })
}

fn forwarded_hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(header::FORWARDED).iter().rev();
    lines.flat_map(|line| match line.to_str().ok().and_then(elements) {
        Some(elements) => {
            elements.iter().rev().map(|element| element.from.as_deref().and_then(node)).collect()
        }
        None => vec![None],
    })
}

/// An address as proxies write it: with a port or without, IPv6 in brackets or not.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

/// What one proxy wrote into `Forwarded`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Element {
    from: Option<String>,
    proto: Option<String>,
    host: Option<String>,
}

fn last_forwarded(headers: &HeaderMap) -> Element {
    let last = headers.get_all(header::FORWARDED).iter().next_back();
    let elements = last.and_then(|line| line.to_str().ok()).and_then(elements);
    elements.and_then(|mut elements| elements.pop()).unwrap_or_default()
}

/// Reads one `Forwarded` line: elements between commas, pairs between semicolons, values quoted or
/// not. A line that breaks the rules says nothing.
fn elements(line: &str) -> Option<Vec<Element>> {
    let mut elements = vec![Element::default()];
    for (end, pair) in pairs(line)? {
        let element = elements.last_mut()?;
        if !pair.trim().is_empty() {
            let (name, value) = pair.split_once('=')?;
            let place = match name.trim().to_ascii_lowercase().as_str() {
                "for" => Some(&mut element.from),
                "proto" => Some(&mut element.proto),
                "host" => Some(&mut element.host),
                _ => None,
            };
            let value = unquoted(value.trim())?;
            if let Some(place) = place {
                // Twice in one element: nobody knows which.
                if place.replace(value).is_some() {
                    return None;
                }
            }
        }
        if end == ',' {
            elements.push(Element::default());
        }
    }
    Some(elements)
}

/// The pairs of a line with what ends each: `;`, `,`, or a space for the end of the line.
fn pairs(line: &str) -> Option<Vec<(char, &str)>> {
    let (mut pairs, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' | ',' if !quoted => {
                pairs.push((c, &line[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    pairs.push((' ', &line[start..]));
    (!quoted).then_some(pairs)
}

fn unquoted(value: &str) -> Option<String> {
    let Some(inside) = value.strip_prefix('"') else {
        return (!value.contains('"')).then(|| value.to_owned());
    };
    let inside = inside.strip_suffix('"')?;
    let (mut text, mut escaped) = (String::new(), false);
    for c in inside.chars() {
        match c {
            _ if escaped => {
                escaped = false;
                text.push(c);
            }
            '\\' => escaped = true,
            '"' => return None,
            c => text.push(c),
        }
    }
    (!escaped).then_some(text)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().expect("a network")).collect()
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append(*name, value);
        }
        headers
    }

    fn caller(peer: &str, lines: &[(&'static str, &str)]) -> Caller {
        let trusted = networks(&["10.0.0.0/8", "2001:db8:aa::/48"]);
        Caller::of(peer.parse().expect("an address"), false, &headers(lines), &trusted)
    }

    fn address(peer: &str, lines: &[(&'static str, &str)]) -> String {
        caller(peer, lines).address.to_string()
    }

    #[test]
    fn nobody_but_a_trusted_proxy_is_believed() {
        let lines = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1")];
        let lied = caller("203.0.113.5", &lines);
        assert_eq!((lied.address.to_string().as_str(), lied.proxied), ("203.0.113.5", false));
        assert_eq!(address("10.1.1.1", &lines), "192.0.2.1");
        assert_eq!(address("::ffff:10.1.1.1", &lines), "192.0.2.1");
        assert_eq!(address("10.1.1.1", &[]), "10.1.1.1");
    }

    #[test]
    fn the_rightmost_hop_that_is_no_proxy_is_the_caller() {
        for (line, expected) in [
            ("1.1.1.1, 192.0.2.1", "192.0.2.1"),
            ("1.1.1.1, 192.0.2.1, 10.2.2.2", "192.0.2.1"),
            ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            // What cannot be read ends the walk.
            ("192.0.2.1, unknown", "10.1.1.1"),
            ("192.0.2.1, unknown, 10.2.2.2", "10.2.2.2"),
            ("", "10.1.1.1"),
            (",,,", "10.1.1.1"),
            ("192.0.2.1; DROP TABLE", "10.1.1.1"),
        ] {
            assert_eq!(address("10.1.1.1", &[("x-forwarded-for", line)]), expected, "{line}");
        }
        let two = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(address("10.1.1.1", &two), "192.0.2.1", "the last line is the nearest");
    }

    #[test]
    fn the_standard_header_is_read_as_the_standard_says() {
        for (line, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"[2001:db8::1]:4711\";proto=https", "2001:db8::1"),
            ("for=1.1.1.1, for=192.0.2.1;by=10.1.1.1", "192.0.2.1"),
            ("for=1.1.1.1;host=\"a,for=2.2.2.2\", for=192.0.2.1", "192.0.2.1"),
            ("for=\"192.0.2.\\1\"", "192.0.2.1"),
            ("for=_hidden", "10.1.1.1"),
            ("proto=https", "10.1.1.1"),
            ("for=192.0.2.1;for=192.0.2.2", "10.1.1.1"),
            ("for=\"192.0.2.1", "10.1.1.1"),
            ("for", "10.1.1.1"),
        ] {
            assert_eq!(address("10.1.1.1", &[("forwarded", line)]), expected, "{line}");
        }
    }

    #[test]
    fn a_header_that_the_proxy_did_not_write_is_not_believed() {
        let lines = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=198.51.100.7")];
        assert_eq!(address("10.1.1.1", &lines), "10.1.1.1");
    }

    #[test]
    fn scheme_and_host_come_from_the_nearest_proxy() {
        let lines =
            [("host", "inside:1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "lab")];
        let found = caller("10.1.1.1", &lines);
        assert_eq!((found.secure, found.host.as_deref()), (true, Some("lab")));
        let found = caller("203.0.113.5", &lines);
        assert_eq!((found.secure, found.host.as_deref()), (false, Some("inside:1")));
        let standard = [("host", "inside:1"), ("forwarded", "for=1.1.1.1;proto=https;host=lab")];
        let found = caller("10.1.1.1", &standard);
        assert_eq!((found.secure, found.host.as_deref()), (true, Some("lab")));
    }

    proptest! {
        /// Whatever a caller writes, the right part that the proxy added decides.
        #[test]
        fn no_prefix_changes_what_the_proxy_said(
            junk in "[ -~]{0,80}",
            bits in any::<u32>(),
        ) {
            let real = std::net::Ipv4Addr::from_bits(bits);
            prop_assume!(real.octets()[0] != 10);
            let line = format!("{junk}, {real}");
            prop_assert_eq!(address("10.1.1.1", &[("x-forwarded-for", &line)]), real.to_string());
        }

        #[test]
        fn no_line_is_a_panic_and_no_address_is_invented(
            x in prop::collection::vec("\\PC{0,60}", 0..4),
            rfc in prop::collection::vec("(for=|\"|;|,|\\\\|=|[a-z0-9.:\\[\\] ]){0,40}", 0..4),
        ) {
            let mut headers = HeaderMap::new();
            for line in &x {
                if let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) {
                    headers.append("x-forwarded-for", value);
                }
            }
            for line in &rfc {
                if let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) {
                    headers.append("forwarded", value);
                }
            }
            let peer: IpAddr = "10.1.1.1".parse().expect("an address");
            let found = Caller::of(peer, false, &headers, &networks(&["10.0.0.0/8"]));
            let said = format!("{x:?}{rfc:?}");
            prop_assert!(found.address == peer || said.contains(|c: char| c.is_ascii_digit() || c == ':'));
        }

        /// What is written by the rules is read back.
        #[test]
        fn what_a_proxy_writes_is_read_back(
            hops in prop::collection::vec((any::<u128>(), "[ -~]{0,20}"), 1..5),
        ) {
            let quote = |text: &str| {
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            };
            let line: Vec<String> = hops.iter().map(|(bits, host)| {
                let from = std::net::Ipv6Addr::from_bits(*bits);
                format!("for={};host={}", quote(&format!("[{from}]")), quote(host))
            }).collect();
            let elements = elements(&line.join(", ")).expect("by the rules");
            prop_assert_eq!(elements.len(), hops.len());
            for (element, (bits, host)) in elements.iter().zip(&hops) {
                let from = IpAddr::V6(std::net::Ipv6Addr::from_bits(*bits)).to_canonical();
                prop_assert_eq!(element.from.as_deref().and_then(node), Some(from));
                prop_assert_eq!(element.host.as_ref(), Some(host));
            }
        }
    }
}
