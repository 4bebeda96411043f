//! Files of existing clients.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use halyard_protocol::{
    access::Access,
    channel::{FileErrorCode, legacy::LegacyMessage},
    ids::PeerId,
};
use tokio::sync::Mutex;

use super::pair::{content, folder, name, names};
use crate::{
    files::{FileRoot, LocalFile},
    transfer::{
        LegacyEvent, LegacyFiles, LegacyWire, Serving, TransferError, WireClosed, send_legacy,
    },
};

async fn files(folder: &tempfile::TempDir, access: Access) -> LegacyFiles {
    let root = FileRoot::open(folder.path()).await.expect("a folder");
    let peer = PeerId::new("python").expect("a name");
    LegacyFiles::new(Serving::folder(Arc::new(root), &peer, access))
}

/// The other end, on the same channel, with a keep-alive between any two frames.
struct Loop {
    files: Mutex<LegacyFiles>,
    events: Mutex<Vec<LegacyEvent>>,
}

#[async_trait]
impl LegacyWire for Loop {
    async fn text(&self, text: String) -> Result<(), WireClosed> {
        let events = self.files.lock().await.text(&text).await;
        self.events.lock().await.extend(events);
        Ok(())
    }

    async fn binary(&self, bytes: Bytes) -> Result<(), WireClosed> {
        for frame in [bytes, Bytes::from_static(b"KEEP_ALIVE")] {
            let events = self.files.lock().await.binary(frame).await;
            self.events.lock().await.extend(events);
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_64_mib_file_arrives_with_keep_alives_between_its_chunks() {
    let (here, there) = (folder(), folder());
    let bytes = content(1, 64 * 1024 * 1024);
    std::fs::write(here.path().join("pkg.zip"), &bytes).expect("a file");
    let wire =
        Loop { files: Mutex::new(files(&there, Access::Operator).await), events: Mutex::default() };
    let source = Box::new(LocalFile::open(here.path().join("pkg.zip")).expect("a file"));
    let mut moved = Vec::new();
    let hint = Some("models".to_owned());
    let sent = send_legacy(&wire, source, &name("pkg.zip"), hint, |bytes| moved.push(bytes)).await;
    assert_eq!(sent.expect("it arrives").size, bytes.len() as u64);
    assert_eq!(moved.last(), Some(&(bytes.len() as u64)));
    let (name, size) = (name("pkg.zip"), bytes.len() as u64);
    assert_eq!(
        *wire.events.lock().await,
        [
            LegacyEvent::Receiving { name: name.clone(), size, hint: Some("models".into()) },
            LegacyEvent::Received { name, size },
        ]
    );
    assert!(std::fs::read(there.path().join("pkg.zip")).expect("it is there") == bytes);
    assert_eq!(names(there.path()), ["pkg.zip"]);
}

#[tokio::test]
async fn empty_files_and_files_that_look_like_keep_alives_arrive() {
    let (here, there) = (folder(), folder());
    let wire =
        Loop { files: Mutex::new(files(&there, Access::Operator).await), events: Mutex::default() };
    for (file, bytes) in [("empty", &b""[..]), ("trap", b"KEEP_ALIVE")] {
        std::fs::write(here.path().join(file), bytes).expect("a file");
        let source = Box::new(LocalFile::open(here.path().join(file)).expect("a file"));
        send_legacy(&wire, source, &name(file), None, |_| {}).await.expect("it arrives");
        assert_eq!(std::fs::read(there.path().join(file)).expect("it is there"), bytes);
    }
}

#[tokio::test]
async fn a_file_of_the_wrong_size_is_removed() {
    let there = folder();
    let mut files = files(&there, Access::Operator).await;
    for sent in [&b"short"[..], b"much too long"] {
        let mut events = files.text("FILE_META::x.bin:10:False").await;
        events.extend(files.binary(Bytes::from_static(sent)).await);
        events.extend(files.binary(Bytes::from_static(b"!")).await);
        events.extend(files.text("END_OF_FILE").await);
        assert!(matches!(&events[0], LegacyEvent::Receiving { size: 10, .. }));
        assert!(
            matches!(&events[1..], [LegacyEvent::Refused(f)] if f.message.contains("10 bytes"))
        );
        assert_eq!(names(there.path()), [""; 0]);
    }
}

#[tokio::test]
async fn names_that_lead_out_and_viewers_are_refused() {
    let there = folder();
    for (access, meta, code) in [
        (Access::Operator, "FILE_META::../x:1:False", FileErrorCode::BadName),
        (Access::Operator, "FILE_META::/etc/x:1:False", FileErrorCode::BadName),
        (Access::Viewer, "FILE_META::x:1:False", FileErrorCode::Forbidden),
    ] {
        let mut files = files(&there, access).await;
        let events = files.text(meta).await;
        assert!(matches!(&events[..], [LegacyEvent::Refused(f)] if f.code == code), "{events:?}");
        assert_eq!(files.binary(Bytes::from_static(b"x")).await, []);
        assert_eq!(files.text("END_OF_FILE").await, []);
        let other = files.text("PACKAGE_TYPE::train").await;
        assert_eq!(other, [LegacyEvent::Other(LegacyMessage::PackageType("train".into()))]);
    }
    assert_eq!(names(there.path()), [""; 0]);
}

#[tokio::test]
async fn a_channel_that_closes_in_the_middle_leaves_nothing() {
    let there = folder();
    let mut files = files(&there, Access::Operator).await;
    files.text("FILE_META::x.bin:10:False").await;
    files.binary(Bytes::from_static(b"12345")).await;
    assert_eq!(names(there.path()), ["x.bin.part"]);
    drop(files);
    assert_eq!(names(there.path()), [""; 0]);
}

#[tokio::test]
async fn a_name_that_the_original_cannot_read_is_not_sent() {
    struct Nobody;

    #[async_trait]
    impl LegacyWire for Nobody {
        async fn text(&self, text: String) -> Result<(), WireClosed> {
            panic!("said {text}");
        }

        async fn binary(&self, _: Bytes) -> Result<(), WireClosed> {
            panic!("sent bytes");
        }
    }

    let here = folder();
    std::fs::write(here.path().join("12:00.log"), b"x").expect("a file");
    let source = Box::new(LocalFile::open(here.path().join("12:00.log")).expect("a file"));
    let sent = send_legacy(&Nobody, source, &name("12:00.log"), None, |_| {}).await;
    let Err(TransferError::Failed(failure)) = sent else { panic!("it is not sent") };
    assert!(failure.message.contains("':' at byte 2"), "{failure}");
}
