//! Where the broker's WebSocket is, and whether to follow it elsewhere.

use url::Url;

use super::SignalError;

/// `http(s)://HOST/PREFIX` -> `ws(s)://HOST/PREFIX/ws`.
pub(super) fn socket_address(server: &Url) -> Result<Url, SignalError> {
    let bad = || SignalError::Address { address: server.to_string() };
    let scheme = match server.scheme() {
        "http" => "ws",
        "https" => "wss",
        _ => return Err(bad()),
    };
    let mut url = server.clone();
    url.set_scheme(scheme).map_err(|()| bad())?;
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().map_err(|()| bad())?.pop_if_empty().push("ws");
    Ok(url)
}

/// The address that a draining broker names, as a base address like the configured one.
///
/// `None` for what is not followed: no address of a server, or one in clear text when the present
/// one is encrypted (our token would go there, too).
pub(super) fn followed(present: &Url, named: &str) -> Option<Url> {
    let named = Url::parse(named).ok()?;
    let scheme = match named.scheme() {
        "http" | "ws" => "http",
        "https" | "wss" => "https",
        _ => return None,
    };
    if present.scheme() == "https" && scheme == "http" {
        return None;
    }
    let host = named.host_str()?;
    let port = named.port().map(|port| format!(":{port}")).unwrap_or_default();
    let prefix = named.path().trim_end_matches('/');
    let prefix = prefix.strip_suffix("/ws").unwrap_or(prefix);
    Url::parse(&format!("{scheme}://{host}{port}{prefix}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn the_socket_stands_below_the_prefix() {
        for (server, socket) in [
            ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/ws"),
            ("https://lab.example/halyard/", "wss://lab.example/halyard/ws"),
            ("https://[::1]:1/a/b", "wss://[::1]:1/a/b/ws"),
        ] {
            assert_eq!(socket_address(&url(server)).expect("an address").as_str(), socket);
        }
        assert!(socket_address(&url("ftp://x/")).is_err());
    }

    #[test]
    fn a_draining_broker_is_followed_in_every_spelling() {
        let here = url("http://a/");
        for named in ["http://b:1/x", "ws://b:1/x/ws", "ws://user:pw@b:1/x/ws?q#f"] {
            assert_eq!(followed(&here, named).expect("followed").as_str(), "http://b:1/x");
        }
        assert_eq!(followed(&here, "wss://[::1]/ws").expect("v6").as_str(), "https://[::1]/");
    }

    #[test]
    fn nobody_talks_us_out_of_encryption() {
        assert_eq!(followed(&url("https://a/"), "http://a/"), None);
        assert_eq!(followed(&url("https://a/"), "ws://a/ws"), None);
        assert_eq!(followed(&url("http://a/"), "file:///etc/passwd"), None);
        assert_eq!(followed(&url("http://a/"), "b:1"), None);
    }
}
