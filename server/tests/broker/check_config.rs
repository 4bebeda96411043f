//! `check-config`: what is said of a configuration before it is used.

use std::{
    net::TcpListener,
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::Value;

fn check(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_halyard-server"))
        .arg("check-config")
        .args(args)
        .args(["--turn-urls", "turn:turn.example:3478"])
        .env("HALYARD_TURN_SECRET", "a-turn-secret")
        .output()
        .expect("ended");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("one JSON object:\n{text}"))
}

#[test]
fn every_setting_is_shown_with_where_it_was_typed_and_without_secrets() {
    let args = ["--json", "--room-ttl", "30m"];
    let (code, text) = check(&args);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("a-turn-secret"), "{text}");
    let said = json(&text);
    let row = |key: &str| {
        let mut rows = said["settings"].as_array().expect("rows").iter();
        rows.find(|row| row["key"] == key).unwrap_or_else(|| panic!("{key}: {said}"))
    };
    assert_eq!(row("room_ttl")["value"], "30m");
    assert_eq!(row("room_ttl")["from"], "the flag --room-ttl");
    assert_eq!(row("turn_secret")["from"], "the variable HALYARD_TURN_SECRET");
    assert_eq!(row("admin_listen")["value"], "127.0.0.1:9090");
    assert_eq!(row("admin_listen")["from"], Value::Null);
    let (code, text) = check(&args[1..]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("the flag --room-ttl") && !text.contains("a-turn-secret"), "{text}");
}

#[test]
fn what_is_named_is_tried_and_what_fails_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().to_str().expect("text");
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let taken = taken.local_addr().map(|addr| (taken, addr.to_string())).expect("an address");
    let args = ["--connect", "--json", "--data-dir", data, "--listen"];
    let (code, text) = check(&[&args[..], &["127.0.0.1:0"]].concat());
    assert_eq!(code, Some(0), "{text}");
    let whats = json(&text)["checks"].to_string();
    assert!(whats.contains("store embedded answers") && whats.contains("identity"), "{whats}");

    let more = ["--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem"];
    let (code, text) = check(&[&args[..], &[&taken.1], &more].concat());
    assert_eq!(code, Some(3), "{text}");
    let said = json(&text);
    assert_eq!(said["ok"], false);
    let failed: Vec<&Value> =
        said["checks"].as_array().expect("checks").iter().filter(|c| c["ok"] == false).collect();
    let failed = serde_json::to_string(&failed).expect("JSON");
    assert!(failed.contains(&taken.1) && failed.contains("/nowhere/cert.pem"), "{failed}");
    assert!(!failed.contains("store"), "{failed}");
}

#[test]
fn a_certificate_that_ends_soon_is_warned_of_and_one_that_has_ended_is_refused() {
    const DAY: Duration = Duration::from_hours(24);
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).to_str().expect("text").to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let now = SystemTime::now();
    for (until, code, words) in [
        (now + DAY * 200, 0, "ok      the certificate"),
        (now + DAY * 10 + DAY / 2, 0, "WARNING the certificate"),
        (now - DAY, 3, "FAILED  the certificate"),
    ] {
        let pair = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(vec!["lab".to_owned()]).expect("a name");
        params.not_before = (now - DAY * 300).into();
        params.not_after = until.into();
        let issued = params.self_signed(&pair).expect("signed");
        std::fs::write(&cert, issued.pem()).expect("written");
        std::fs::write(&key, pair.serialize_pem()).expect("written");
        let tls = ["--tls-cert", &cert, "--tls-key", &key, "--listen", "127.0.0.1:0"];
        let (ended, text) = check(&[&["--connect"], &tls[..]].concat());
        assert_eq!(ended, Some(code), "{text}");
        assert!(text.contains(words), "{text}");
        let (_, text) = check(&[&["--connect", "--json"], &tls[..]].concat());
        let said = json(&text);
        let mut checks = said["checks"].as_array().expect("checks").iter();
        let row = checks.find(|row| row["what"].to_string().contains("certificate"));
        let row = row.expect("it is looked at").clone();
        assert_eq!(row["ok"], code == 0, "{row}");
        if words.starts_with("WARNING") {
            assert!(row["warning"].to_string().contains("in 10 days: renew it"), "{row}");
        }
    }
}

#[test]
fn a_configuration_that_means_nothing_is_refused() {
    let (code, text) = check(&["--json", "--room-ttl", "soon"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(json(&text)["error"].as_str().expect("words").contains("--room-ttl"), "{text}");
    let (code, text) = check(&["--room-ttl", "soon"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("room_ttl is \"soon\" in the flag --room-ttl"), "{text}");
}
