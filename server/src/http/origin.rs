//! Which pages may call.
//!
//! Browsers make no check of their own for WebSockets and for plain POSTs, so it is made here.
//! Programs send no `Origin` at all and are let through: they could send any.

use axum::http::{HeaderMap, header};
use url::Url;

use crate::{Settings, limits::Caller, settings::AllowedOrigins};

/// Whether a request of this caller's with these headers may be answered.
pub(super) fn allowed(settings: &Settings, headers: &HeaderMap, caller: &Caller) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let AllowedOrigins::Only(listed) = &settings.allowed_origins else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if listed.iter().any(|allowed| allowed == origin) {
        return true;
    }
    is_of(
        origin,
        settings.public_url.as_ref(),
        [caller.host.as_deref(), host(headers)].into_iter().flatten(),
    )
}

/// Whether this is the origin of a page of the server's own: of its public address, or of a host
/// under which it was asked, whatever that is called and whoever ended its TLS.
pub fn is_of<'a>(
    origin: &str,
    public: Option<&Url>,
    mut hosts: impl Iterator<Item = &'a str>,
) -> bool {
    if public.is_some_and(|public| public.origin().ascii_serialization() == origin) {
        return true;
    }
    let page = Url::parse(origin).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(page) = page else { return false };
    hosts.any(|host| {
        // Ports that go without saying are not said by either.
        let with_scheme = Url::parse(&format!("{}://{host}", page.scheme()));
        with_scheme.is_ok_and(|own| own.origin() == page.origin())
    })
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST).and_then(|host| host.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(settings: &Settings, origin: Option<&str>, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a header"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("a header"));
        }
        let peer = "10.1.1.1".parse().expect("an address");
        let caller = Caller::of(peer, false, &headers, &settings.trusted_proxies);
        allowed(settings, &headers, &caller)
    }

    #[test]
    fn programs_and_the_own_page_are_let_in_and_a_foreign_page_is_not() {
        let settings = Settings::default();
        assert!(ask(&settings, None, "rover:8080"));
        assert!(ask(&settings, Some("http://rover:8080"), "rover:8080"));
        assert!(ask(&settings, Some("https://rover"), "rover:443"));
        assert!(!ask(&settings, Some("http://evil.example"), "rover:8080"));
        assert!(!ask(&settings, Some("http://rover:8081"), "rover:8080"));
        assert!(!ask(&settings, Some("null"), "rover:8080"));
    }

    #[test]
    fn listed_pages_and_the_public_address_are_let_in() {
        let settings = Settings {
            allowed_origins: AllowedOrigins::Only(vec!["https://lab.example".into()]),
            public_url: Some("https://halyard.example/x".parse().expect("a URL")),
            ..Settings::default()
        };
        assert!(ask(&settings, Some("https://lab.example"), "inside:1"));
        assert!(ask(&settings, Some("https://halyard.example"), "inside:1"));
        assert!(!ask(&settings, Some("https://other.example"), "inside:1"));
        let any = Settings { allowed_origins: AllowedOrigins::Any, ..Settings::default() };
        assert!(ask(&any, Some("null"), "inside:1"));
    }

    #[test]
    fn behind_a_proxy_the_own_page_is_the_one_at_the_proxys_address() {
        let trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        let settings = Settings { trusted_proxies, ..Settings::default() };
        let ask = |settings: &Settings, origin: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "inside:8080".parse().expect("a header"));
            headers.insert("x-forwarded-host", forwarded.parse().expect("a header"));
            headers.insert(header::ORIGIN, origin.parse().expect("a header"));
            let peer = "10.1.1.1".parse().expect("an address");
            allowed(
                settings,
                &headers,
                &Caller::of(peer, false, &headers, &settings.trusted_proxies),
            )
        };
        assert!(ask(&settings, "https://lab.example", "lab.example"));
        assert!(!ask(&settings, "https://evil.example", "lab.example"));
        assert!(!ask(&Settings::default(), "https://lab.example", "lab.example"), "not trusted");
    }

    proptest::proptest! {
        /// No page but the own one is let in, whatever it is called.
        #[test]
        fn no_origin_is_a_panic_or_somebody_elses(origin in "[ -~]{0,60}", host in "[ -~]{0,40}") {
            let mut headers = HeaderMap::new();
            let (Ok(origin), Ok(host)) = (origin.parse(), host.parse()) else { return Ok(()) };
            headers.insert(header::ORIGIN, origin);
            headers.insert(header::HOST, host);
            let peer = "192.0.2.1".parse().expect("an address");
            let caller = Caller::of(peer, false, &headers, &[]);
            if allowed(&Settings::default(), &headers, &caller) {
                let text = |name| headers[name].to_str().expect("text").to_ascii_lowercase();
                let page = Url::parse(&text(header::ORIGIN)).expect("a URL");
                proptest::prop_assert!(matches!(page.scheme(), "http" | "https"));
                let name = page.host_str().expect("a host").trim_matches(['[', ']']).to_owned();
                let own = Url::parse(&format!("http://{}", text(header::HOST))).expect("a host");
                proptest::prop_assert_eq!(own.host_str().map(|h| h.trim_matches(['[', ']'])), Some(name.as_str()));
            }
        }
    }
}
