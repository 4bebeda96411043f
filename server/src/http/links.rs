//! The links that a room is joined with.

use halyard_protocol::{ids::RoomId, link::JoinLink, token::Token};
use url::Url;

use super::{App, caller::Asker};

/// The broker's address as the caller should pass it on: the one in the settings, or the host that
/// was asked, because that is how the caller reached it.
pub(super) fn base_url(app: &App, asker: &Asker) -> Url {
    if let Some(url) = &app.broker.settings.public_url {
        return url.clone();
    }
    let scheme = if asker.caller.secure { "https" } else { "http" };
    let host = asker.caller.host.as_deref();
    let mut url = host.and_then(|host| host_url(scheme, host)).unwrap_or_else(|| {
        Url::parse(&format!("{scheme}://{}/", app.local_addr)).expect("a socket address is a host")
    });
    // The page is not at the port that has REST alone.
    if asker.rest_alone && url.set_port(Some(app.local_addr.port())).is_err() {
        tracing::debug!("an http address always has a port");
    }
    url
}

/// The address of a `Host` header, if that is nothing but a host and a port.
fn host_url(scheme: &str, host: &str) -> Option<Url> {
    let url = Url::parse(&format!("{scheme}://{host}/")).ok()?;
    let plain = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    plain.then_some(url)
}

/// A join link with the secret in it.
pub(super) fn join_url(base: &Url, room: &RoomId, token: &Token) -> String {
    match JoinLink::new(base.clone(), room.clone(), Some(token.clone())) {
        Ok(link) => link.expose(),
        // The settings accept http and https alone, and so does the line above.
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_host_is_believed() {
        let shown = |host| host_url("http", host).map(|url| url.to_string());
        assert_eq!(shown("rover.local:8080").as_deref(), Some("http://rover.local:8080/"));
        assert_eq!(shown("[::1]:80").as_deref(), Some("http://[::1]/"));
        for host in ["a/b", "user@a", "a?b", "a#b", "", "a b"] {
            assert_eq!(shown(host), None, "{host:?}");
        }
    }
}
