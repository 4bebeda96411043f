//! What operators see and do: metrics under traffic, the log level, readiness while draining, and a
//! stop with everything that belongs to it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    program::Program,
    support::{Broker, SOON, text},
};

/// Every sample of a scrape by its name and labels.
async fn scrape(operators: &Broker) -> BTreeMap<String, f64> {
    let text = text(&operators.call("GET", "/metrics", None, None).await.body);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// Scrapes until a sample has this value: what a socket's task counts, it counts a moment after the
/// peer has read it.
async fn until(operators: &Broker, name: &str, wanted: f64) -> BTreeMap<String, f64> {
    let start = std::time::Instant::now();
    loop {
        let samples = scrape(operators).await;
        let found = samples.get(name).copied();
        if found == Some(wanted) {
            return samples;
        }
        assert!(start.elapsed() < SOON, "{name} is {found:?} and not {wanted}:\n{samples:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_under_traffic_has_what_happened() {
    let dir = tempfile::tempdir().expect("a folder");
    let program = Program::start(dir.path(), "warn,halyard_server=info");
    let (broker, operators) = (Broker::at(program.addr), Broker::at(program.admin));
    let ann = broker.sign_in().await;
    let bob = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let worker = json!({ "role": "worker" });
    let (mut worker, _) = broker.join_as(&room, &room.operator, &ann, "rover", worker).await;
    let client = json!({ "role": "client" });
    let (mut client, _) = broker.join_as(&room, &room.viewer, &bob, "bob", client).await;
    for number in 0..200 {
        client.send(&json!({ "type": "offer", "target": "rover", "sdp": number })).await;
    }
    for _ in 0..200 {
        worker.next_of("offer").await;
    }
    client.send(&json!({ "type": "offer", "target": "ghost", "sdp": "x" })).await;
    client.next_of("error").await;
    let mut stranger = broker.socket().await;
    stranger.register(&room, "a-wrong-token", &bob, "eve", json!({})).await;
    assert_eq!(broker.call("GET", "/rooms/nowhere", Some(&ann.id_token), None).await.status, 404);

    let samples = until(&operators, "halyard_join_duration_seconds_count", 2.0).await;
    let value = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("{name}: {samples:#?}"));
    let is = |name: &str, wanted: f64| assert!((value(name) - wanted).abs() < 1e-9, "{name}");
    is("halyard_sockets", 3.0);
    is("halyard_sockets_opened_total", 3.0);
    is("halyard_rooms", 1.0);
    is("halyard_rooms_created_total", 1.0);
    is("halyard_peers{role=\"worker\",state=\"here\"}", 1.0);
    is("halyard_peers{role=\"client\",state=\"here\"}", 1.0);
    is("halyard_refusals_total{interface=\"socket\",code=\"PEER_NOT_FOUND\"}", 1.0);
    is("halyard_refusals_total{interface=\"socket\",code=\"INVALID_TOKEN\"}", 1.0);
    is("halyard_refusals_total{interface=\"rest\",code=\"ROOM_NOT_FOUND\"}", 1.0);
    is("halyard_backend_up{backend=\"store\"}", 1.0);
    is("halyard_backend_call_duration_seconds_count{backend=\"store\",operation=\"create\"}", 1.0);
    is("halyard_draining", 0.0);
    let by_route =
        "halyard_http_requests_total{method=\"POST\",route=\"/create-room\",status=\"200\"}";
    is(by_route, 1.0);
    // Three registrations and 201 offers.
    assert!(value("halyard_messages_received_total") >= 204.0);
    assert!(value("halyard_outbox_messages_sum") >= 202.0);
    // One in 64 is timed, and one of a batch.
    assert!(value("halyard_relay_duration_seconds_count") >= 1.0);
    let relayed = value("halyard_relay_duration_seconds_sum");
    assert!(relayed > 0.0 && relayed < 60.0, "{relayed}");
    assert!(value("process_resident_memory_bytes") > 1e6);

    worker.cut();
    client.close().await;
    let samples = until(&operators, "halyard_sockets", 1.0).await;
    assert!(samples.contains_key("halyard_sockets_closed_total{code=\"1006\"}"), "{samples:#?}");
    assert!(samples.contains_key("halyard_sockets_closed_total{code=\"1000\"}"), "{samples:#?}");
    until(&operators, "halyard_peers{role=\"worker\",state=\"away\"}", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_level_changes_while_the_program_runs_and_a_bad_one_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let program = Program::start(dir.path(), "info");
    let (broker, operators) = (Broker::at(program.addr), Broker::at(program.admin));
    let level = || operators.call("GET", "/log-level", None, None);
    assert_eq!(level().await.body, json!({ "filter": "info" }));

    let change = |filter: &str| {
        let body = json!({ "filter": filter });
        operators.call("PUT", "/log-level", None, Some(body))
    };
    let refused = change("debgu").await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(text(&refused.body["message"]).contains("halyard_server=debug"), "{refused:?}");
    assert_eq!(level().await.body, json!({ "filter": "info" }), "nothing changed");
    let unknown = operators.call("PUT", "/log-level", None, Some(json!({ "level": "x" }))).await;
    assert_eq!(unknown.status, 400, "{unknown:?}");

    let stray = json!({ "type": "offer", "target": "nobody" });
    let mut peer = broker.socket().await;
    peer.send(&stray).await;
    peer.next_of("error").await;
    let changed = change("warn,halyard_server=debug").await;
    assert_eq!(changed.body, json!({ "filter": "warn,halyard_server=debug" }));
    peer.send(&stray).await;
    peer.next_of("error").await;
    // On the port that peers reach, nobody sees or changes it.
    assert_eq!(broker.call("GET", "/log-level", None, None).await.status, 404);
    assert_eq!(broker.call("GET", "/metrics", None, None).await.status, 404);

    let log = program.kill();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let refusals = lines.iter().filter(|line| line["message"] == "refused").count();
    assert_eq!(refusals, 1, "of one before the change and one after, the latter alone:\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_log_filter_stops_the_start() {
    let output = Command::new(env!("CARGO_BIN_EXE_halyard-server"))
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "none"])
        .env("HALYARD_LOG", "debgu")
        .output()
        .expect("ended");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("\"debgu\" is no log filter; accepted is"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_says_goodbye_to_everybody_and_ends_with_success() {
    let dir = tempfile::tempdir().expect("a folder");
    let program = Program::start_with(dir.path(), "info", &["--drain-timeout", "10s"]);
    let broker = Broker::at(program.addr);
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let mut peer = broker.join(&room, &room.operator, &ann).await;
    program.signal(Signal::TERM);
    let (messages, closed) = peer.until_closed().await;
    assert_eq!(messages.last().expect("a goodbye")["type"], "draining", "{messages:?}");
    assert_eq!(closed.code, 1001);
    let (status, log) = program.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("SIGTERM") && log.contains("stopped"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_a_drain_and_a_second_signal_ends_it_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let program = Program::start_with(dir.path(), "info", &["--drain-timeout", "10m"]);
    let (broker, operators) = (Broker::at(program.addr), Broker::at(program.admin));
    assert_eq!(operators.call("GET", "/ready", None, None).await.status, 200);
    // A request that never ends holds the drain up.
    let mut half = tokio::net::TcpStream::connect(program.addr).await.expect("connected");
    let head = b"POST /create-room HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut half, head).await.expect("written");
    let deaf = broker.socket().await;
    program.signal(Signal::TERM);

    until(&operators, "halyard_draining", 1.0).await;
    let ready = operators.call("GET", "/ready", None, None).await;
    assert_eq!((ready.status, &ready.body["status"]), (503, &json!("draining")));
    assert_eq!(operators.call("GET", "/health", None, None).await.status, 200, "it lives");
    program.signal(Signal::TERM);
    let (status, log) = program.ended();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("again"), "{log}");
    drop((half, deaf));
}

#[test]
fn a_taken_address_for_operators_stops_the_start_and_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let addr = taken.local_addr().expect("an address").to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_halyard-server"))
        .args(["--listen", "127.0.0.1:0", "--admin-listen", &addr])
        .output()
        .expect("ended");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&addr) && said.contains("--admin-listen"), "{said}");
}

#[test]
fn the_usual_address_for_operators_is_given_up_with_a_warning_where_it_is_taken() {
    // Where this fails, something else has it, which is as good.
    let _held = std::net::TcpListener::bind("127.0.0.1:9090");
    let mut child = Command::new(env!("CARGO_BIN_EXE_halyard-server"))
        .args(["--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let until_serving: Vec<String> = lines
        .map_while(Result::ok)
        .scan(false, |serving, line| {
            let before = !std::mem::replace(serving, line.contains("serving page"));
            before.then_some(line)
        })
        .collect();
    child.kill().expect("killed");
    child.wait().expect("ended");
    let said = until_serving.join("\n");
    assert!(said.contains("no /metrics") && said.contains("--admin-listen"), "{said}");
    assert!(said.contains("serving page"), "{said}");
}
