//! The REST client against a server that answers what each test says.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::time::{Duration, SystemTime};

use halyard_client::api::{
    Api, ApiError, ApiOptions, Identity, LONGEST_WAIT, RoomOptions, WhomToRevoke,
};
use halyard_protocol::{access::Access, ids::PeerId, token::Token};
use support::{
    http::{Answer, HttpServer},
    log::Log,
    within,
};
use url::Url;

const SECRET: &str = "eyJ.s3cret.sig";

fn say(status: u16, body: &str) -> Answer {
    Answer::Say(status, body.to_owned())
}

fn identity() -> Identity {
    Identity {
        username: PeerId::new("me").unwrap(),
        id_token: Token::new(SECRET),
        expires_at: u64::MAX / 2,
        lifetime: 3600,
    }
}

async fn server(answers: impl IntoIterator<Item = Answer>) -> (HttpServer, Api) {
    let server = HttpServer::start(answers).await;
    let api = Api::new(server.url.clone()).unwrap();
    (server, api)
}

#[tokio::test]
async fn signing_in_gives_an_identity_that_knows_when_it_ends() {
    let body = r#"{"id_token":"eyJ.s3cret.sig","username":"u-1","expires_in":3600,"new":1}"#;
    let (server, api) = server([say(200, body)]).await;
    let identity = within("sign in", api.sign_in()).await.unwrap();
    assert_eq!(identity.username.as_str(), "u-1");
    let now = SystemTime::now();
    assert!(identity.is_fresh(now));
    assert!(identity.is_fresh(now + Duration::from_secs(3500)));
    assert!(!identity.is_fresh(now + Duration::from_secs(3590)), "too late for anything new");
    assert_eq!(
        (server.asked()[0].method.as_str(), server.asked()[0].path.as_str()),
        ("POST", "/anonymous-signin")
    );
}

#[tokio::test]
async fn a_room_comes_with_links_for_operators_and_viewers() {
    let body = r#"{"room_id":"4d7f5fe9","token":"op","expires_at":17,
        "tokens":{"operator":"op","viewer":"vi"},
        "join_url":"https://lab.example/r/4d7f5fe9#op","viewer_url":null}"#;
    let (server, api) = server([say(200, body)]).await;
    let options = RoomOptions { ttl: Some(Duration::from_mins(1)), name: Some("rover".into()) };
    let room = within("create", api.create_room(&identity(), &options)).await.unwrap();
    let link = room.operator_link(&server.url).unwrap().expose();
    assert_eq!(link, "https://lab.example/r/4d7f5fe9#op", "the broker knows its public address");
    let viewer = room.viewer_link(&server.url).unwrap().expose();
    assert_eq!(viewer, format!("{}r/4d7f5fe9#vi", server.url), "made here where it said nothing");
    let asked = &server.asked()[0];
    assert_eq!(asked.body, r#"{"ttl_seconds":60,"name":"rover"}"#);
    assert!(asked.head.contains(&format!("authorization: Bearer {SECRET}")));
}

#[tokio::test]
async fn a_room_of_the_original_server_is_understood() {
    let (server, api) = server([say(200, r#"{"room_id":"4d7f5fe9","token":"e67be2"}"#)]).await;
    let room = api.create_room(&identity(), &RoomOptions::default()).await.unwrap();
    let link = room.operator_link(&server.url).unwrap().expose();
    assert!(link.ends_with("/r/4d7f5fe9#e67be2"), "{link}");
    assert!(room.viewer_link(&server.url).is_none());
}

#[tokio::test]
async fn the_owners_calls_go_where_they_belong() {
    let room = r#"{"room_id":"ab12","expires_at":9,"peers":[],"state":"open"}"#;
    let (server, api) = server([
        say(200, room),
        say(200, room),
        say(200, r#"{"status":"revoked","token":"new"}"#),
        say(200, r#"{"status":"revoked"}"#),
        say(204, ""),
        say(200, r#"{"ice_servers":[{"urls":["stun:x"]}],"expires_at":5}"#),
    ])
    .await;
    let (me, id) = (identity(), "ab12".parse().unwrap());
    assert_eq!(api.show_room(&me, &id).await.unwrap().extra["state"], "open");
    api.extend_room(&me, &id, Some(Duration::from_secs(5))).await.unwrap();
    let role = WhomToRevoke::Role { role: Access::Viewer };
    assert_eq!(api.revoke(&me, &id, &role).await.unwrap().token.unwrap().expose(), "new");
    let peer = WhomToRevoke::Peer { peer_id: PeerId::new("p").unwrap() };
    api.revoke(&me, &id, &peer).await.unwrap();
    api.delete_room(&me, &id).await.unwrap();
    assert_eq!(api.ice_servers(&me).await.unwrap().ice_servers[0].urls, ["stun:x"]);
    let asked: Vec<_> =
        server.asked().iter().map(|a| format!("{} {} {}", a.method, a.path, a.body)).collect();
    assert_eq!(
        asked,
        [
            "GET /rooms/ab12 ",
            r#"POST /rooms/ab12/extend {"ttl_seconds":5}"#,
            r#"POST /rooms/ab12/revoke {"role":"viewer"}"#,
            r#"POST /rooms/ab12/revoke {"peer_id":"p"}"#,
            "DELETE /rooms/ab12 ",
            "GET /ice-servers ",
        ]
    );
}

#[tokio::test]
async fn a_prefix_of_the_address_is_kept() {
    let server = HttpServer::start([say(200, r#"{"status":"healthy"}"#)]).await;
    let api = Api::new(server.url.join("/lab/halyard/?x=1#y").unwrap()).unwrap();
    api.health().await.unwrap();
    assert_eq!(server.asked()[0].path, "/lab/halyard/health");
}

#[tokio::test]
async fn a_refusal_arrives_as_its_code_and_words() {
    let body = r#"{"code":"ROOM_NOT_FOUND","message":"there is no room ab12"}"#;
    let (_server, api) = server([say(404, body)]).await;
    let error = api.show_room(&identity(), &"ab12".parse().unwrap()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("ROOM_NOT_FOUND", "there is no room ab12")
    );
    assert!(error.is_refusal());
}

#[tokio::test]
async fn a_refusal_in_other_words_still_says_something() {
    let (_server, api) = server([
        say(422, r#"{"detail":[{"msg":"field required"}]}"#),
        say(502, "<html>Bad Gateway</html>"),
        say(400, "{\"message\":\"a\\u001b[31mb\"}"),
    ])
    .await;
    let detail = api.sign_in().await.unwrap_err();
    assert!(detail.to_string().contains("field required"), "{detail}");
    let gateway = api.sign_in().await.unwrap_err();
    assert_eq!((gateway.code(), gateway.is_refusal()), ("HTTP_502", false));
    let escape = api.sign_in().await.unwrap_err();
    assert_eq!(escape.to_string(), "a[31mb", "nobody paints our terminal");
}

#[tokio::test]
async fn what_is_no_answer_says_so() {
    let (_server, api) = server([
        say(200, "<html>hello</html>"),
        say(200, &format!("\"{}\"", "x".repeat(2_000_000))),
        Answer::HangUp,
    ])
    .await;
    let html = api.sign_in().await.unwrap_err();
    assert!(html.to_string().contains("is it a Halyard server?"), "{html}");
    assert!(matches!(api.sign_in().await.unwrap_err(), ApiError::TooLong { .. }));
    assert!(matches!(api.sign_in().await.unwrap_err(), ApiError::Unreachable { .. }));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for_for_ever() {
    let server = HttpServer::start([Answer::Nothing]).await;
    let options = ApiOptions { timeout: Duration::from_millis(100), ..ApiOptions::default() };
    let api = Api::with(server.url.clone(), options).unwrap();
    let error = within("the time-out", api.sign_in()).await.unwrap_err();
    assert!(matches!(error, ApiError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_busy_broker_is_asked_again_when_it_said() {
    let body = r#"{"id_token":"i","username":"u-1","expires_in":3600}"#;
    let answers = [Answer::Later(429, 0), Answer::Later(503, 0), say(200, body)];
    let (server, api) = server(answers).await;
    let identity = within("signed in", api.sign_in()).await.unwrap();
    assert_eq!(identity.username.as_str(), "u-1");
    assert_eq!(server.asked().len(), 3);
    // With everything that belonged to the first try.
    let answers = [Answer::Later(503, 0), say(200, r#"{"room_id":"ab12"}"#)];
    let (server, api) = self::server(answers).await;
    let room = "ab12".parse().unwrap();
    let ttl = Some(Duration::from_mins(1));
    within("extended", api.extend_room(&identity, &room, ttl)).await.unwrap();
    let asked = server.asked();
    assert_eq!((asked.len(), &asked[0].body), (2, &asked[1].body));
    assert!(asked[1].head.contains("authorization: Bearer i"));
}

#[tokio::test]
async fn a_broker_that_asks_for_a_long_wait_is_asked_once_and_the_wait_is_told() {
    for (seconds, told) in [(60, Duration::from_mins(1)), (1_000_000, LONGEST_WAIT)] {
        let (server, api) = server([Answer::Later(503, seconds)]).await;
        let error = within("the refusal", api.sign_in()).await.unwrap_err();
        assert_eq!((error.retry_after(), error.code()), (Some(told), "LIMIT_EXCEEDED"));
        assert_eq!(server.asked().len(), 1);
    }
    // What waiting does not help is not asked again either.
    let (server, api) = server([Answer::Later(403, 0)]).await;
    assert!(within("the refusal", api.sign_in()).await.unwrap_err().is_refusal());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn nobody_there_says_where_and_why() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let api = Api::new(Url::parse(&format!("http://{address}")).unwrap()).unwrap();
    let error = within("the refusal", api.sign_in()).await.unwrap_err();
    let words = error.to_string();
    assert!(words.contains(&address.to_string()) && words.contains("refused"), "{words}");
}

#[test]
fn an_address_that_is_no_servers_is_refused() {
    for address in ["ftp://x/", "mailto:a@b", "file:///etc"] {
        let error = Api::new(Url::parse(address).unwrap()).unwrap_err();
        assert!(error.to_string().contains("http://"), "{error}");
    }
}

#[tokio::test]
async fn no_token_is_in_any_log_or_error() {
    let (log, _guard) = Log::catch();
    let (_server, api) = server([say(401, r#"{"code":"INVALID_IDENTITY","message":"no"}"#)]).await;
    let me = identity();
    let error = api.create_room(&me, &RoomOptions::default()).await.unwrap_err();
    for text in [log.text(), format!("{error:?} {error} {me:?} {api:?}")] {
        assert!(!text.contains("s3cret"), "{text}");
    }
}
