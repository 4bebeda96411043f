//! The program `halyard` as it is started: what it prints and how it ends.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::{
    path::Path,
    process::{Output, Stdio},
};

use serde_json::{Value, json};
use support::{
    broker::Broker,
    http::{Answer, HttpServer},
    within,
};
use tokio::process::Command;

fn halyard(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halyard"));
    command
        .env_clear()
        .env("XDG_STATE_HOME", home)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs it to its end.
async fn run(words: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    within("the program ends", halyard(home.path()).args(words).output()).await.unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The one object that was printed.
fn object(output: &Output) -> Value {
    let text = stdout(output);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 1, "{text}");
    serde_json::from_str(lines[0]).unwrap()
}

/// Signs one program in, and answers its `register` with this.
async fn answer_register(broker: &Broker, answer: Value) {
    let body = r#"{"id_token":"s3cret-id","username":"me","expires_in":3600}"#;
    broker.serve_http_once(body).await;
    let mut socket = broker.accept().await;
    let register = socket.hear().await;
    assert_eq!(register["token"], "s3cret-tok");
    socket.say(&answer).await;
    socket.hear_close().await;
}

#[tokio::test]
async fn help_and_version_are_no_errors() {
    let help = run(&["--help"]).await;
    assert_eq!(code(&help), 0);
    for command in ["join", "send", "get", "ls", "command", "telemetry", "drive", "room", "doctor"]
    {
        assert!(stdout(&help).contains(command), "{command}");
    }
    assert!(stdout(&help).contains("Exit codes"));
    assert_eq!(code(&run(&["--version"]).await), 0);
}

#[tokio::test]
async fn what_cannot_be_right_ends_with_2_and_says_what_is_accepted() {
    let cases: [(&[&str], &str); 8] = [
        (&["fly"], "unrecognized subcommand"),
        (&["ls"], "/r/ROOM_ID#TOKEN"),
        (&["ls", "http://127.0.0.1:1/x"], "/r/ROOM_ID#TOKEN"),
        (&["ls", "--server", "ftp://x", "--room", "a"], "http://"),
        (&["telemetry", "http://x/r/a#t", "--timeout", "soon"], "10m"),
        (&["command", "http://x/r/a#t", "go", "{nope"], "not JSON"),
        (&["send", "http://x/r/a#t", "/no/such/file"], "does not exist"),
        (&["drive", "http://x/r/a#t", "--linear", "inf"], "finite"),
    ];
    for (words, expected) in cases {
        let people = run(words).await;
        assert_eq!(code(&people), 2, "{words:?} {}", stderr(&people));
        assert!(stderr(&people).contains(expected), "{words:?}: {}", stderr(&people));
        assert!(stdout(&people).is_empty(), "{words:?}");
        let words: Vec<_> = words.iter().copied().chain(["--json"]).collect();
        let programs = run(&words).await;
        assert_eq!(code(&programs), 2);
        let error = object(&programs);
        assert_eq!((&error["event"], &error["code"]), (&json!("error"), &json!("USAGE")));
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_settings_file_with_a_typo_stops_the_start() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("halyard.toml");
    std::fs::write(&config, "server = 'http://127.0.0.1:1'\nrom = 'ab'\n").unwrap();
    let output = run(&["ls", "--config", config.to_str().unwrap()]).await;
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("rom") && stderr(&output).contains("line 2"));
}

#[tokio::test]
async fn a_server_that_is_not_there_ends_with_3_and_its_address() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let link = format!("http://{address}/r/ab12#s3cret-tok");
    for words in [vec!["join", &link], vec!["ls", &link], vec!["room", "create", "--server", &link]]
    {
        let output = run(&words).await;
        assert_eq!(code(&output), 3, "{}", stderr(&output));
        assert!(stderr(&output).contains(&address), "{}", stderr(&output));
        assert!(!stderr(&output).contains("s3cret"), "{}", stderr(&output));
    }
    let error = object(&run(&["telemetry", &link, "--json"]).await);
    assert_eq!(error["code"], "SERVER_UNREACHABLE");
}

#[tokio::test]
async fn a_wrong_token_ends_with_4_and_the_servers_words() {
    let broker = Broker::start().await;
    let link = broker.url.join("r/ab12#s3cret-tok").unwrap().to_string();
    let refusal = json!({"type": "error", "code": "INVALID_TOKEN", "message": "Invalid token"});
    let words = ["join", link.as_str(), "--json", "-vvv"];
    let (output, ()) = tokio::join!(run(&words), answer_register(&broker, refusal));
    assert_eq!(code(&output), 4);
    let error = object(&output);
    assert_eq!((&error["event"], &error["code"]), (&json!("error"), &json!("INVALID_TOKEN")));
    assert!(error["message"].as_str().unwrap().starts_with("Invalid token; "), "{error}");
    assert!(!stderr(&output).contains("s3cret"), "at the finest level: {}", stderr(&output));
}

#[tokio::test]
async fn the_other_ends_words_do_not_paint_the_terminal_in_an_error_either() {
    let broker = Broker::start().await;
    let link = broker.url.join("r/ab12#s3cret-tok").unwrap().to_string();
    let words = "Sorry\u{1b}]0;another title\u{7}\u{9b}2J";
    let refusal = json!({"type": "error", "code": "INVALID_TOKEN", "message": words});
    let home = tempfile::tempdir().unwrap();
    let mut command = halyard(home.path());
    // As on a terminal, where colours pass.
    command.args(["join", link.as_str()]).env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1");
    let (output, ()) = tokio::join!(
        async { within("the program ends", command.output()).await.unwrap() },
        answer_register(&broker, refusal)
    );
    let said = stderr(&output);
    assert!(said.contains("Sorry") && said.contains("\u{1b}["), "in our own colours: {said:?}");
    assert!(!said.contains("\u{1b}]") && !said.contains(['\u{7}', '\u{9b}']), "{said:?}");
}

#[tokio::test]
async fn a_room_without_a_worker_ends_with_5_and_what_to_do() {
    let broker = Broker::start().await;
    let registered = json!({
        "type": "registered_auth", "room_id": "ab12", "token": null, "peer_id": "me",
        "admin_peer_id": null, "peer_list": [], "peer_metadata": {},
        "ice_servers": [], "mesh_ice_servers": [], "role": "operator",
    });
    let server = broker.url.to_string();
    let words = ["ls", "--server", &server, "--room", "ab12", "--wait", "100ms"];
    let home = tempfile::tempdir().unwrap();
    let mut command = halyard(home.path());
    command.args(words).env("HALYARD_TOKEN", "s3cret-tok");
    let (output, ()) = tokio::join!(
        async { within("the program ends", command.output()).await.unwrap() },
        answer_register(&broker, registered)
    );
    assert_eq!(code(&output), 5, "{}", stderr(&output));
    assert!(stderr(&output).contains("no worker is in room ab12"), "{}", stderr(&output));
}

#[tokio::test]
async fn a_room_is_made_kept_and_managed_by_who_made_it() {
    let say = |body: &str| Answer::Say(200, body.to_owned());
    let server = HttpServer::start([
        say(r#"{"id_token":"s3cret-id","username":"u-1","expires_in":3600}"#),
        say(r#"{"room_id":"4d7f5fe9","token":"op","expires_at":4000000000,
            "tokens":{"operator":"op","viewer":"vi"}}"#),
        say(r#"{"room_id":"4d7f5fe9","expires_at":4000000000,"peers":[{"peer_id":"w",
            "role":"worker","access":"admin"}]}"#),
        say(r#"{"room_id":"4d7f5fe9","role":"viewer","revoked":2,"token":"new",
            "viewer_url":"http://h/r/4d7f5fe9#new"}"#),
        Answer::Say(404, r#"{"code":"ROOM_NOT_FOUND","message":"there is no room x"}"#.into()),
    ])
    .await;
    let home = tempfile::tempdir().unwrap();
    let address = server.url.to_string();
    let call = async |words: &[&str]| {
        let mut command = halyard(home.path());
        command.args(words).env("HALYARD_SERVER", &address);
        within("the program ends", command.output()).await.unwrap()
    };

    let made = object(&call(&["room", "create", "--ttl", "2h", "--json"]).await);
    assert_eq!(made["room_id"], "4d7f5fe9");
    assert_eq!(made["join_url"], format!("{address}r/4d7f5fe9#op"));
    assert_eq!(made["viewer_url"], format!("{address}r/4d7f5fe9#vi"));
    assert_eq!(server.asked()[1].body, r#"{"ttl_seconds":7200}"#);

    let shown = call(&["room", "show", "4d7f5fe9"]).await;
    assert_eq!(code(&shown), 0, "{}", stderr(&shown));
    assert!(stdout(&shown).contains("worker"), "{}", stdout(&shown));
    assert!(server.asked()[2].head.contains("Bearer s3cret-id"), "the same identity came");

    let link = made["join_url"].as_str().unwrap();
    let revoked = object(&call(&["room", "revoke", link, "--role", "viewer", "--json"]).await);
    assert_eq!((&revoked["token"], &revoked["revoked"]), (&json!("new"), &json!(2)));

    let gone = call(&["room", "delete", "x"]).await;
    assert_eq!(code(&gone), 4);
    assert!(stderr(&gone).contains("there is no room x"), "{}", stderr(&gone));
    for text in [stdout(&shown), stderr(&shown), stderr(&gone)] {
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn who_made_no_room_here_is_told_so() {
    let output = run(&["room", "show", "ab12", "--server", "http://127.0.0.1:1"]).await;
    assert_eq!(code(&output), 4);
    assert!(stderr(&output).contains("halyard room create"), "{}", stderr(&output));
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let server = HttpServer::start([
        Answer::Say(200, r#"{"id_token":"i","username":"u-1","expires_in":3600}"#.into()),
        Answer::Say(200, r#"{"room_id":"4d7f5fe9","token":"op"}"#.into()),
    ])
    .await;
    let home = tempfile::tempdir().unwrap();
    let mut child = halyard(home.path())
        .args(["room", "create", "--json", "--server", server.url.as_str()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = within("the program ends", child.wait_with_output()).await.unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[tokio::test]
async fn the_doctor_names_what_is_wrong() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/r/ab12#t", listener.local_addr().unwrap());
    drop(listener);
    let output = run(&["doctor", &address, "--json"]).await;
    assert_eq!(code(&output), 3);
    let lines: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["name"], "UDP buffer");
    assert_eq!((&lines[1]["name"], &lines[1]["state"]), (&json!("server"), &json!("failed")));
    assert!(lines[1]["advice"].as_str().unwrap().contains("firewall"));
    assert_eq!(lines.last().unwrap()["event"], "error");
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupted_program_ends_with_130() {
    let broker = Broker::start().await;
    let home = tempfile::tempdir().unwrap();
    let link = broker.url.join("r/ab12#s3cret-tok").unwrap().to_string();
    let child = halyard(home.path())
        .args(["telemetry", &link])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    broker.serve_http_once(r#"{"id_token":"i","username":"me","expires_in":3600}"#).await;
    // It waits for a worker now.
    let (mut socket, _) = broker.register().await;
    let id = child.id().unwrap().to_string();
    let interrupt = std::process::Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(socket.hear().await["type"], "leave", "it says goodbye");
    socket.hear_close().await;
    let output = within("the program ends", child.wait_with_output()).await.unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (130, ""));
}
