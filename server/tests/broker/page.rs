//! The page and its headers.

use reqwest::{Client, StatusCode, header};
use tokio_tungstenite::{connect_async, tungstenite::client::IntoClientRequest};

use crate::support::Broker;

#[tokio::test]
async fn the_page_is_at_the_root_and_at_every_room_and_is_not_kept() {
    let broker = Broker::start().await;
    for path in ["/", "/r/4d7f5fe9"] {
        let page = Client::new().get(broker.url(path)).send().await.expect("answered");
        assert_eq!(page.status(), StatusCode::OK);
        let headers = page.headers().clone();
        assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains(&format!("ws://{}", broker.addr)), "{policy}");
        assert!(page.text().await.expect("text").to_lowercase().contains("<!doctype html>"));
    }
}

#[tokio::test]
async fn files_of_the_page_are_asked_about_again_and_not_sent_twice() {
    let broker = Broker::start().await;
    let url = broker.url("/css/base.css");
    let first = Client::new().get(&url).send().await.expect("answered");
    assert_eq!(first.headers()[header::CONTENT_TYPE], "text/css; charset=utf-8");
    assert_eq!(first.headers()[header::CACHE_CONTROL], "no-cache");
    let etag = first.headers()[header::ETAG].clone();
    let again = Client::new().get(&url).header(header::IF_NONE_MATCH, etag);
    let again = again.send().await.expect("answered");
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn nothing_but_the_page_is_served() {
    let broker = Broker::start().await;
    for path in [
        "/package.json",
        "/eslint.config.js",
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/js/../../src/lib.rs",
        "/.git/config",
        "//etc/passwd",
        "/js/",
        "/index.html/x",
    ] {
        let answer = broker.call("GET", path, None, None).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_foreign_page_may_not_open_a_socket() {
    let broker = Broker::start().await;
    let ask = |origin: String| {
        let mut request = format!("ws://{}/ws", broker.addr).into_client_request().expect("a URL");
        request.headers_mut().insert(header::ORIGIN, origin.parse().expect("a header"));
        connect_async(request)
    };
    ask(format!("http://{}", broker.addr)).await.expect("its own page may");
    let refused = ask("http://evil.example".into()).await.expect_err("refused").to_string();
    assert!(refused.contains("403"), "{refused}");
}
