//! From where somebody asks, and which pages may without a token.
//!
//! On a trusted network nobody shows a token, so any web page that somebody there opens could ask in
//! their name. A browser says with `Origin` whose page asks, and it is let in where that is the
//! worker's own. A page can also give its own name the worker's address once it is loaded (DNS
//! rebinding) and is then of the same origin as the worker; what betrays it is `Host`, which still
//! has the page's name. So `Host` has to be something that no stranger can own: an address, or a name
//! that the public DNS does not have, or the one in `public_url`.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};
use halyard_server::{http::origin::is_of, limits::Caller};
use url::{Host, Url};

use super::refusal::Refusal;

/// Domains that are for networks of one's own (RFC 6761, RFC 6762, RFC 8375, and ICANN's resolution
/// of 29 July 2024).
const NOBODYS: [&str; 4] = ["localhost", "local", "home.arpa", "internal"];

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) headers: HeaderMap,
    caller: Caller,
}

impl Asker {
    fn new(from: IpAddr, headers: HeaderMap) -> Self {
        // A proxy on this very machine stands for others; whoever else lies about them is on the
        // machine already.
        let proxies = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let caller = Caller::of(from, false, &headers, &proxies.map(Into::into));
        Self { headers, caller }
    }

    /// Whom it is counted as.
    pub(super) fn address(&self) -> IpAddr {
        self.caller.address
    }

    /// Whether it is a program of this machine, or somebody behind a proxy there that does not say
    /// whom it stands for.
    pub(super) fn is_here(&self) -> bool {
        self.caller.address.is_loopback()
    }

    /// Whether it may ask without a token.
    pub(super) fn may_do_without_token(&self, public: Option<&Url>) -> Result<(), Refusal> {
        let said = |name| self.headers.get(&name).and_then(|value| value.to_str().ok());
        let host = said(header::HOST);
        let hosts = || [self.caller.host.as_deref(), host].into_iter().flatten();
        if let Some(foreign) = hosts().find(|host| !is_nobodys(host, public)) {
            return Err(Refusal::forbidden(format!(
                "on a trusted network {foreign:?} is asked for by its token alone, since any web site \
                 could own that name; use the worker's address, or name this one with public_url"
            )));
        }
        if !self.headers.contains_key(header::ORIGIN) {
            return Ok(());
        }
        match said(header::ORIGIN) {
            Some(origin) if is_of(origin, public, hosts()) => Ok(()),
            _ => Err(Refusal::forbidden(
                "a page from elsewhere needs the room's token here, on a trusted network too; send it \
                 as \"Authorization: Bearer TOKEN\"",
            )),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let from = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let from = from.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |from| from.0.ip());
        Ok(Self::new(from, parts.headers.clone()))
    }
}

/// Whether no stranger can own this name.
fn is_nobodys(host: &str, public: Option<&Url>) -> bool {
    let Ok(url) = Url::parse(&format!("http://{host}")) else { return false };
    let name = match url.host() {
        Some(Host::Domain(name)) => name.trim_end_matches('.'),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => return true,
        None => return false,
    };
    let is_public = public.and_then(Url::host_str) == Some(name);
    let is_below = |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    is_public || !name.contains('.') || NOBODYS.into_iter().any(is_below)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, StatusCode};

    use super::*;

    fn asker(from: &str, headers: &[(HeaderName, &str)]) -> Asker {
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a header")));
        Asker::new(from.parse().expect("an address"), headers.collect())
    }

    fn may(host: &str, origin: Option<&str>, public: Option<&str>) -> bool {
        let mut headers = vec![(header::HOST, host)];
        headers.extend(origin.map(|origin| (header::ORIGIN, origin)));
        let public = public.map(|text| text.parse().expect("a URL"));
        match asker("192.0.2.7", &headers).may_do_without_token(public.as_ref()) {
            Ok(()) => true,
            Err(refusal) => {
                assert_eq!(refusal.status(), StatusCode::FORBIDDEN);
                false
            }
        }
    }

    #[test]
    fn programs_and_the_own_page_need_no_token_and_a_foreign_page_does() {
        for host in
            ["192.168.1.5:8080", "[fd00::5]:8080", "rover:8080", "rover.local", "localhost:1"]
        {
            assert!(may(host, None, None), "{host}");
            assert!(may(host, Some(&format!("http://{host}")), None), "{host}");
            for foreign in ["http://evil.example", "http://rover:81", "null", "", "http://[", "ä"]
            {
                assert!(!may(host, Some(foreign), None), "{foreign} at {host}");
            }
        }
    }

    #[test]
    fn a_page_that_gave_its_own_name_the_workers_address_is_told_apart() {
        for host in
            ["evil.example:8080", "evil.example.", "local.evil.example", "notlocal.org", "", "a b"]
        {
            assert!(!may(host, Some(&format!("http://{host}")), None), "{host}");
            // A page reads its own origin without saying so.
            assert!(!may(host, None, None), "{host}");
        }
    }

    #[test]
    fn the_name_that_the_owner_gave_the_worker_is_its_own() {
        let public = Some("https://robot.lab.example/rover");
        assert!(may("robot.lab.example", Some("https://robot.lab.example"), public));
        assert!(may("10.0.0.7:8080", Some("https://robot.lab.example"), public));
        assert!(!may("other.lab.example", None, public));
        assert!(!may("robot.lab.example", Some("https://other.lab.example"), public));
    }

    #[test]
    fn who_stands_behind_a_proxy_of_this_machine_is_counted_by_itself() {
        let forwarded = HeaderName::from_static("x-forwarded-for");
        let through = |from| asker(from, &[(forwarded.clone(), "198.51.100.1, 192.0.2.9")]);
        assert_eq!(through("127.0.0.1").address(), asker("192.0.2.9", &[]).address());
        assert_eq!(through("::1").address(), asker("192.0.2.9", &[]).address());
        assert_eq!(
            through("192.0.2.7").address(),
            asker("192.0.2.7", &[]).address(),
            "not believed"
        );
        assert!(asker("127.0.0.1", &[]).is_here() && !through("127.0.0.1").is_here());
    }
}
