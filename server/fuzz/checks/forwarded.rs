//! Whatever a caller writes into the headers of proxies, only what a trusted proxy added counts.
//!
//! The input is headers, one a line: `x VALUE` is an `X-Forwarded-For`, `f VALUE` a `Forwarded`,
//! `p` and `h` are `X-Forwarded-Proto` and `X-Forwarded-Host`. Bytes that no header can have are
//! left out.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use halyard_server::limits::Caller;

const PROXY: [u8; 4] = [10, 1, 1, 1];
const STRANGER: [u8; 4] = [203, 0, 113, 5];
/// Who calls through the proxy, as the proxy says.
const TRUE_CALLER: &str = "198.51.100.77";

pub fn check(data: &[u8]) {
    let headers = read(data);
    let trusted = ["10.0.0.0/8".parse().expect("a network")];
    let of = |peer: [u8; 4], headers: &HeaderMap| {
        Caller::of(IpAddr::from(peer), false, headers, &trusted)
    };

    // Who is no proxy is itself, whatever it says.
    let stranger = of(STRANGER, &headers);
    assert_eq!(stranger.address, IpAddr::from(STRANGER));
    assert!(!stranger.proxied && !stranger.secure);
    assert_eq!(stranger.host, None, "it sent no Host");

    // Through a proxy it is the proxy or somebody whom a header names, and the same every time.
    let caller = of(PROXY, &headers);
    assert!(caller.proxied);
    assert_eq!(caller, of(PROXY, &headers));

    // What the proxy itself adds decides.
    for (mine, other, value) in [
        ("x-forwarded-for", "forwarded", TRUE_CALLER.to_owned()),
        ("x-forwarded-for", "forwarded", format!("{TRUE_CALLER}:4711, 10.2.3.4")),
        ("forwarded", "x-forwarded-for", format!("for={TRUE_CALLER};proto=https")),
        ("forwarded", "x-forwarded-for", format!("For=\"{TRUE_CALLER}:4711\", for=10.2.3.4")),
    ] {
        let mut headers = headers.clone();
        headers.remove(other);
        headers.append(mine, HeaderValue::from_str(&value).expect("a value"));
        let expected: IpAddr = TRUE_CALLER.parse().expect("an address");
        assert_eq!(of(PROXY, &headers).address, expected, "{value}");
    }
}

fn read(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let (name, value) = match line {
            [b'x', b' ', value @ ..] => ("x-forwarded-for", value),
            [b'f', b' ', value @ ..] => ("forwarded", value),
            [b'p', b' ', value @ ..] => ("x-forwarded-proto", value),
            [b'h', b' ', value @ ..] => ("x-forwarded-host", value),
            _ => continue,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    headers
}
