//! The program itself: what it prints, how it ends, where it comes back to.

use std::{path::Path, process::Stdio};

use halyard_client::session::SessionEvent;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::world::{Broker, PATIENCE, event, join, soon, telemetry};

/// A running worker program.
pub struct Program {
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub fn start(args: &[&str]) -> Self {
        Self::of(env!("CARGO_BIN_EXE_halyard-worker"), args)
    }

    /// The same of a command that starts it.
    pub fn of(command: &str, args: &[&str]) -> Self {
        let mut child = Command::new(command)
            .args(args)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let out = child.stdout.take().expect("piped");
        Self { child, lines: BufReader::new(out).lines() }
    }

    pub async fn line(&mut self) -> Option<String> {
        soon("a line", self.lines.next_line()).await.expect("text")
    }

    /// The next line of `--json` with this event.
    pub async fn json(&mut self, wanted: &str) -> Value {
        loop {
            let line = self.line().await.unwrap_or_else(|| panic!("it ended before {wanted}"));
            let value: Value = serde_json::from_str(&line).expect("one object a line");
            if value["event"] == wanted {
                return value;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("kill is there").success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_prints_three_aligned_lines_and_nothing_else() {
    let mut program = Program::start(&["standalone", "--listen", "127.0.0.1:0"]);
    let drive = program.line().await.expect("the first");
    let watch = program.line().await.expect("the second");
    let hint = program.line().await.expect("the third");
    assert!(drive.starts_with("Drive  http://127.0.0.1:"), "{drive}");
    assert!(watch.starts_with("Watch  http://127.0.0.1:"), "{watch}");
    assert!(hint.starts_with("Try    "), "{hint}");
    assert!(!drive.contains('\x1b'), "no colours where there is no terminal");
    program.signal("TERM");
    assert_eq!(program.line().await, None);
    let status = soon("the end", program.child.wait()).await.expect("a status");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_says_goodbye_to_everybody_and_ends_cleanly() {
    let mut program = Program::start(&["standalone", "--listen", "127.0.0.1:0", "--json"]);
    let room = program.json("room").await;
    assert_eq!(room["role"], "operator");
    let link = room["join_url"].as_str().expect("a link");
    assert!(link.ends_with(room["token"].as_str().expect("a token")), "{room}");
    let session = join(link, false).await;
    program.json("peer_connected").await;
    let mut events = session.events();
    program.signal("TERM");
    let reason = event("the goodbye", &mut events, |event| match event {
        SessionEvent::Bye { reason } => Some(reason),
        _ => None,
    })
    .await;
    assert!(reason.contains("stopping"), "{reason}");
    program.json("stopped").await;
    let status = soon("the end", program.child.wait()).await.expect("a status");
    assert_eq!(status.code(), Some(0));
}

fn run_args<'a>(server: &'a str, state: &'a str) -> Vec<&'a str> {
    vec![
        "run",
        "--server",
        server,
        "--state-file",
        state,
        "--video",
        "none",
        "--driver",
        "sim",
        "--json",
    ]
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_comes_back_to_its_room_and_its_people_come_back_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(None).await;
    let state = dir.path().join("state.json");
    let args = run_args(broker.url.as_str(), text(&state));
    let mut program = Program::start(&args);
    let first = program.json("room").await;
    let session = join(first["join_url"].as_str().expect("a link"), false).await;
    telemetry("telemetry", &session, |_| true).await;

    let mut events = session.events();
    program.signal("KILL");
    soon("the end", program.child.wait()).await.expect("a status");
    let mut program = Program::start(&args);
    let second = program.json("room").await;
    assert_eq!(first["room_id"], second["room_id"]);
    assert_eq!(first["join_url"], second["join_url"]);
    assert_eq!(first["viewer_url"], second["viewer_url"]);
    let again = event("the reconnect", &mut events, |event| match event {
        SessionEvent::Connected { again, .. } => Some(again),
        _ => None,
    })
    .await;
    assert!(again);
    drop(session);
    program.signal("TERM");
    soon("the end", program.child.wait()).await.expect("a status");
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_ends_at_once_with_the_documented_code() {
    for (args, code, words) in [
        (vec!["run"], 2, "--server"),
        (vec!["run", "--server", "http://127.0.0.1:9", "--video", "none"], 3, "127.0.0.1:9"),
        (vec!["standalone", "--video", "webcam"], 2, "accepted is sim"),
        (vec!["standalone", "--files", "/no/such/folder"], 2, "a folder that exists"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_halyard-worker"));
        let output = command.args(&args).env_clear().kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE, output).await.expect("in time").expect("ran");
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{args:?} said {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_refused_with_its_own_code() {
    let mut broker = Broker::start(None).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_halyard-worker"));
    let server = broker.url.as_str();
    command
        .args(["run", "--server", server, "--room", "deadbeef", "--video", "none"])
        .env_clear()
        .env("HALYARD_TOKEN", "s3cret-that-is-wrong")
        .kill_on_drop(true);
    let output = soon("the refusal", command.output()).await.expect("ran");
    assert_eq!(output.status.code(), Some(4));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("s3cret"));
    broker.end().await;
}
