//! Spans that arrive at a collector.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value as Any,
    trace::v1::Span,
};
use prost::Message;
use rustix::process::Signal;
use serde_json::json;

use crate::{program::Program, support::Broker};

type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A collector that keeps what it gets.
async fn collector() -> (SocketAddr, Received) {
    let received = Received::default();
    let take = async |State(received): State<Received>, headers: HeaderMap, body: Bytes| {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
        received.lock().expect("no panic").push(request);
    };
    let routes = Router::new().route("/v1/traces", post(take)).with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(axum::serve(listener, routes).into_future());
    (addr, received)
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let shown = |value: Option<&Any>| match value {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let value =
        |value: &opentelemetry_proto::tonic::common::v1::AnyValue| shown(value.value.as_ref());
    let pairs = span.attributes.iter();
    pairs
        .map(|pair| (pair.key.as_str(), pair.value.as_ref().map(value).unwrap_or_default()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_hears_of_calls_registrations_refusals_and_backends() {
    let (addr, received) = collector().await;
    let dir = tempfile::tempdir().expect("a folder");
    let endpoint = format!("http://{addr}");
    let program = Program::start_with(dir.path(), "info", &["--otlp-endpoint", &endpoint]);
    let broker = Broker::at(program.addr);
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let (mut peer, _) = broker.join_as(&room, &room.operator, &ann, "ann", json!({})).await;
    peer.send(&json!({ "type": "offer", "target": "ghost", "sdp": "a-secret" })).await;
    peer.next_of("error").await;
    peer.close().await;
    // What waits is sent before the end.
    program.signal(Signal::TERM);
    let (status, log) = tokio::task::spawn_blocking(|| program.ended()).await.expect("no panic");
    assert_eq!(status.code(), Some(0), "{log}");

    let requests = received.lock().expect("no panic");
    let resource =
        requests.first().expect("something was sent").resource_spans[0].resource.as_ref();
    let service = &resource.expect("a resource").attributes;
    assert!(service.iter().any(|pair| pair.key == "service.name"), "{service:?}");
    let spans: Vec<&Span> = requests
        .iter()
        .flat_map(|request| &request.resource_spans)
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
        .collect();
    let named = |name: &str| -> &Span {
        let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
        spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {names:?}"))
    };
    assert_eq!(attributes(named("POST /anonymous-signin"))["http.response.status_code"], "200");
    let create = named("POST /create-room");
    let register = named("register");
    assert_eq!(attributes(register)["room"], room.id);
    assert_eq!(attributes(register)["peer"], "ann");
    let refused = attributes(named("refused"));
    assert_eq!(refused["code"], "PeerNotFound");
    let calls: Vec<&&Span> = spans.iter().filter(|span| span.name == "backend call").collect();
    let of = |parent: &Span, operation: &str| {
        let mut calls = calls.iter().filter(|call| call.parent_span_id == parent.span_id);
        assert!(calls.any(|call| attributes(call)["operation"] == operation), "{operation}");
    };
    of(create, "create");
    of(register, "get");
    // Nothing secret goes there either.
    let all = format!("{requests:?}");
    for secret in [&ann.id_token, &room.operator, &room.viewer, &"a-secret".to_owned()] {
        assert!(!all.contains(secret.as_str()), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_holds_nobody_up_and_costs_a_bounded_time_at_the_end() {
    // It takes connections and says nothing.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let endpoint = format!("http://{}", deaf.local_addr().expect("an address"));
    let dir = tempfile::tempdir().expect("a folder");
    let more = ["--otlp-endpoint", &endpoint, "--drain-timeout", "2s"];
    let program = Program::start_with(dir.path(), "info", &more);
    let broker = Broker::at(program.addr);
    let ann = broker.sign_in().await;
    for _ in 0..20 {
        broker.still_serves().await;
    }
    assert!(!ann.id_token.is_empty());
    program.signal(Signal::TERM);
    let start = std::time::Instant::now();
    let (status, log) = tokio::task::spawn_blocking(|| program.ended()).await.expect("no panic");
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(log.contains("the last spans were not sent"), "{log}");
}
