//! Every message of ours pinned to its literal text, both ways.
//!
//! The texts are in `test_files/wire/{channel,client,server}.jsonl`, one `{"name","text"}` a line, so
//! that ends in other languages can be tested against the same ones. A message that changes its text
//! breaks existing ends: change a line only together with a decision about them.

use std::collections::BTreeMap;

use halyard_protocol::{
    PROTOCOL_VERSION,
    access::{Access, PeerRole},
    channel::{
        Ack, ActionSpec, Bye, Changed, Command, Drive, DriveLimits, Entry, EntryKind, Estop,
        EstopAction, FileDelete, FileDeleted, FileEntries, FileError, FileErrorCode, FileGet,
        FileGlob, FileList, FileStat, FileUnpack, FileUnpacked, FilesInfo, FolderOffer, Hello,
        JobAccepted, JobEnd, JobEntries, JobErrorCode, JobEvent, JobEventPage, JobEventsFrom,
        JobHappened, JobInfo, JobList, JobProblem, JobRejected, JobState, JobStep, JobStream,
        JobSubmit, JobTemplateInfo, JobUnreadable, LeaseRequest, LeaseState, Listen, Message,
        Notice, Severity, Stats, Talk, TelemetryField, TelemetrySchema, TransferAccept,
        TransferCancel, TransferDone, TransferEnd, TransferOffer, TransferProgress, TransferRefuse,
        VideoInfo, Watch,
    },
    ids::{PeerId, RoomId},
    signal::{
        Candidate, ClientMessage, ErrorCode, Filters, Grant, IceServer, LeftReason, Metadata,
        PeerInfo, Register, Registered, ServerError, ServerMessage,
    },
    token::Token,
};
use serde_json::{Value, json};

const HASH: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

fn peer(text: &str) -> PeerId {
    PeerId::new(text).expect("a good name")
}

fn room() -> RoomId {
    RoomId::new("4d7f5fe9").expect("a good name")
}

fn object(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

/// A new message has to be named here, and then pinned below.
fn channel_name(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) => "hello",
        Message::Command(_) => "command",
        Message::Ack(ack) if ack.ok => "ack_done",
        Message::Ack(_) => "ack_failed",
        Message::LeaseRequest(LeaseRequest::Request) => "lease_request",
        Message::LeaseRequest(LeaseRequest::Release) => "lease_release",
        Message::LeaseRequest(LeaseRequest::Take) => "lease_take",
        Message::LeaseState(state) if state.holder.is_some() => "lease_held",
        Message::LeaseState(_) => "lease_free",
        Message::Estop(Estop::Ask { action: EstopAction::Press }) => "estop_press",
        Message::Estop(Estop::Ask { action: EstopAction::Clear }) => "estop_clear",
        Message::Estop(Estop::State { .. }) => "estop_state",
        Message::Drive(_) => "drive",
        Message::Telemetry(_) => "telemetry",
        Message::TelemetrySchema(_) => "telemetry_schema",
        Message::Changed(_) => "changed",
        Message::Notice(notice) if notice.track.is_some() => "notice_of_a_track",
        Message::Notice(_) => "notice",
        Message::Watch(_) => "watch",
        Message::Listen(_) => "listen",
        Message::Talk(Talk::Ask { .. }) => "talk_ask",
        Message::Talk(Talk::State { .. }) => "talk_state",
        Message::Stats(_) => "stats",
        Message::Bye(_) => "bye",
        Message::FileList(_) => "file_list",
        Message::FileEntries(_) => "file_entries",
        Message::FileGet(get) if get.folder => "file_get_folder",
        Message::FileGet(_) => "file_get",
        Message::FileStat(_) => "file_stat",
        Message::FileGlob(_) => "file_glob",
        Message::FileDelete(delete) if delete.recursive => "file_delete_folder",
        Message::FileDelete(_) => "file_delete",
        Message::FileDeleted(_) => "file_deleted",
        Message::FileUnpack(_) => "file_unpack",
        Message::FileUnpacked(_) => "file_unpacked",
        Message::FileError(_) => "file_error",
        Message::TransferOffer(offer) if offer.request.is_some() => "transfer_offer_answer",
        Message::TransferOffer(offer) if offer.folder.is_some() => "transfer_offer_folder",
        Message::TransferOffer(_) => "transfer_offer",
        Message::TransferAccept(accept) if accept.prefix.is_some() => "transfer_accept_resume",
        Message::TransferAccept(_) => "transfer_accept",
        Message::TransferProgress(_) => "transfer_progress",
        Message::TransferEnd(_) => "transfer_end",
        Message::TransferDone(_) => "transfer_done",
        Message::TransferRefuse(_) => "transfer_refuse",
        Message::TransferCancel(_) => "transfer_cancel",
        Message::JobSubmit(_) => "job_submit",
        Message::JobAccepted(_) => "job_accepted",
        Message::JobRejected(_) => "job_rejected",
        Message::JobList(_) => "job_list",
        Message::JobEntries(_) => "job_entries",
        Message::JobEventsFrom(_) => "job_events",
        Message::JobEventPage(_) => "job_event",
        Message::JobStop(_) => "job_stop",
        Message::JobCancel(_) => "job_cancel",
        Message::Unknown { .. } => "unknown",
    }
}

fn job_messages() -> Vec<Message> {
    let events = [
        JobHappened::State { state: JobState::Queued, reason: None, exit_code: None },
        JobHappened::Line {
            stream: JobStream::Stderr,
            text: "epoch 1".into(),
            progress: true,
            to: 8,
        },
        JobHappened::Progress { report: r#"{"event":"epoch_end","logs":{"loss":NaN}}"#.into() },
        JobHappened::Note { code: "silent".into(), message: "no report for 60 s".into() },
        JobHappened::Result { path: "jobs/1a2b/best.ckpt".into(), size: 12 },
        JobHappened::State {
            state: JobState::Failed,
            reason: Some("it ended with code 3".into()),
            exit_code: Some(3),
        },
    ];
    let events = (1..).zip(events).map(|(n, what)| JobEvent { n, at_ms: 1_763_000_000_123, what });
    vec![
        Message::JobSubmit(JobSubmit {
            id: "s1".into(),
            steps: vec![JobStep {
                template: "train".into(),
                values: BTreeMap::from([("epochs".to_owned(), json!(5))]),
            }],
        }),
        Message::JobAccepted(JobAccepted { id: "s1".into(), jobs: vec!["1a2b".into()] }),
        Message::JobRejected(JobRejected {
            id: "s1".into(),
            errors: vec![JobProblem {
                field: "steps[0].epochs".into(),
                code: JobErrorCode::BadValue,
                message: "accepted is a whole number from 1 to 1000".into(),
            }],
        }),
        Message::JobList(JobList { id: "l1".into(), offset: 0 }),
        Message::JobEntries(JobEntries {
            id: "l1".into(),
            jobs: vec![JobInfo {
                job: "1a2b".into(),
                template: "train".into(),
                state: JobState::Running,
                by: peer("alice"),
                created_ms: 1_763_000_000_123,
                started_ms: Some(1_763_000_000_456),
                ended_ms: None,
                reason: None,
                after: None,
                folder: "jobs/1a2b".into(),
                events: 7,
                epoch: Some(3),
                epochs: Some(20),
                gpus: vec!["0".into()],
            }],
            total: 1,
            templates: vec![JobTemplateInfo {
                name: "train".into(),
                help: "Trains a model".into(),
                values: BTreeMap::from([("epochs".into(), "a whole number".into())]),
            }],
            unreadable: vec![JobUnreadable {
                job: "5e6f".into(),
                reason: "its folder in jobs_dir cannot be read".into(),
            }],
        }),
        Message::JobEventsFrom(JobEventsFrom { id: "e1".into(), job: "1a2b".into(), from: 1 }),
        Message::JobEventPage(JobEventPage {
            id: "e1".into(),
            job: "1a2b".into(),
            events: events.collect(),
            next: 7,
            over: true,
        }),
        Message::JobStop(JobEnd { id: "x1".into(), job: "1a2b".into() }),
        Message::JobCancel(JobEnd { id: "x2".into(), job: "1a2b".into() }),
    ]
}

fn channel_messages() -> Vec<Message> {
    let offer = TransferOffer {
        transfer: 7,
        name: "logs/run 测试.txt".into(),
        size: 5_000_000_000,
        modified_ms: Some(1_763_000_000_123),
        request: None,
        folder: None,
    };
    let folder = TransferOffer {
        name: "packages/flies".into(),
        modified_ms: None,
        folder: Some(FolderOffer { entries: 12, skipped: 1, replace: true }),
        ..offer.clone()
    };
    let answer =
        TransferOffer { request: Some("get-1".into()), modified_ms: None, ..offer.clone() };
    vec![
        Message::Hello(Box::new(Hello {
            protocol: PROTOCOL_VERSION,
            agent: "halyard-worker/0.1.0".into(),
            peer_id: peer("rover-1"),
            your_access: Some(Access::Operator),
            capabilities: vec!["drive".into(), "files".into(), "telemetry".into()],
            video: vec![VideoInfo {
                name: "sim".into(),
                codec: "h264".into(),
                width: 1280,
                height: 720,
                fps: 30.0,
                strip: true,
                renditions: vec!["720p30".into(), "360p15".into()],
            }],
            commands: vec![ActionSpec {
                name: "home".into(),
                help: "back to the start".into(),
                access: Access::Operator,
            }],
            drive: Some(DriveLimits {
                max_linear: 1.5,
                max_angular: 2.0,
                watchdog_ms: 500,
                max_reverse: Some(0.8),
                max_age_ms: Some(500),
                max_picture_age_ms: Some(300),
            }),
            files: Some(FilesInfo { readable: true, writable: true, folders: true, hint: None }),
        })),
        Message::Command(Command {
            id: "c-1".into(),
            name: "goto".into(),
            args: json!({"x": 1.5, "y": -2}),
            deadline_ms: Some(2000),
            echo: Some(61_250),
        }),
        Message::Ack(Ack::done("c-1", json!({"arrived": true}))),
        Message::Ack(Ack::failed("c-1", "stopped", "the e-stop is latched: clear it first")),
        Message::LeaseRequest(LeaseRequest::Request),
        Message::LeaseRequest(LeaseRequest::Release),
        Message::LeaseRequest(LeaseRequest::Take),
        Message::LeaseState(LeaseState { holder: Some(peer("alice")), number: 3, you: true }),
        Message::LeaseState(LeaseState { holder: None, number: 4, you: false }),
        Message::Estop(Estop::Ask { action: EstopAction::Press }),
        Message::Estop(Estop::Ask { action: EstopAction::Clear }),
        Message::Estop(Estop::State { latched: true, by: Some(peer("alice")) }),
        Message::Drive(Drive {
            lease: 3,
            seq: 41,
            linear: 0.5,
            angular: -0.25,
            held: true,
            echo: Some(61_300),
            picture_ms: Some(85),
        }),
        Message::Telemetry(json!({
            "seq": 9,
            "time_ms": 1_763_000_000_123_u64,
            "pose": {"x": 1.25, "y": -0.5, "heading": 0.75},
            "speed": 0.5,
            "angular_speed": 0.0,
            "battery": 0.875,
            "goal": {"x": 4.0, "y": 2.0},
            "distance_to_goal": 3.71,
            "estop": false,
            "driver": "alice",
            "stamp": 61_350,
            "stopped": null,
        })),
        Message::TelemetrySchema(TelemetrySchema {
            fields: vec![
                TelemetryField {
                    name: "speed".into(),
                    unit: Some("m/s".into()),
                    help: "forwards".into(),
                    reliable: false,
                },
                TelemetryField {
                    name: "estop".into(),
                    unit: None,
                    help: "whether the emergency stop is latched".into(),
                    reliable: true,
                },
            ],
        }),
        Message::Changed(Changed {
            stamp: 61_400,
            values: [("estop".to_owned(), json!(true)), ("stopped".to_owned(), json!("estop"))]
                .into(),
        }),
        Message::Notice(Notice::new(
            Severity::Warning,
            "watchdog",
            "no command for 0.5 s: stopped",
        )),
        Message::Notice(Notice {
            track: Some("rear".into()),
            ..Notice::new(Severity::Info, "source_back", "rear: the picture is back")
        }),
        Message::Watch(Watch { tracks: vec![Some("front".into()), None] }),
        Message::Listen(Listen { on: false }),
        Message::Talk(Talk::Ask { on: true }),
        Message::Talk(Talk::State { talker: Some(peer("alice")), you: false }),
        Message::Stats(Stats {
            estimate: 2_100_000,
            delivered: Some(1_790_000),
            target: Some(1_848_000),
            rendition: Some("720p30".into()),
            scale: Some(0.75),
            loss: Some(0.03125),
            round_trip_ms: Some(108.5),
            queue_ms: Some(4.25),
            repaired: 71,
        }),
        Message::Bye(Bye { reason: "the worker is being stopped".into() }),
        Message::FileList(FileList { id: "list-1".into(), path: "logs".into(), offset: 100 }),
        Message::FileEntries(FileEntries {
            id: "list-1".into(),
            path: "logs".into(),
            entries: vec![
                Entry {
                    name: "old".into(),
                    kind: EntryKind::Directory,
                    size: 0,
                    modified_ms: 1_763_000_000_000,
                },
                Entry {
                    name: "run.txt".into(),
                    kind: EntryKind::File,
                    size: 1234,
                    modified_ms: 1_763_000_000_123,
                },
            ],
            total: 102,
            more: false,
        }),
        Message::FileGet(FileGet {
            id: "get-1".into(),
            path: "logs/run.txt".into(),
            folder: false,
        }),
        Message::FileGet(FileGet { id: "get-2".into(), path: "logs".into(), folder: true }),
        Message::FileStat(FileStat { id: "stat-1".into(), path: "logs/run.txt".into() }),
        Message::FileGlob(FileGlob {
            id: "glob-1".into(),
            pattern: "models/**/*.ckpt".into(),
            offset: 100,
        }),
        Message::FileDelete(FileDelete {
            id: "delete-1".into(),
            path: "logs/run.txt".into(),
            recursive: false,
        }),
        Message::FileDelete(FileDelete {
            id: "delete-2".into(),
            path: "logs".into(),
            recursive: true,
        }),
        Message::FileDeleted(FileDeleted { id: "delete-2".into(), path: "logs".into() }),
        Message::FileUnpack(FileUnpack {
            id: "unpack-1".into(),
            path: "packages/flies.zip".into(),
            into: "packages/flies".into(),
            replace: true,
        }),
        Message::FileUnpacked(FileUnpacked {
            id: "unpack-1".into(),
            into: "packages/flies".into(),
            files: 12,
            bytes: 5_000_000_000,
        }),
        Message::FileError(FileError {
            id: "get-1".into(),
            code: FileErrorCode::NotFound,
            message: "cannot read \"logs/run.txt\": it does not exist".into(),
        }),
        Message::TransferOffer(offer),
        Message::TransferOffer(answer),
        Message::TransferOffer(folder),
        Message::TransferAccept(TransferAccept { transfer: 7, offset: 0, prefix: None }),
        Message::TransferAccept(TransferAccept {
            transfer: 7,
            offset: 8_388_608,
            prefix: Some(HASH.into()),
        }),
        Message::TransferProgress(TransferProgress { transfer: 7, durable: 16_777_216 }),
        Message::TransferEnd(TransferEnd { transfer: 7, blake3: HASH.into() }),
        Message::TransferDone(TransferDone { transfer: 7 }),
        Message::TransferRefuse(TransferRefuse {
            transfer: 7,
            code: FileErrorCode::HashMismatch,
            message: "send the file again".into(),
        }),
        Message::TransferCancel(TransferCancel {
            transfer: 7,
            code: FileErrorCode::Cancelled,
            message: "the transfer was called off".into(),
        }),
        Message::Unknown { prefix: "JOB_ACCEPTED".into(), payload: "job_ab12cd34".into() },
    ]
}

fn metadata() -> Metadata {
    Metadata {
        tags: Some(vec!["rover".into()]),
        properties: Some(object(json!({"status": "available", "gpu_memory_mb": 8000}))),
        extra: serde_json::Map::new(),
    }
}

fn candidate() -> Candidate {
    Candidate {
        candidate: "candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host".into(),
        sdp_mid: Some("0".into()),
        sdp_m_line_index: Some(0),
        username_fragment: None,
    }
}

fn grant() -> Grant {
    let kept = [7; 32];
    Grant::new(Access::Operator, Some(&kept), "3f0e6f1c-1f1f-4d0e-9a3b-5d4b7a1c2e00")
        .expect("short enough")
}

fn owner() -> Grant {
    Grant::new(Access::Admin, None, "8d2a4f90-0c55-4c57-8a19-2f6f0e9b1a77").expect("short enough")
}

fn client_name(message: &ClientMessage) -> &'static str {
    match message {
        ClientMessage::Register(register) if register.resume_token.is_some() => "register_resume",
        ClientMessage::Register(_) => "register",
        ClientMessage::Offer { .. } => "offer",
        ClientMessage::Answer { .. } => "answer",
        ClientMessage::Candidate { .. } => "candidate",
        ClientMessage::DiscoverPeers { .. } => "discover_peers",
        ClientMessage::UpdateMetadata { .. } => "update_metadata",
        ClientMessage::PeerMessage { .. } => "peer_message",
        ClientMessage::OfferRefused { .. } => "offer_refused",
        ClientMessage::ConfirmRights { .. } => "confirm_rights",
        ClientMessage::Ping => "ping",
        ClientMessage::Pong => "pong",
        ClientMessage::Leave => "leave",
    }
}

fn client_messages() -> Vec<ClientMessage> {
    let register = Register {
        peer_id: peer("rover-1"),
        room_id: room(),
        token: Some(Token::new("room-token")),
        id_token: Some(Token::new("identity-token")),
        role: PeerRole::Worker,
        metadata: metadata(),
        is_admin: true,
        resume_token: None,
    };
    let resume = Register {
        resume_token: Some(Token::new("resume-token")),
        token: None,
        role: PeerRole::Client,
        metadata: Metadata::default(),
        is_admin: false,
        ..register.clone()
    };
    vec![
        ClientMessage::Register(register),
        ClientMessage::Register(resume),
        ClientMessage::Offer { target: peer("rover-1"), sdp: "v=0\r\n".into() },
        ClientMessage::Answer { target: peer("alice"), sdp: "v=0\r\n".into() },
        ClientMessage::Candidate { target: peer("alice"), candidate: candidate() },
        ClientMessage::DiscoverPeers {
            filters: Filters {
                role: Some("worker".into()),
                tags: Some(vec!["rover".into()]),
                properties: Some(object(json!({"gpu_memory_mb": {"$gte": 8000}}))),
            },
        },
        ClientMessage::UpdateMetadata { metadata: metadata() },
        ClientMessage::PeerMessage {
            to_peer_id: peer("rover-1"),
            payload: json!({"app_message_type": "job_request"}),
        },
        ClientMessage::OfferRefused {
            target: peer("alice"),
            reason: "worker_busy".into(),
            message: "64 peers are served already".into(),
            current_status: "busy".into(),
        },
        ClientMessage::ConfirmRights { seq: 7, grants: vec![grant(), owner()] },
        ClientMessage::Ping,
        ClientMessage::Pong,
        ClientMessage::Leave,
    ]
}

fn server_name(message: &ServerMessage) -> &'static str {
    match message {
        ServerMessage::RegisteredAuth(_) => "registered_auth",
        ServerMessage::AdminConflict { .. } => "admin_conflict",
        ServerMessage::Offer { .. } => "offer",
        ServerMessage::Answer { .. } => "answer",
        ServerMessage::Candidate { .. } => "candidate",
        ServerMessage::PeerJoined(_) => "peer_joined",
        ServerMessage::PeerLeft { reason: None, .. } => "peer_left",
        ServerMessage::PeerLeft { .. } => "peer_left_revoked",
        ServerMessage::RightsChanged {} => "rights_changed",
        ServerMessage::RightsConfirmed { .. } => "rights_confirmed",
        ServerMessage::IceServers { .. } => "ice_servers",
        ServerMessage::PeerList { .. } => "peer_list",
        ServerMessage::MetadataUpdated { .. } => "metadata_updated",
        ServerMessage::PeerMessage { .. } => "peer_message",
        ServerMessage::RoomClosed { .. } => "room_closed",
        ServerMessage::Draining { reconnect_to: None } => "draining",
        ServerMessage::Draining { .. } => "draining_to_another",
        ServerMessage::Ping => "ping",
        ServerMessage::Pong => "pong",
        ServerMessage::Error(error) if error.target.is_some() => "error_about_a_peer",
        ServerMessage::Error(_) => "error",
        ServerMessage::Unknown => "unknown",
    }
}

fn server_messages() -> Vec<ServerMessage> {
    let info = PeerInfo {
        peer_id: peer("rover-1"),
        role: PeerRole::Worker,
        access: Access::Admin,
        metadata: metadata(),
        connected_at: 1_763_000_000.5,
        grant: Some(owner()),
    };
    let stun = IceServer {
        urls: vec!["stun:stun.example.net:3478".into()],
        username: None,
        credential: None,
    };
    let turn = IceServer {
        urls: vec!["turn:turn.example.net:3478?transport=udp".into()],
        username: Some("1763000000:alice".into()),
        credential: Some(Token::new("turn-password")),
    };
    vec![
        ServerMessage::RegisteredAuth(Box::new(Registered {
            room_id: room(),
            token: Some(Token::new("room-token")),
            peer_id: peer("alice"),
            admin_peer_id: Some(peer("rover-1")),
            peer_list: vec![peer("rover-1")],
            peer_metadata: BTreeMap::from([(peer("rover-1"), metadata())]),
            ice_servers: vec![stun.clone(), turn.clone()],
            mesh_ice_servers: vec![stun.clone()],
            role: Some(Access::Operator),
            peers: vec![info.clone()],
            resume_token: Some(Token::new("resume-token")),
            resumed: false,
            expires_at: Some(1_763_007_200),
            protocol: PROTOCOL_VERSION,
        })),
        ServerMessage::AdminConflict { room_id: room(), current_admin: peer("rover-1") },
        ServerMessage::Offer { sender: peer("alice"), sdp: "v=0\r\n".into() },
        ServerMessage::Answer { sender: peer("rover-1"), sdp: "v=0\r\n".into() },
        ServerMessage::Candidate { sender: peer("rover-1"), candidate: candidate() },
        ServerMessage::PeerJoined(info.clone()),
        ServerMessage::PeerLeft { peer_id: peer("alice"), reason: None },
        ServerMessage::PeerLeft { peer_id: peer("alice"), reason: Some(LeftReason::Revoked) },
        ServerMessage::RightsChanged {},
        ServerMessage::RightsConfirmed { seq: 7, grants: vec![owner()], valid_for: 60 },
        ServerMessage::IceServers {
            ice_servers: vec![stun.clone(), turn],
            mesh_ice_servers: vec![stun],
            expires_at: Some(1_763_000_000),
        },
        ServerMessage::PeerList { to_peer_id: peer("alice"), count: 1, peers: vec![info] },
        ServerMessage::MetadataUpdated { peer_id: peer("rover-1"), metadata: metadata() },
        ServerMessage::PeerMessage {
            from_peer_id: peer("alice"),
            to_peer_id: peer("rover-1"),
            payload: json!({"app_message_type": "job_request"}),
        },
        ServerMessage::RoomClosed { reason: "deleted".into() },
        ServerMessage::Draining { reconnect_to: None },
        ServerMessage::Draining { reconnect_to: Some("wss://b.example.net/ws".into()) },
        ServerMessage::Ping,
        ServerMessage::Pong,
        ServerMessage::Error(ServerError::new(ErrorCode::InvalidToken, "Invalid token")),
        ServerMessage::Error(
            ServerError::new(ErrorCode::PeerNotFound, "Target peer bob not found")
                .about(peer("bob")),
        ),
    ]
}

/// The literal texts of one file, by name.
fn golden(file: &str) -> BTreeMap<String, String> {
    let path = format!("{}/../test_files/wire/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let lines = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        let field = |name: &str| value[name].as_str().expect("a string").to_owned();
        (field("name"), field("text"))
    };
    lines.lines().map(line).collect()
}

/// `said` are the names and texts of our own values; each must be pinned, and nothing else.
fn compare(file: &str, said: &[(&str, String)]) -> BTreeMap<String, String> {
    let golden = golden(file);
    for (name, text) in said {
        assert_eq!(golden.get(*name), Some(text), "{file}.jsonl: {name}");
    }
    let names: Vec<_> = golden.keys().map(String::as_str).collect();
    let mut ours: Vec<_> = said.iter().map(|(name, _)| *name).collect();
    ours.sort_unstable();
    assert_eq!(names, ours, "each name once in {file}.jsonl");
    golden
}

#[test]
fn channel_messages_are_their_literal_texts() {
    let messages: Vec<_> = channel_messages().into_iter().chain(job_messages()).collect();
    let said: Vec<_> = messages.iter().map(|m| (channel_name(m), m.encode())).collect();
    let golden = compare("channel", &said);
    for message in messages {
        let read = Message::decode(&golden[channel_name(&message)]).expect("a good text");
        assert_eq!(read, message);
    }
}

#[test]
fn messages_to_the_broker_are_their_literal_texts() {
    let text = |message: &ClientMessage| serde_json::to_string(message).expect("it has a text");
    let messages = client_messages();
    let said: Vec<_> = messages.iter().map(|m| (client_name(m), text(m))).collect();
    for (name, golden) in compare("client", &said) {
        let read: ClientMessage = serde_json::from_str(&golden).expect("a good text");
        assert_eq!(client_name(&read), name);
        assert_eq!(text(&read), golden);
    }
}

#[test]
fn messages_of_the_broker_are_their_literal_texts() {
    let messages = server_messages();
    let said: Vec<_> = messages.iter().map(|m| (server_name(m), m.to_json())).collect();
    for (name, golden) in compare("server", &said) {
        let read: ServerMessage = serde_json::from_str(&golden).expect("a good text");
        assert_eq!(server_name(&read), name);
        assert_eq!(read.to_json(), golden);
    }
}

#[test]
fn words_of_later_versions_are_kept_or_skipped() {
    let unknown: ServerMessage =
        serde_json::from_str(r#"{"type":"brand_new","x":1}"#).expect("it is skipped");
    assert_eq!(server_name(&unknown), "unknown");
    let more = r#"TRANSFER_DONE::{"transfer":7,"later":[1,2]}"#;
    let done = Message::TransferDone(TransferDone { transfer: 7 });
    assert_eq!(Message::decode(more).expect("a good text"), done);
    let code = r#"FILE_ERROR::{"id":"a","code":"brand_new","message":"m"}"#;
    let Message::FileError(error) = Message::decode(code).expect("a good text") else {
        panic!("it is an error")
    };
    assert_eq!(error.code, FileErrorCode::Other);
}
