//! Which pages may open a socket.
//!
//! Browsers send no `Origin` check of their own for WebSockets, so it is made here. Programs send
//! none at all and are let through: they could send any.

use axum::http::{HeaderMap, header};
use url::Url;

use crate::{Settings, settings::AllowedOrigins};

/// Whether a request with these headers may open a socket.
pub(super) fn allowed(settings: &Settings, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let AllowedOrigins::Only(listed) = &settings.allowed_origins else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if listed.iter().any(|allowed| allowed == origin) {
        return true;
    }
    if let Some(public) = &settings.public_url
        && public.origin().ascii_serialization() == origin
    {
        return true;
    }
    // The page's own host, whatever it is called and whoever ended its TLS.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let page = Url::parse(origin).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    match (host, page) {
        (Some(host), Some(page)) => {
            // Ports that go without saying are not said by either.
            let with_scheme = Url::parse(&format!("{}://{host}", page.scheme()));
            with_scheme.is_ok_and(|own| own.origin() == page.origin())
        }
        _ => false,
    }
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
        allowed(settings, &headers)
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
}
