use std::collections::BTreeSet;

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::{Settings, http, wiring};

const METHODS: [Method; 5] =
    [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];

fn router() -> Router {
    let broker = wiring::open(Settings::default()).expect("a broker");
    http::routes(http::App::for_tests(Arc::new(broker)))
}

fn paths(api: &Value) -> impl Iterator<Item = (&String, &serde_json::Map<String, Value>)> {
    let paths = api["paths"].as_object().expect("paths").iter();
    paths.map(|(path, item)| (path, item.as_object().expect("methods")))
}

async fn ask(router: &Router, method: &Method, path: &str) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::empty());
    let asking = router.clone().oneshot(request.expect("a request")).await;
    let answer = asking.expect("answered");
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn what_is_described_is_served_and_with_no_other_method() {
    let router = router();
    let (status, api) = ask(&router, &Method::GET, "/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(api["openapi"], "3.1.0");
    let mut described = 0;
    for (path, item) in paths(&api) {
        // Waits for what the started broker finds out.
        if path == "/ready" {
            continue;
        }
        for method in METHODS {
            let (status, body) = ask(&router, &method, &path.replace("{id}", "lab")).await;
            let not_served = status == StatusCode::METHOD_NOT_ALLOWED
                || (status == StatusCode::NOT_FOUND && body["code"] == "NOT_FOUND");
            let is_described = item.contains_key(&method.as_str().to_ascii_lowercase());
            assert_ne!(not_served, is_described, "{method} {path} is answered {status} {body}");
            described += usize::from(is_described);
        }
    }
    assert!(described >= 13, "{described}");
}

#[test]
fn every_route_of_the_interface_is_described() {
    // A route that is added past `rest` has its pattern in the source: these are for browsers, and
    // on the address for operators.
    let others =
        BTreeSet::from(["/", "/ws", "/r/{room}", "/metrics", "/log-level", "/health", "/ready"]);
    let sources =
        [include_str!("../mod.rs"), include_str!("../health.rs"), include_str!("../log_level.rs")];
    let found: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.split(".route(\"").skip(1))
        .map(|rest| rest.split('"').next().expect("a pattern"))
        .collect();
    assert_eq!(found, others);
}

#[test]
fn every_call_says_what_it_answers_and_who_may() {
    let api = serde_json::to_value(described().into_openapi()).expect("JSON");
    assert!(api["components"]["securitySchemes"][ID_TOKEN]["scheme"] == "bearer", "{api}");
    for (path, item) in paths(&api) {
        for (method, call) in item {
            let name = format!("{method} {path}");
            assert!(call["responses"]["200"]["content"]["application/json"].is_object(), "{name}");
            assert!(call["operationId"].is_string() && call["tags"][0].is_string(), "{name}");
            assert!(call["summary"].is_string(), "{name} has no summary");
            let needs_identity = !call["security"].is_null();
            let refused = call["responses"]["401"].is_object();
            assert_eq!(needs_identity, refused, "{name}: 401 belongs to an identity");
        }
    }
}
