//! Every codec: what is written reads back, and nothing that can be read makes it panic.

mod support;

use bytes::Bytes;
use halyard_protocol::{
    access::{Access, PeerRole},
    channel::{
        Ack, ActionSpec, Bye, Changed, Chunk, Command, Drive, DriveLimits, Entry, EntryKind, Estop,
        EstopAction, FileDelete, FileDeleted, FileEntries, FileError, FileErrorCode, FileGet,
        FileGlob, FileList, FileStat, FileUnpack, FileUnpacked, FilesInfo, FolderOffer, Hello,
        LeaseRequest, LeaseState, Listen, Message, Notice, Severity, Stats, Talk, TelemetryField,
        TelemetrySchema, TransferAccept, TransferCancel, TransferDone, TransferEnd, TransferOffer,
        TransferProgress, TransferRefuse, VideoInfo, Watch, legacy::LegacyMessage,
    },
    ids::{PeerId, RoomId},
    limits::{CHUNK_BYTES, MAX_FILE_NAME_BYTES, MAX_NAME_PART_BYTES},
    link::JoinLink,
    signal::{
        Candidate, ClientMessage, Envelope, ErrorCode, Filters, Grant, IceServer, LeftReason,
        Metadata, PeerInfo, Register, Registered, ServerError, ServerMessage,
    },
    strip::Strip,
    token::Token,
    transfer::RelativeName,
};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Map, Value, json};

// ---- what there is to say

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        any::<String>(),
        Just("::".into()),
        Just("a::b:{\"x\":1}".into()),
        Just("\u{202E}\n\0\"\\".into()),
    ]
}

fn peer_id() -> impl Strategy<Value = PeerId> {
    "[!-~]{1,128}".prop_map(|text| PeerId::new(text).expect("visible ASCII"))
}

fn room_id() -> impl Strategy<Value = RoomId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|text| RoomId::new(text).expect("the alphabet"))
}

/// Numbers that JSON text carries exactly.
fn number() -> impl Strategy<Value = f64> {
    any::<i32>().prop_map(|thousandths| f64::from(thousandths) / 1000.0)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        number().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    vec(("[a-z_]{1,8}", value()), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let extra = object().prop_map(|mut extra| {
        extra.remove("tags");
        extra.remove("properties");
        extra
    });
    (option::of(vec(text(), 0..3)), option::of(object()), extra)
        .prop_map(|(tags, properties, extra)| Metadata { tags, properties, extra })
}

fn filters() -> impl Strategy<Value = Filters> {
    (option::of(text()), option::of(vec(text(), 0..3)), option::of(object()))
        .prop_map(|(role, tags, properties)| Filters { role, tags, properties })
}

fn access() -> impl Strategy<Value = Access> {
    prop::sample::select(vec![Access::Viewer, Access::Operator, Access::Admin])
}

fn role() -> impl Strategy<Value = PeerRole> {
    prop::sample::select(vec![PeerRole::Worker, PeerRole::Client, PeerRole::Peer])
}

fn token() -> impl Strategy<Value = Token> {
    text().prop_map(Token::new)
}

fn candidate() -> impl Strategy<Value = Candidate> {
    (text(), option::of(text()), option::of(any::<u16>()), option::of(text())).prop_map(
        |(candidate, sdp_mid, sdp_m_line_index, username_fragment)| Candidate {
            candidate,
            sdp_mid,
            sdp_m_line_index,
            username_fragment,
        },
    )
}

fn file_code() -> impl Strategy<Value = FileErrorCode> {
    use FileErrorCode as Code;
    prop::sample::select(vec![
        Code::Disabled,
        Code::Forbidden,
        Code::BadName,
        Code::NotFound,
        Code::WrongKind,
        Code::Busy,
        Code::TooMany,
        Code::NoSpace,
        Code::Quota,
        Code::TooLarge,
        Code::BadArchive,
        Code::Exists,
        Code::NotEmpty,
        Code::HashMismatch,
        Code::Protocol,
        Code::Io,
        Code::Cancelled,
        Code::Other,
    ])
}

fn hello() -> impl Strategy<Value = Hello> {
    let renditions = prop::collection::vec(text(), 0..3);
    let video =
        ((text(), text(), any::<u32>(), any::<u32>()), (any::<u8>(), any::<bool>(), renditions));
    let video = video.prop_map(|((name, codec, width, height), (fps, strip, renditions))| {
        let fps = f32::from(fps) / 2.0;
        VideoInfo { name, codec, width, height, fps, strip, renditions }
    });
    let action = (text(), text(), access()).prop_map(|(name, help, access)| ActionSpec {
        name,
        help,
        access,
    });
    let limits = (
        (number(), number(), any::<u64>()),
        (option::of(number()), option::of(any::<u64>()), option::of(any::<u64>())),
    )
        .prop_map(|((max_linear, max_angular, watchdog_ms), optional)| {
            let (max_reverse, max_age_ms, max_picture_age_ms) = optional;
            DriveLimits {
                max_linear,
                max_angular,
                watchdog_ms,
                max_reverse,
                max_age_ms,
                max_picture_age_ms,
            }
        });
    let files = (any::<bool>(), any::<bool>(), any::<bool>(), option::of(text())).prop_map(
        |(readable, writable, folders, hint)| FilesInfo { readable, writable, folders, hint },
    );
    (
        (any::<u32>(), text(), peer_id(), option::of(access()), vec(text(), 0..3)),
        (vec(video, 0..3), vec(action, 0..3), option::of(limits), option::of(files)),
    )
        .prop_map(|((protocol, agent, peer_id, your_access, capabilities), rest)| {
            let (video, commands, drive, files) = rest;
            Hello {
                protocol,
                agent,
                peer_id,
                your_access,
                capabilities,
                video,
                commands,
                drive,
                files,
            }
        })
}

fn stats() -> impl Strategy<Value = Stats> {
    let share = || option::of(0f32..=1.0);
    let ms = || option::of(0f32..100_000.0);
    let rate = || option::of(any::<u32>());
    let path = (any::<u32>(), rate(), share(), ms(), ms(), any::<u64>());
    (path, rate(), option::of(text()), share()).prop_map(
        |(
            (estimate, delivered, loss, round_trip_ms, queue_ms, repaired),
            target,
            rendition,
            scale,
        )| Stats {
            estimate,
            delivered,
            target,
            rendition,
            scale,
            loss,
            round_trip_ms,
            queue_ms,
            repaired,
        },
    )
}

fn control_message() -> impl Strategy<Value = Message> {
    let lease = prop::sample::select(vec![
        LeaseRequest::Request,
        LeaseRequest::Release,
        LeaseRequest::Take,
    ]);
    let estop = prop_oneof![
        prop::sample::select(vec![EstopAction::Press, EstopAction::Clear])
            .prop_map(|action| Estop::Ask { action }),
        (any::<bool>(), option::of(peer_id()))
            .prop_map(|(latched, by)| Estop::State { latched, by }),
    ];
    let severity = prop::sample::select(vec![Severity::Info, Severity::Warning, Severity::Error]);
    prop_oneof![
        hello().prop_map(|hello| Message::Hello(Box::new(hello))),
        (text(), text(), value(), option::of(any::<u64>()), option::of(any::<u64>())).prop_map(
            |(id, name, args, deadline_ms, echo)| {
                Message::Command(Command { id, name, args, deadline_ms, echo })
            }
        ),
        // A result that is `null` reads back as none, so there is always something in it.
        (text(), value()).prop_map(|(id, v)| Message::Ack(Ack::done(id, json!({ "v": v })))),
        (text(), text(), text())
            .prop_map(|(id, code, message)| Message::Ack(Ack::failed(id, &code, message))),
        lease.prop_map(Message::LeaseRequest),
        (option::of(peer_id()), any::<u64>(), any::<bool>()).prop_map(|(holder, number, you)| {
            Message::LeaseState(LeaseState { holder, number, you })
        }),
        estop.prop_map(Message::Estop),
        (
            (any::<u64>(), any::<u64>(), number(), number(), any::<bool>()),
            (option::of(any::<u64>()), option::of(any::<u32>())),
        )
            .prop_map(|((lease, seq, linear, angular, held), (echo, picture_ms))| {
                Message::Drive(Drive { lease, seq, linear, angular, held, echo, picture_ms })
            }),
        value().prop_map(Message::Telemetry),
        vec((text(), option::of(text()), text(), any::<bool>()), 0..4).prop_map(|fields| {
            let fields = fields.into_iter().map(|(name, unit, help, reliable)| TelemetryField {
                name,
                unit,
                help,
                reliable,
            });
            Message::TelemetrySchema(TelemetrySchema { fields: fields.collect() })
        }),
        (any::<u64>(), prop::collection::btree_map(text(), value(), 0..4))
            .prop_map(|(stamp, values)| Message::Changed(Changed { stamp, values })),
        (severity, text(), text(), option::of(text())).prop_map(
            |(severity, code, message, track)| {
                Message::Notice(Notice { severity, code, message, track })
            }
        ),
        vec(option::of(text()), 0..5).prop_map(|tracks| Message::Watch(Watch { tracks })),
        any::<bool>().prop_map(|on| Message::Listen(Listen { on })),
        any::<bool>().prop_map(|on| Message::Talk(Talk::Ask { on })),
        (option::of(peer_id()), any::<bool>())
            .prop_map(|(talker, you)| Message::Talk(Talk::State { talker, you })),
        stats().prop_map(Message::Stats),
        text().prop_map(|reason| Message::Bye(Bye { reason })),
        // Prefixes of ours have an underscore or are known; these have neither.
        ("X[A-Z]{0,8}", text()).prop_map(|(prefix, payload)| Message::Unknown { prefix, payload }),
    ]
}

fn file_message() -> impl Strategy<Value = Message> {
    let kind = prop::sample::select(vec![EntryKind::Directory, EntryKind::File]);
    let entry = (text(), kind, any::<u64>(), any::<u64>())
        .prop_map(|(name, kind, size, modified_ms)| Entry { name, kind, size, modified_ms });
    prop_oneof![
        (text(), text(), any::<u64>()).prop_map(|(id, path, offset)| Message::FileList(FileList {
            id,
            path,
            offset
        })),
        (text(), text(), vec(entry, 0..5), any::<u64>(), any::<bool>()).prop_map(
            |(id, path, entries, total, more)| {
                Message::FileEntries(FileEntries { id, path, entries, total, more })
            }
        ),
        (text(), text(), any::<bool>()).prop_map(|(id, path, folder)| Message::FileGet(FileGet {
            id,
            path,
            folder
        })),
        (text(), text()).prop_map(|(id, path)| Message::FileStat(FileStat { id, path })),
        (text(), text(), any::<u64>())
            .prop_map(|(id, pattern, offset)| Message::FileGlob(FileGlob { id, pattern, offset })),
        (text(), text(), any::<bool>()).prop_map(|(id, path, recursive)| Message::FileDelete(
            FileDelete { id, path, recursive }
        )),
        (text(), text()).prop_map(|(id, path)| Message::FileDeleted(FileDeleted { id, path })),
        (text(), text(), text(), any::<bool>()).prop_map(|(id, path, into, replace)| {
            Message::FileUnpack(FileUnpack { id, path, into, replace })
        }),
        (text(), text(), any::<u64>(), any::<u64>()).prop_map(|(id, into, files, bytes)| {
            Message::FileUnpacked(FileUnpacked { id, into, files, bytes })
        }),
        (text(), file_code(), text())
            .prop_map(|(id, code, message)| Message::FileError(FileError { id, code, message })),
        (
            (any::<u32>(), text(), any::<u64>(), option::of(any::<u64>()), option::of(text())),
            option::of((any::<u64>(), any::<u64>(), any::<bool>())),
        )
            .prop_map(|((transfer, name, size, modified_ms, request), folder)| {
                let folder = folder.map(|(entries, skipped, replace)| FolderOffer {
                    entries,
                    skipped,
                    replace,
                });
                let offer = TransferOffer { transfer, name, size, modified_ms, request, folder };
                Message::TransferOffer(offer)
            }),
        (any::<u32>(), any::<u64>(), option::of(text())).prop_map(|(transfer, offset, prefix)| {
            Message::TransferAccept(TransferAccept { transfer, offset, prefix })
        }),
        (any::<u32>(), any::<u64>()).prop_map(|(transfer, durable)| {
            Message::TransferProgress(TransferProgress { transfer, durable })
        }),
        (any::<u32>(), text()).prop_map(|(transfer, blake3)| {
            Message::TransferEnd(TransferEnd { transfer, blake3 })
        }),
        any::<u32>().prop_map(|transfer| Message::TransferDone(TransferDone { transfer })),
        (any::<u32>(), file_code(), text()).prop_map(|(transfer, code, message)| {
            Message::TransferRefuse(TransferRefuse { transfer, code, message })
        }),
        (any::<u32>(), file_code(), text()).prop_map(|(transfer, code, message)| {
            Message::TransferCancel(TransferCancel { transfer, code, message })
        }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![control_message(), file_message()]
}

fn client_message() -> impl Strategy<Value = ClientMessage> {
    let register = (
        (peer_id(), room_id(), option::of(token()), option::of(token())),
        (role(), metadata(), any::<bool>(), option::of(token())),
    )
        .prop_map(|((peer_id, room_id, token, id_token), rest)| {
            let (role, metadata, is_admin, resume_token) = rest;
            Register { peer_id, room_id, token, id_token, role, metadata, is_admin, resume_token }
        });
    prop_oneof![
        register.prop_map(ClientMessage::Register),
        (peer_id(), text()).prop_map(|(target, sdp)| ClientMessage::Offer { target, sdp }),
        (peer_id(), text()).prop_map(|(target, sdp)| ClientMessage::Answer { target, sdp }),
        (peer_id(), candidate())
            .prop_map(|(target, candidate)| ClientMessage::Candidate { target, candidate }),
        filters().prop_map(|filters| ClientMessage::DiscoverPeers { filters }),
        metadata().prop_map(|metadata| ClientMessage::UpdateMetadata { metadata }),
        (peer_id(), value())
            .prop_map(|(to_peer_id, payload)| ClientMessage::PeerMessage { to_peer_id, payload }),
        (any::<u64>(), vec(grant(), 0..3))
            .prop_map(|(seq, grants)| ClientMessage::ConfirmRights { seq, grants }),
        Just(ClientMessage::Ping),
        Just(ClientMessage::Pong),
        Just(ClientMessage::Leave),
    ]
}

fn peer_info() -> impl Strategy<Value = PeerInfo> {
    (peer_id(), role(), access(), metadata(), number(), option::of(grant())).prop_map(
        |(peer_id, role, access, metadata, connected_at, grant)| PeerInfo {
            peer_id,
            role,
            access,
            metadata,
            connected_at,
            grant,
        },
    )
}

fn grant() -> impl Strategy<Value = Grant> {
    (access(), option::of(any::<[u8; 32]>()), "[a-z.-]{0,40}").prop_map(
        |(access, hash, subject)| {
            Grant::new(access, hash.as_ref(), &subject).expect("short enough")
        },
    )
}

fn left_reason() -> impl Strategy<Value = LeftReason> {
    prop::sample::select(vec![
        LeftReason::Revoked,
        LeftReason::Removed,
        LeftReason::Lost,
        LeftReason::TooSlow,
    ])
}

fn ice_server() -> impl Strategy<Value = IceServer> {
    (vec(text(), 0..3), option::of(text()), option::of(token()))
        .prop_map(|(urls, username, credential)| IceServer { urls, username, credential })
}

fn registered() -> impl Strategy<Value = Registered> {
    (
        (room_id(), option::of(token()), peer_id(), option::of(peer_id())),
        (vec(peer_id(), 0..3), prop::collection::btree_map(peer_id(), metadata(), 0..3)),
        (vec(ice_server(), 0..2), vec(ice_server(), 0..2), option::of(access())),
        (vec(peer_info(), 0..2), option::of(token()), any::<bool>()),
        (option::of(any::<u64>()), any::<u32>()),
    )
        .prop_map(|(first, second, third, fourth, (expires_at, protocol))| {
            let (room_id, token, peer_id, admin_peer_id) = first;
            let (peer_list, peer_metadata) = second;
            let (ice_servers, mesh_ice_servers, role) = third;
            let (peers, resume_token, resumed) = fourth;
            Registered {
                room_id,
                token,
                peer_id,
                admin_peer_id,
                peer_list,
                peer_metadata,
                ice_servers,
                mesh_ice_servers,
                role,
                peers,
                resume_token,
                resumed,
                expires_at,
                protocol,
            }
        })
}

fn server_message() -> impl Strategy<Value = ServerMessage> {
    let code = prop::sample::select(vec![
        ErrorCode::InvalidJson,
        ErrorCode::RoomNotFound,
        ErrorCode::LimitExceeded,
        ErrorCode::Other,
    ]);
    let error = (code, text(), option::of(peer_id()), option::of(any::<u64>())).prop_map(
        |(code, message, target, retry_after)| ServerError {
            target,
            retry_after,
            ..ServerError::new(code, message)
        },
    );
    prop_oneof![
        registered().prop_map(|r| ServerMessage::RegisteredAuth(Box::new(r))),
        (room_id(), peer_id()).prop_map(|(room_id, current_admin)| {
            ServerMessage::AdminConflict { room_id, current_admin }
        }),
        (peer_id(), text()).prop_map(|(sender, sdp)| ServerMessage::Offer { sender, sdp }),
        (peer_id(), text()).prop_map(|(sender, sdp)| ServerMessage::Answer { sender, sdp }),
        (peer_id(), candidate())
            .prop_map(|(sender, candidate)| ServerMessage::Candidate { sender, candidate }),
        peer_info().prop_map(ServerMessage::PeerJoined),
        (peer_id(), option::of(left_reason()))
            .prop_map(|(peer_id, reason)| ServerMessage::PeerLeft { peer_id, reason }),
        Just(ServerMessage::RightsChanged {}),
        (any::<u64>(), vec(grant(), 0..3), any::<u64>()).prop_map(|(seq, grants, valid_for)| {
            ServerMessage::RightsConfirmed { seq, grants, valid_for }
        }),
        (vec(ice_server(), 0..3), vec(ice_server(), 0..3), option::of(any::<u64>())).prop_map(
            |(ice_servers, mesh_ice_servers, expires_at)| ServerMessage::IceServers {
                ice_servers,
                mesh_ice_servers,
                expires_at,
            }
        ),
        (peer_id(), vec(peer_info(), 0..3)).prop_map(|(to_peer_id, peers)| {
            ServerMessage::PeerList { to_peer_id, count: peers.len(), peers }
        }),
        (peer_id(), metadata()).prop_map(|(peer_id, metadata)| {
            ServerMessage::MetadataUpdated { peer_id, metadata }
        }),
        (peer_id(), peer_id(), value()).prop_map(|(from_peer_id, to_peer_id, payload)| {
            ServerMessage::PeerMessage { from_peer_id, to_peer_id, payload }
        }),
        text().prop_map(|reason| ServerMessage::RoomClosed { reason }),
        option::of(text()).prop_map(|reconnect_to| ServerMessage::Draining { reconnect_to }),
        Just(ServerMessage::Ping),
        Just(ServerMessage::Pong),
        error.prop_map(ServerMessage::Error),
    ]
}

/// Cut somewhere, with a byte changed or put in.
fn damaged(text: &str, cut: prop::sample::Index, at: prop::sample::Index, byte: u8) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.truncate(cut.index(bytes.len() + 1));
    if bytes.is_empty() {
        return vec![byte];
    }
    let at = at.index(bytes.len());
    if byte & 1 == 0 {
        bytes[at] = byte;
    } else {
        bytes.insert(at, byte);
    }
    bytes
}

// ---- what holds of all of it

proptest! {
    #[test]
    fn a_channel_message_reads_back_as_it_was_said(message in message()) {
        prop_assert_eq!(Message::decode(&message.encode()).expect("our own words"), message);
    }

    #[test]
    fn a_damaged_channel_message_is_an_error_or_another_message(
        message in message(),
        cut: prop::sample::Index,
        at: prop::sample::Index,
        byte: u8,
    ) {
        if let Ok(text) = String::from_utf8(damaged(&message.encode(), cut, at, byte))
            && let Ok(read) = Message::decode(&text)
        {
            prop_assert!(Message::decode(&read.encode()).is_ok());
        }
    }

    #[test]
    fn any_text_is_a_channel_message_or_an_error_that_names_its_prefix(text: String) {
        match Message::decode(&text) {
            Ok(_) => {}
            Err(error) => prop_assert!(text.starts_with(error.prefix)),
        }
    }

    #[test]
    fn a_client_message_reads_back_as_it_was_said(message in client_message()) {
        let said = serde_json::to_string(&message).expect("it has a text");
        let read: ClientMessage = serde_json::from_str(&said).expect("our own words");
        prop_assert_eq!(serde_json::to_string(&read).expect("it has a text"), said);
    }

    #[test]
    fn a_server_message_reads_back_as_it_was_said(message in server_message()) {
        let said = message.to_json();
        let read: ServerMessage = serde_json::from_str(&said).expect("our own words");
        prop_assert_eq!(read.to_json(), said);
    }

    #[test]
    fn damaged_signaling_never_panics(
        client in client_message(),
        server in server_message(),
        cut: prop::sample::Index,
        at: prop::sample::Index,
        byte: u8,
    ) {
        for said in [serde_json::to_string(&client).expect("text"), server.to_json()] {
            let bytes = damaged(&said, cut, at, byte);
            let _ = serde_json::from_slice::<ClientMessage>(&bytes);
            let _ = serde_json::from_slice::<ServerMessage>(&bytes);
            if let Ok(text) = std::str::from_utf8(&bytes) {
                let _ = Envelope::parse(text);
            }
        }
    }

    #[test]
    fn an_envelope_says_what_the_whole_message_says(
        message in client_message(),
        sender in peer_id(),
    ) {
        let said = serde_json::to_value(&message).expect("it has a value");
        let text = said.to_string();
        let envelope = Envelope::parse(&text).expect("our own words");
        let target = said["target"].as_str().or(said["to_peer_id"].as_str());
        prop_assert_eq!(envelope.target.as_deref(), target);

        let stamped = envelope.stamped(&text, &sender);
        let mut expected = said.clone();
        if let Some(field) = envelope.kind.sender_field() {
            expected[field] = sender.as_str().into();
        }
        let stamped: Value = serde_json::from_str(&stamped).expect("still JSON");
        prop_assert_eq!(stamped, expected, "nothing but the sender changed");
    }

    #[test]
    fn a_spoofed_envelope_names_its_true_sender(
        sender in peer_id(),
        spoofed in text(),
        target in peer_id(),
        sdp in text(),
    ) {
        let text = json!({
            "type": "offer", "sender": spoofed, "target": target.as_str(), "sdp": sdp,
        })
        .to_string();
        let envelope = Envelope::parse(&text).expect("an offer");
        let stamped: Value =
            serde_json::from_str(&envelope.stamped(&text, &sender)).expect("still JSON");
        prop_assert_eq!(&stamped["sender"], sender.as_str());
        prop_assert_eq!(&stamped["sdp"], &Value::from(sdp));
    }

    #[test]
    fn any_text_is_an_envelope_or_an_error(text: String) {
        let _ = Envelope::parse(&text);
    }

    #[test]
    fn metadata_reads_back_and_merging_it_into_itself_changes_nothing(metadata in metadata()) {
        let said = serde_json::to_string(&metadata).expect("text");
        let read: Metadata = serde_json::from_str(&said).expect("our own words");
        prop_assert_eq!(&read, &metadata);
        let unique = metadata.tags.clone().unwrap_or_default();
        let mut merged = read;
        merged.merge(metadata.clone());
        prop_assert_eq!(merged.tags.unwrap_or_default(), unique);
        prop_assert_eq!(merged.properties, metadata.properties);
        prop_assert_eq!(merged.extra, metadata.extra);
    }

    #[test]
    fn filters_find_what_they_were_made_from(metadata in metadata(), role in "[a-z]{1,8}") {
        // Values of which a filter would make operators are left out.
        let properties = metadata.properties.clone().map(|properties| {
            properties.into_iter().filter(|(_, value)| !value.is_object()).collect()
        });
        let filters =
            Filters { role: Some(role.clone()), tags: metadata.tags.clone(), properties };
        prop_assert!(filters.matches(&role, &metadata));
        prop_assert!(!filters.matches("another", &metadata));
        let read: Filters =
            serde_json::from_str(&serde_json::to_string(&filters).expect("text")).expect("ours");
        prop_assert_eq!(read, filters);
    }

    #[test]
    fn a_chunk_reads_back_as_it_was_sent(
        transfer: u32,
        offset in 0..=u64::MAX - CHUNK_BYTES as u64,
        bytes in vec(any::<u8>(), 0..300),
    ) {
        let chunk = Chunk { transfer, offset, bytes: bytes.into() };
        let message = chunk.encode().freeze();
        prop_assert_eq!(message.len(), Chunk::HEADER_BYTES + chunk.bytes.len());
        prop_assert_eq!(Chunk::decode(message).expect("our own"), chunk);
    }

    #[test]
    fn any_bytes_are_a_chunk_or_an_error(mut bytes in vec(any::<u8>(), 0..64), versioned: bool) {
        if versioned && !bytes.is_empty() {
            bytes[0] = 1;
        }
        if let Ok(chunk) = Chunk::decode(Bytes::from(bytes)) {
            prop_assert!(chunk.bytes.len() <= CHUNK_BYTES);
            prop_assert!(chunk.offset.checked_add(chunk.bytes.len() as u64).is_some());
        }
    }

    #[test]
    fn a_legacy_message_reads_back_as_it_was_said(
        name in "[^:]{1,20}",
        size: u64,
        hint in option::of("[^:]{0,8}"),
        word in "[a-z:]{0,8}",
    ) {
        for message in [
            LegacyMessage::FileMeta { name, size, hint },
            LegacyMessage::EndOfFile,
            LegacyMessage::PackageType(word.clone()),
            LegacyMessage::OutputDir(word),
        ] {
            prop_assert_eq!(LegacyMessage::decode(&message.encode()), message);
        }
    }

    #[test]
    fn any_text_is_a_legacy_message_that_says_the_same(text: String) {
        let read = LegacyMessage::decode(&text);
        prop_assert_eq!(LegacyMessage::decode(&read.encode()), read);
    }

    #[test]
    fn a_strip_reads_back_and_one_wrong_cell_does_not(
        time_ms: u32,
        frame: u16,
        cell in 0..64u32,
        bits: u64,
    ) {
        let strip = Strip { time_ms, frame };
        prop_assert_eq!(Strip::from_bits(strip.to_bits()), Some(strip));
        prop_assert_eq!(Strip::from_bits(strip.to_bits() ^ (1 << cell)), None);
        if let Some(read) = Strip::from_bits(bits) {
            prop_assert_eq!(read.to_bits(), bits);
        }
    }

    #[test]
    fn ids_are_accepted_as_they_are_or_not_at_all(text in text()) {
        if let Ok(id) = RoomId::new(text.as_str()) {
            prop_assert_eq!(id.as_str(), &text);
            let json = serde_json::to_string(&id).expect("text");
            prop_assert_eq!(serde_json::from_str::<RoomId>(&json).expect("ours"), id);
        }
        if let Ok(id) = PeerId::new(text.as_str()) {
            prop_assert_eq!(id.as_str(), &text);
            prop_assert!(id.as_str().chars().all(|c| c.is_ascii_graphic()));
        }
        let json = serde_json::to_string(&text).expect("text");
        prop_assert_eq!(
            serde_json::from_str::<PeerId>(&json).is_ok(),
            PeerId::new(text.as_str()).is_ok()
        );
    }

    #[test]
    fn a_link_reads_back_as_it_was_written(
        host in "[a-z][a-z0-9]{0,12}",
        port in option::of(1024..60000u16),
        prefix in option::of("[a-z]{1,8}"),
        room in room_id(),
        token in option::of("[A-Za-z0-9_-]{1,22}"),
    ) {
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        let prefix = prefix.map_or(String::new(), |prefix| format!("/{prefix}"));
        let token = token.map_or(String::new(), |token| format!("#{token}"));
        let text = format!("https://{host}{port}{prefix}/r/{room}{token}");
        let link = JoinLink::parse(&text).expect("a good link");
        prop_assert_eq!(link.expose(), text);
        prop_assert_eq!(link.room(), &room);
        prop_assert!(!link.to_string().contains('#'));
        let again = JoinLink::new(link.server().clone(), room, link.token().cloned());
        prop_assert_eq!(again.expect("its own parts").expose(), link.expose());
    }

    #[test]
    fn any_text_is_a_link_or_an_error(text in text()) {
        let _ = JoinLink::parse(&text);
        let _ = JoinLink::parse(&format!("http://h/r/{text}"));
    }

    #[test]
    fn a_name_never_leaves_its_folder(text in prop_oneof![
        text(),
        vec(prop_oneof!["[a-z]{0,3}", Just("..".into()), Just(".".into()), text()], 0..6)
            .prop_map(|parts| parts.join("/")),
    ]) {
        let Ok(name) = RelativeName::new(text.as_str()) else { return Ok(()) };
        prop_assert_eq!(name.as_str(), &text);
        prop_assert!(text.len() <= MAX_FILE_NAME_BYTES);
        for path in [text, name.part()] {
            let path = std::path::Path::new(&path);
            prop_assert!(path.is_relative());
            for component in path.components() {
                let std::path::Component::Normal(part) = component else {
                    return Err(TestCaseError::fail(format!("{path:?} has {component:?}")));
                };
                prop_assert!(part.len() <= MAX_NAME_PART_BYTES);
            }
        }
        prop_assert!(RelativeName::new(name.part()).is_err(), "no file is named like a part");
    }
}
