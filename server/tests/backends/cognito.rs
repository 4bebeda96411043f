//! Identities in Cognito, as moto has it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
};
use aws_sdk_cognitoidentityprovider::types::{AuthFlowType, ExplicitAuthFlowsType};
use axum::{Json, Router, http::StatusCode, routing::get};
use base64::{Engine, engine::general_purpose::STANDARD};
use halyard_protocol::token::Token;
use halyard_server::{
    identity::{
        CognitoError, CognitoIdentity, IdentityProvider, Journal, MemoryJournal, SignInError,
        Subject, VerifyError,
    },
    store::{DynamoStore, EmbeddedStore, create_table},
    time::Now,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};

use crate::support::{
    SOON,
    broker::{Broker, Peer},
    moto::{Moto, config_for},
    pool::UserPool,
    proxy::{BROKEN, Fault, Proxy, THROTTLED},
};

#[path = "../../src/identity/journal/contract.rs"]
mod contract;

const HOUR: Duration = Duration::from_hours(1);
/// Longer than a token lives, and than a user is kept after it.
const LATER: Duration = Duration::from_hours(2);

/// Waits until the pool has exactly these users.
async fn wait_for_users(pool: &UserPool, expected: &[&str]) {
    let until = Instant::now() + SOON;
    loop {
        let users = pool.users().await;
        if users == expected {
            return;
        }
        assert!(Instant::now() < until, "expected {expected:?}, there are {users:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_table_of_rooms_is_a_journal_of_users_too() {
    let moto = Moto::start();
    let config = moto.config().await;
    create_table(&config, "rooms").await.expect("a table");
    let store = DynamoStore::open(&config, "rooms").await.expect("a good table");
    contract::a_journal_knows_who_was_made_and_from_when_nobody_needs_them(&store).await;
}

#[tokio::test]
async fn a_user_lives_from_sign_in_until_its_peer_has_left_for_good() {
    let moto = Moto::start();
    let pool = UserPool::make(&moto).await;
    let broker = Broker::start(&pool.flags(), &moto.url, &moto.url);
    let (owner, owner_name) = broker.sign_in(None).await;
    let (guest, guest_name) = broker.sign_in(None).await;
    assert_ne!(owner_name, guest_name);
    let (owner, same) = broker.sign_in(Some(&owner)).await;
    assert_eq!(same, owner_name, "who has a valid token keeps its name");
    let mut both = [owner_name.as_str(), guest_name.as_str()];
    let mut users = pool.users().await;
    both.sort_unstable();
    users.sort_unstable();
    assert_eq!(users, both, "nobody else was made");

    let room = broker.call("POST", "/create-room", Some(&owner)).await;
    let id = room.body["room_id"].as_str().expect("a room").to_owned();
    let token = room.body["token"].as_str().expect("a token").to_owned();
    let (mut worker, answer) = Peer::register(&broker, "worker", &owner, &id, &token).await;
    assert_eq!(answer["type"], "registered_auth", "{answer}");
    let (mut client, answer) = Peer::register(&broker, "client", &guest, &id, &token).await;
    assert_eq!(answer["type"], "registered_auth", "{answer}");

    client.say(&json!({ "type": "leave" })).await;
    wait_for_users(&pool, &[&owner_name]).await;
    // The owner may leave and come back to its room, and goes with it.
    worker.say(&json!({ "type": "leave" })).await;
    let (last, _) = broker.sign_in(None).await;
    let (mut client, answer) = Peer::register(&broker, "client", &last, &id, &token).await;
    assert_eq!(answer["type"], "registered_auth", "{answer}");
    client.say(&json!({ "type": "leave" })).await;
    // Who left after the owner is gone, so the owner was looked at and kept.
    wait_for_users(&pool, &[&owner_name]).await;
    let (_worker, answer) = Peer::register(&broker, "worker", &owner, &id, &token).await;
    assert_eq!(answer["type"], "registered_auth", "{answer}");
    let deleted = broker.call("DELETE", &format!("/rooms/{id}"), Some(&owner)).await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    wait_for_users(&pool, &[]).await;

    let said = broker.program.said();
    for secret in [&owner, &guest, &token] {
        assert!(!said.contains(secret.as_str()), "a secret is in the log");
    }
}

#[tokio::test]
async fn nobody_stays_in_the_pool_although_the_broker_was_killed() {
    let moto = Moto::start();
    let pool = UserPool::make(&moto).await;
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().to_str().expect("a path");
    let flags = [&pool.flags()[..], &["--data-dir", path]].concat();
    let broker = Broker::start(&flags, &moto.url, &moto.url);
    let (_, name) = broker.sign_in(None).await;
    broker.program.kill();
    assert_eq!(pool.users().await, [name]);

    let config = moto.config().await;
    let journal = Arc::new(EmbeddedStore::open(dir.path()).expect("opened"));
    let after = CognitoIdentity::open(&config, &pool.settings(), journal).await.expect("a pool");
    let now = Now::read();
    assert_eq!(after.sweep_users(now, 9).await.expect("swept"), 0, "its token is good");
    assert_eq!(after.sweep_users(now.plus(LATER), 9).await.expect("swept"), 1);
    assert!(pool.users().await.is_empty());
    assert_eq!(after.sweep_users(now.plus(LATER), 9).await.expect("swept"), 0);
}

#[tokio::test]
async fn who_renews_in_time_is_the_same_user_for_as_long_as_the_newest_token() {
    let moto = Moto::start();
    let pool = UserPool::make(&moto).await;
    let journal = Arc::new(MemoryJournal::default());
    let config = moto.config().await;
    let provider = CognitoIdentity::open(&config, &pool.settings(), journal).await.expect("a pool");
    let now = Now::read();
    let first = provider.sign_in(None, now).await.expect("signed in");
    // At half of the token's life, as workers do.
    let half = now.plus(first.expires_in / 2);
    let who = provider.verify(&first.id_token, half).await.expect("it is good");
    let second = provider.sign_in(Some(who), half).await.expect("renewed");
    assert_eq!(second.subject, first.subject);
    // The first token is long over, and its user is not.
    let over = now.plus(first.expires_in + Duration::from_mins(20));
    assert_eq!(provider.verify(&first.id_token, over).await, Err(VerifyError::Expired));
    assert_eq!(provider.sweep_users(over, 9).await.expect("swept"), 0);
    assert_eq!(pool.users().await, [first.subject.as_str()]);
    assert_eq!(provider.sweep_users(half.plus(LATER), 9).await.expect("swept"), 1);
    assert!(pool.users().await.is_empty());
}

#[tokio::test]
async fn a_sign_in_that_ends_half_way_leaves_a_user_that_is_swept() {
    let moto = Moto::start();
    let pool = UserPool::make(&moto).await;
    let proxy = Proxy::start(moto.addr()).await;
    let journal = Arc::new(MemoryJournal::default());
    let config = config_for(&proxy.url).await;
    let provider = CognitoIdentity::open(&config, &pool.settings(), journal.clone()).await;
    let provider = provider.expect("a pool");
    let now = Now::read();
    // Made, and then nothing more is heard of the pool.
    proxy.set(Fault::HangAt("AdminSetUserPassword"));
    let refused = provider.sign_in(None, now).await.expect_err("it hangs");
    assert!(matches!(refused, SignInError::Unavailable { .. }), "{refused}");
    assert_eq!(pool.users().await.len(), 1);
    proxy.set(Fault::None);
    assert_eq!(provider.sweep_users(now, 9).await.expect("swept"), 0, "it may be under way");
    assert_eq!(provider.sweep_users(now.plus(HOUR), 9).await.expect("swept"), 1);
    assert!(pool.users().await.is_empty());
    assert!(journal.due(u64::MAX, 9).await.expect("asked").is_empty());
}

#[tokio::test]
async fn an_answer_that_was_lost_makes_no_second_user() {
    let moto = Moto::start();
    let pool = UserPool::make(&moto).await;
    let proxy = Proxy::start(moto.addr()).await;
    let config = config_for(&proxy.url).await;
    let journal = Arc::new(MemoryJournal::default());
    let provider = CognitoIdentity::open(&config, &pool.settings(), journal).await.expect("a pool");
    for lost in ["AdminCreateUser", "AdminSetUserPassword", "AdminInitiateAuth"] {
        proxy.set(Fault::LoseNext(lost));
        let signed = provider.sign_in(None, Now::read()).await.expect(lost);
        assert_eq!(pool.users().await, [signed.subject.as_str()]);
        proxy.set(Fault::LoseNext("AdminDeleteUser"));
        provider.delete_user(&signed.subject).await.expect("deleted");
        provider.delete_user(&signed.subject).await.expect("once more is no error");
        assert!(pool.users().await.is_empty());
    }
}

#[tokio::test]
async fn users_that_the_broker_did_not_make_are_left_alone() {
    let moto = Moto::start();
    let pool = UserPool::make(&moto).await;
    let (cognito, id) = (&pool.cognito, &pool.id);
    let create = cognito.admin_create_user().user_pool_id(id).username("ann@lab.example");
    create.send().await.expect("made");
    let set = cognito.admin_set_user_password().user_pool_id(id).username("ann@lab.example");
    set.password("Her-own-1").permanent(true).send().await.expect("set");
    let sign_in = || async {
        let auth = cognito.admin_initiate_auth().user_pool_id(id).client_id(&pool.app_client);
        let auth = auth.auth_flow(AuthFlowType::AdminUserPasswordAuth);
        let auth = auth.auth_parameters("USERNAME", "ann@lab.example");
        let answer = auth.auth_parameters("PASSWORD", "Her-own-1").send().await.expect("signed in");
        let result = answer.authentication_result.expect("no challenge");
        (result.id_token.expect("a token"), result.access_token.expect("a token"))
    };
    let (hers, access) = sign_in().await;
    let journal = Arc::new(MemoryJournal::default());
    let config = moto.config().await;
    let provider = CognitoIdentity::open(&config, &pool.settings(), journal).await.expect("a pool");
    let now = Now::read();
    let ann = provider.verify(&Token::new(hers), now).await.expect("a user of the pool");
    assert_eq!(ann.as_str(), "ann@lab.example");
    // Her access token is signed with the same key and is for something else.
    let refused = provider.verify(&Token::new(access), now).await.expect_err("no ID token");
    assert!(matches!(refused, VerifyError::Claim(_) | VerifyError::Malformed), "{refused}");
    let signed = provider.sign_in(Some(ann.clone()), now).await.expect("somebody new");
    assert_ne!(signed.subject, ann);
    provider.delete_user(&ann).await.expect("nothing to do");
    assert!(pool.users().await.contains(&"ann@lab.example".to_owned()));
    // Her password is what it was.
    sign_in().await;
}

#[tokio::test]
async fn a_pool_or_a_client_that_does_not_fit_is_named_at_the_start() {
    let moto = Moto::start();
    let config = moto.config().await;
    let fit = [ExplicitAuthFlowsType::AllowAdminUserPasswordAuth];
    let srp = [ExplicitAuthFlowsType::AllowUserSrpAuth];
    let refusal = async |pool: UserPool| {
        let journal = Arc::new(MemoryJournal::default());
        let opened = CognitoIdentity::open(&config, &pool.settings(), journal).await;
        opened.map(|_| ()).expect_err("unfit").to_string()
    };
    let anybody = refusal(UserPool::with(&moto, false, false, &fit).await).await;
    assert!(anybody.contains("AllowAdminCreateUserOnly"), "{anybody}");
    let secret = refusal(UserPool::with(&moto, true, true, &fit).await).await;
    assert!(secret.contains("GenerateSecret false"), "{secret}");
    let flow = refusal(UserPool::with(&moto, true, false, &srp).await).await;
    assert!(flow.contains("ALLOW_ADMIN_USER_PASSWORD_AUTH"), "{flow}");
    let mut absent = UserPool::make(&moto).await;
    absent.id = "eu-central-1_nowhere".into();
    let absent = refusal(absent).await;
    assert!(absent.contains("eu-central-1_nowhere") && absent.contains("AWS_REGION"), "{absent}");

    let mut settings = UserPool::make(&moto).await.settings();
    settings.jwks_url = Some("http://keys.example/jwks.json".parse().expect("an address"));
    let journal = Arc::new(MemoryJournal::default());
    let unsafe_keys = CognitoIdentity::open(&config, &settings, journal).await.map(|_| ());
    assert!(matches!(unsafe_keys, Err(CognitoError::Keys(_))), "{unsafe_keys:?}");
}

/// Serves keys, or fails to.
struct KeyServer {
    url: String,
    keys: Arc<Mutex<Option<Vec<Jwk>>>>,
    asked: Arc<AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl KeyServer {
    async fn start(keys: Vec<Jwk>) -> Self {
        let keys = Arc::new(Mutex::new(Some(keys)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (served, counted) = (Arc::clone(&keys), Arc::clone(&asked));
        let answer = move || async move {
            counted.fetch_add(1, Ordering::SeqCst);
            let keys = served.lock().expect("no panic").clone();
            keys.map(|keys| Json(json!({ "keys": keys }))).ok_or(StatusCode::BAD_GATEWAY)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/keys", listener.local_addr().expect("bound"));
        let routes = Router::new().route("/keys", get(answer));
        let serving = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("it serves until it is dropped");
        });
        Self { url, keys, asked, serving }
    }

    fn serve(&self, keys: Option<Vec<Jwk>>) {
        *self.keys.lock().expect("no panic") = keys;
    }
}

/// A signing key by this name, and its public half.
fn key(kid: &str) -> (EncodingKey, Jwk) {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("a pair");
    let der = STANDARD.encode(pair.as_der().expect("a key").as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    let signing = EncodingKey::from_rsa_pem(pem.as_bytes()).expect("a key");
    let mut jwk = Jwk::from_encoding_key(&signing, Algorithm::RS256).expect("public");
    jwk.common.key_id = Some(kid.to_owned());
    (signing, jwk)
}

#[tokio::test]
async fn keys_are_rotated_under_the_broker_and_an_outage_of_them_stops_nobody() {
    let moto = Moto::start();
    let pool = UserPool::make(&moto).await;
    let (old, old_public) = key("old");
    let (new, new_public) = key("new");
    let server = KeyServer::start(vec![old_public.clone()]).await;
    let mut settings = pool.settings();
    settings.jwks_url = Some(server.url.parse().expect("an address"));
    let config = moto.config().await;
    let journal = Arc::new(MemoryJournal::default());
    let provider = CognitoIdentity::open(&config, &settings, journal).await.expect("a pool");
    let token = |kid: &str, signing: &EncodingKey| {
        let now = Now::read().unix();
        let issuer = format!("https://cognito-idp.eu-central-1.amazonaws.com/{}", pool.id);
        let claims = json!({ "iss": issuer, "aud": pool.app_client, "sub": "s", "token_use": "id",
            "cognito:username": "ann", "iat": now, "exp": now + 3600 });
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(kid.to_owned());
        Token::new(encode(&header, &claims, signing).expect("signed"))
    };
    let (by_old, by_new) = (token("old", &old), token("new", &new));
    let verify = |token: Token| {
        let provider = &provider;
        async move { provider.verify(&token, Now::read()).await }
    };
    let ann = Ok(Subject::new("ann"));
    assert_eq!(verify(by_old.clone()).await, ann);
    assert_eq!(verify(by_new.clone()).await, Err(VerifyError::Signature));
    // Who signs with another key under a good name is not believed, however often.
    assert_eq!(verify(token("old", &new)).await, Err(VerifyError::Signature));
    for number in 0..200 {
        assert!(verify(token(&format!("made-up-{number}"), &new)).await.is_err());
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 1, "made-up names ask for nothing");

    server.serve(Some(vec![new_public, old_public]));
    let until = Instant::now() + SOON;
    while verify(by_new.clone()).await != ann {
        assert!(Instant::now() < until, "the new key is never believed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(verify(by_old.clone()).await, ann, "who signed in before stays signed in");
    server.serve(None);
    assert_eq!(verify(by_new).await, ann);
    assert_eq!(verify(by_old).await, ann);
    // Of a name that nobody knows it is said at first that it is wrong, and after a while, when
    // the keys could not be asked for, that nobody can say.
    let stranger = token("another", &new);
    loop {
        match verify(stranger.clone()).await {
            Err(VerifyError::Unavailable { retry_after }) => {
                assert!(retry_after <= Duration::from_secs(10));
                break;
            }
            Err(VerifyError::Signature) if Instant::now() < until + SOON => {}
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_aws_is_said_in_time_lets_nobody_in_and_passes() {
    let moto = Moto::start();
    let pool = UserPool::make(&moto).await;
    create_table(&moto.config().await, "rooms").await.expect("a table");
    let cognito = Proxy::start(moto.addr()).await;
    let dynamodb = Proxy::start(moto.addr()).await;
    let flags = [&pool.flags()[..], &["--store", "dynamodb"]].concat();
    let broker = Broker::start(&flags, &dynamodb.url, &cognito.url);
    let (ann, _) = broker.sign_in(None).await;
    let room = broker.call("POST", "/create-room", Some(&ann)).await;
    let id = room.body["room_id"].as_str().expect("a room").to_owned();
    let token = room.body["token"].as_str().expect("a token").to_owned();
    let (bob, _) = broker.sign_in(None).await;
    let unavailable = |call: &str, answer: crate::support::broker::Answer, asked: Instant| {
        assert_eq!(answer.status, 503, "{call}: {answer:?}");
        assert_eq!(answer.body["code"], "UNAVAILABLE", "{call}");
        assert!(matches!(answer.retry_after, Some(1..=30)), "{call}: {answer:?}");
        assert!(asked.elapsed() < Duration::from_secs(20), "{call}: {:?}", asked.elapsed());
    };
    for fault in [BROKEN, THROTTLED, Fault::Close, Fault::Hang] {
        eprintln!("{fault:?}");
        cognito.set(fault);
        let asked = Instant::now();
        unavailable("sign-in", broker.call("POST", "/anonymous-signin", None).await, asked);
        unavailable("renewal", broker.call("POST", "/anonymous-signin", Some(&ann)).await, asked);
        // Who has an identity needs Cognito no more.
        let second = broker.call("POST", "/create-room", Some(&ann)).await;
        assert_eq!(second.status, 200, "{second:?}");
        let second = second.body["room_id"].as_str().expect("a room").to_owned();
        let gone = broker.call("DELETE", &format!("/rooms/{second}"), Some(&ann)).await;
        assert_eq!(gone.status, 200, "{gone:?}");
        let (_bob, answer) = Peer::register(&broker, "bob", &bob, &id, &token).await;
        assert_eq!(answer["type"], "registered_auth", "{answer}");
        cognito.set(Fault::None);

        dynamodb.set(fault);
        let asked = Instant::now();
        let (creating, registering, signing_in) = tokio::join!(
            broker.call("POST", "/create-room", Some(&ann)),
            Peer::register(&broker, "eve", &bob, &id, &token),
            broker.call("POST", "/anonymous-signin", None),
        );
        unavailable("create-room", creating, asked);
        unavailable("sign-in without a journal", signing_in, asked);
        let (mut eve, refused) = registering;
        assert_eq!(refused["type"], "error", "{refused}");
        assert_eq!(refused["code"], "UNAVAILABLE", "{refused}");
        assert!(refused["retry_after"].as_u64().is_some_and(|wait| wait <= 30), "{refused}");
        // Who was refused is not in.
        eve.say(&json!({ "type": "discover_peers" })).await;
        assert_eq!(eve.hear().await["code"], "NOT_IN_ROOM");
        dynamodb.set(Fault::None);
        back(&broker, &ann).await;
        let peers = broker.call("GET", &format!("/rooms/{id}"), Some(&ann)).await;
        let peers = peers.body["peers"].as_array().expect("a list").clone();
        assert!(!peers.iter().any(|peer: &Value| peer["peer_id"] == "eve"), "{peers:?}");
    }
    // Nothing that was acknowledged is lost, and nothing that was refused was done.
    let rooms = broker.call("GET", "/rooms", Some(&ann)).await;
    let rooms: Vec<_> = rooms.body["rooms"].as_array().expect("a list").iter().collect();
    assert!(rooms.iter().any(|room| room["room_id"] == *id), "{rooms:?}");
}

/// Waits as long as each refusal says until sign-ins and rooms work again.
async fn back(broker: &Broker, ann: &str) {
    let until = Instant::now() + SOON * 2;
    for (method, path, token) in [("POST", "/anonymous-signin", None), ("GET", "/rooms", Some(ann))]
    {
        loop {
            let answer = broker.call(method, path, token).await;
            if answer.status == 200 {
                break;
            }
            assert!(Instant::now() < until, "{path} never comes back: {answer:?}");
            let wait = answer.retry_after.expect("when to try again");
            tokio::time::sleep(Duration::from_secs(wait)).await;
        }
    }
}
