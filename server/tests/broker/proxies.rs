//! Behind a proxy: who is counted, which links are given, and which pages may call.

use halyard_server::{Server, Settings, settings::AllowedOrigins};
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::support::{Broker, settings};

fn behind_loopback() -> Settings {
    let trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    Settings { trusted_proxies, ..settings() }
}

async fn ask(
    broker: &Broker,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, HeaderMap, Value) {
    let method = method.parse().expect("a method");
    let mut request = reqwest::Client::new().request(method, broker.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("answered");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.text().await.expect("a body");
    (status, headers, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

#[tokio::test]
async fn callers_behind_a_trusted_proxy_are_counted_one_by_one() {
    let mut settings = behind_loopback();
    settings.limits.handshakes_per_minute = 1;
    let broker = Broker::with(settings).await;
    let sign_in = async |from: &str| {
        ask(&broker, "POST", "/anonymous-signin", &[("x-forwarded-for", from)]).await.0
    };
    assert_eq!(sign_in("198.51.100.1").await, 200);
    assert_eq!(sign_in("198.51.100.1").await, 429);
    assert_eq!(sign_in("203.0.113.9, 198.51.100.1").await, 429, "what it invents does not help");
    assert_eq!(sign_in("198.51.100.2").await, 200);
    assert_eq!(sign_in("2001:db8::1").await, 200);
    assert_eq!(sign_in("2001:db8::2").await, 429, "the same network");
    let standard = [("forwarded", "for=198.51.100.3;proto=https")];
    assert_eq!(ask(&broker, "POST", "/anonymous-signin", &standard).await.0, 200);
    assert_eq!(ask(&broker, "POST", "/anonymous-signin", &standard).await.0, 429);
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let mut settings = settings();
    settings.limits.handshakes_per_minute = 1;
    let broker = Broker::with(settings).await;
    let lie = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-host", "evil.example")];
    let (status, _, person) = ask(&broker, "POST", "/anonymous-signin", &lie).await;
    assert_eq!(status, 200);
    let lie = [("x-forwarded-for", "198.51.100.2")];
    assert_eq!(ask(&broker, "POST", "/anonymous-signin", &lie).await.0, 429);
    let bearer = format!("Bearer {}", person["id_token"].as_str().expect("a token"));
    let lie = [("authorization", bearer.as_str()), ("x-forwarded-host", "evil.example")];
    let (_, _, room) = ask(&broker, "POST", "/create-room", &lie).await;
    let link = room["join_url"].as_str().expect("a link");
    assert!(link.starts_with(&broker.url("/r/")), "{link}");
}

#[tokio::test]
async fn links_name_the_address_of_the_proxy() {
    let broker = Broker::with(behind_loopback()).await;
    let bearer = format!("Bearer {}", broker.sign_in().await.id_token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "lab.example"),
    ];
    let (_, _, room) = ask(&broker, "POST", "/create-room", &headers).await;
    let link = room["join_url"].as_str().expect("a link");
    assert!(link.starts_with("https://lab.example/r/"), "{link}");
}

#[tokio::test]
async fn pages_that_are_not_listed_may_not_call_and_listed_ones_are_told_that_they_may() {
    let allowed_origins = AllowedOrigins::Only(vec!["https://lab.example".into()]);
    let broker = Broker::with(Settings { allowed_origins, ..settings() }).await;
    let own = broker.url("");
    for (origin, status) in [
        ("https://lab.example", 200),
        (own.as_str(), 200),
        ("https://evil.example", 403),
        ("https://lab.example.evil.example", 403),
        ("http://lab.example", 403),
        ("https://lab.example:444", 403),
        ("null", 403),
        ("https://lab.example, https://evil.example", 403),
        ("x", 403),
    ] {
        let (got, headers, body) =
            ask(&broker, "POST", "/anonymous-signin", &[("origin", origin)]).await;
        assert_eq!(got, status, "{origin}");
        let told = headers.get("access-control-allow-origin").and_then(|v| v.to_str().ok());
        assert_eq!(told, (origin == "https://lab.example").then_some(origin), "{origin}");
        if status == 403 {
            assert_eq!(body["code"], "FORBIDDEN");
        }
    }
    let preflight = [
        ("origin", "https://lab.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    let (status, headers, _) = ask(&broker, "OPTIONS", "/create-room", &preflight).await;
    assert_eq!(status, 200);
    assert_eq!(headers["access-control-allow-origin"], "https://lab.example");
    let allowed = headers["access-control-allow-headers"].to_str().expect("text");
    assert!(allowed.contains("authorization"), "{allowed}");
    let foreign = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    let (_, headers, _) = ask(&broker, "OPTIONS", "/create-room", &foreign).await;
    assert!(headers.get("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn rest_alone_is_served_on_a_port_of_its_own_as_the_original_did() {
    let rest_listen = Some("127.0.0.1:0".parse().expect("an address"));
    let server = Server::bind(Settings { rest_listen, ..settings() }).await.expect("bound");
    let (main, rest) = (server.local_addr(), server.rest_addr().expect("a REST address"));
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    let (main, rest) = (Broker::at(main), Broker::at(rest));
    let ann = rest.sign_in().await;
    let made = rest.call("POST", "/create-room", Some(&ann.id_token), None).await.body;
    let link = made["join_url"].as_str().expect("a link");
    assert!(link.starts_with(&main.url("/r/")), "the page is at the other port: {link}");
    let nothing = rest.call("GET", "/", None, None).await;
    assert_eq!((nothing.status, &nothing.body["detail"]), (404, &"Not Found".into()));
    assert_eq!(rest.call("GET", "/ws", None, None).await.status, 404);
    assert_eq!(rest.call("GET", "/health", None, None).await.body["status"], "healthy");
    let room = crate::support::Room {
        id: crate::support::text(&made["room_id"]),
        operator: crate::support::text(&made["token"]),
        viewer: String::new(),
    };
    main.join(&room, &room.operator, &ann).await;
    stop.cancel();
    let ended = tokio::time::timeout(crate::support::SOON, running).await.expect("in time");
    ended.expect("no panic").expect("ended");
}
