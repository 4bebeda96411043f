//! Sound with sources that do as the test says.

use std::sync::{
    atomic::{AtomicU32, Ordering},
    mpsc,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A source of the test's.
struct Scripted {
    started: mpsc::Sender<SoundSink>,
    alive: Arc<AtomicU32>,
}

impl SoundSource for Scripted {
    fn start(&mut self, sink: SoundSink) -> Result<(), SoundError> {
        self.alive.fetch_add(1, Ordering::SeqCst);
        let _ = self.started.send(sink);
        Ok(())
    }

    fn stop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Story {
    sound: Sound,
    started: mpsc::Receiver<SoundSink>,
    alive: Arc<AtomicU32>,
}

impl Story {
    fn new() -> Self {
        let (send, started) = mpsc::channel();
        let alive = Arc::new(AtomicU32::new(0));
        let counted = alive.clone();
        let make = move || {
            Box::new(Scripted { started: send.clone(), alive: counted.clone() })
                as Box<dyn SoundSource>
        };
        Self { sound: Sound::of(Box::new(make)).expect("a thread"), started, alive }
    }

    fn source(&self) -> SoundSink {
        self.started.recv_timeout(PATIENCE).expect("a source is started")
    }
}

fn say(sink: &SoundSink, word: &'static [u8]) {
    sink.packet(bytes::Bytes::from_static(word), Duration::from_millis(20));
}

async fn heard(listener: &mut Listener) -> SoundPacket {
    tokio::time::timeout(PATIENCE, listener.next()).await.expect("in time").expect("a packet")
}

async fn event(events: &mut broadcast::Receiver<SoundEvent>) -> SoundEvent {
    tokio::time::timeout(PATIENCE, events.recv()).await.expect("in time").expect("an event")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_hear_the_same_packets_and_nothing_is_open_while_nobody_listens() {
    let story = Story::new();
    assert_eq!(story.alive.load(Ordering::SeqCst), 0, "a microphone rests");
    let (mut one, mut other) = (story.sound.listen(), story.sound.listen());
    let source = story.source();
    say(&source, b"a");
    say(&source, b"b");
    for listener in [&mut one, &mut other] {
        let (first, second) = (heard(listener).await, heard(listener).await);
        assert_eq!((&first.data[..], &second.data[..]), (&b"a"[..], &b"b"[..]));
        assert_eq!(second.rtp_time.wrapping_sub(first.rtp_time), 960);
    }
    assert_eq!(story.sound.sent(), 2, "encoded once");
    drop((one, other));
    let rests = async {
        while story.alive.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, rests).await.expect("it is closed when the last one leaves");
    let _again = story.sound.listen();
    story.source();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_is_started_again_while_listeners_stay_and_are_told() {
    let story = Story::new();
    let mut events = story.sound.events();
    let mut listener = story.sound.listen();
    let source = story.source();
    say(&source, b"a");
    heard(&mut listener).await;
    source.ended("the microphone was unplugged".to_owned());
    let reason = "No sound: the microphone was unplugged".to_owned();
    assert_eq!(event(&mut events).await, SoundEvent::Lost { reason: reason.clone() });
    assert_eq!(story.sound.trouble(), Some(reason));
    let next = story.source();
    say(&source, b"late");
    say(&next, b"b");
    assert_eq!(&heard(&mut listener).await.data[..], b"b", "nothing of the one before");
    assert_eq!(event(&mut events).await, SoundEvent::Back);
    assert_eq!(story.sound.trouble(), None);
    story.sound.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tone_is_heard_without_anything_installed() {
    let sound = Sound::start(&SoundSpec::Tone).expect("starts").expect("sound");
    let mut listener = sound.listen();
    let first = heard(&mut listener).await;
    for step in 1..5u32 {
        assert_eq!(heard(&mut listener).await.rtp_time.wrapping_sub(first.rtp_time), step * 960);
    }
    sound.stop().await;
}

#[cfg(feature = "gstreamer")]
mod with_gstreamer {
    use halyard_client::peer::RtpPacket;
    use halyard_protocol::ids::PeerId;
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    /// How often a second the waves go up through nothing: the frequency of a clean tone.
    fn frequency(samples: &[i16]) -> f64 {
        let ups = samples.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        ups as f64 * 48_000.0 / samples.len() as f64
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_voice_with_the_floor_is_played_and_another_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("voice.wav");
        let speaker = Speaker::start(&SpeakerSpec::File(path.clone())).expect("starts");
        let speaker = speaker.expect("a speaker");
        let handle = speaker.handle();
        let (ann, bob) = (PeerId::new("ann").unwrap(), PeerId::new("bob").unwrap());
        let sound = Sound::start(&SoundSpec::Tone).expect("starts").expect("sound");
        let mut tone = sound.listen();
        handle.ask(&ann).expect("nobody speaks");
        assert_eq!(handle.ask(&bob), Err(Taken { by: ann.clone() }));
        for sequence in 0..75u16 {
            let SoundPacket { data, rtp_time } = heard(&mut tone).await;
            let packet =
                RtpPacket { sequence, timestamp: rtp_time, marker: sequence == 0, payload: data };
            handle.say(
                &bob,
                RtpPacket { payload: bytes::Bytes::from_static(b"no"), ..packet.clone() },
            );
            handle.say(&ann, packet);
        }
        handle.release(&ann);
        speaker.stop().await;
        assert_eq!(handle.trouble(), None);
        let samples = super::super::gst::decoder(&path);
        assert!(samples.len() > 48_000, "{} samples of 1.5 s", samples.len());
        let heard = frequency(&samples[4_800..samples.len() - 4_800]);
        assert!((heard - 440.0).abs() < 8.0, "{heard} Hz");
    }

    /// Ann speaks until this is dropped.
    fn speaks(handle: &SpeakerHandle, ann: &PeerId) -> AbortOnDropHandle<()> {
        handle.ask(ann).expect("nobody speaks");
        let (handle, ann) = (handle.clone(), ann.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let sound = Sound::start(&SoundSpec::Tone).expect("starts").expect("sound");
            let mut tone = sound.listen();
            for sequence in 0.. {
                let SoundPacket { data, rtp_time } = heard(&mut tone).await;
                let packet =
                    RtpPacket { sequence, timestamp: rtp_time, marker: false, payload: data };
                handle.say(&ann, packet);
            }
        }))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_loudspeaker_that_is_not_there_is_told_and_used_when_it_comes() {
        let folder = tempfile::tempdir().expect("a folder");
        let plug = folder.path().join("plug");
        let spec = SpeakerSpec::File(plug.join("voice.wav"));
        let speaker = Speaker::start(&spec).expect("starts").expect("a speaker");
        let (handle, ann) = (speaker.handle(), PeerId::new("ann").unwrap());
        let mut events = handle.events();
        let _speaking = speaks(&handle, &ann);
        let lost = event(&mut events).await;
        let SoundEvent::Lost { reason } = lost else { panic!("{lost:?}") };
        assert!(reason.contains("No voice at the machine"), "{reason}");
        assert_eq!(handle.trouble(), Some(reason));
        std::fs::create_dir(&plug).expect("made");
        assert_eq!(event(&mut events).await, SoundEvent::Back);
        assert_eq!(handle.trouble(), None);
        assert_eq!(*handle.talker().borrow(), Some(ann), "who speaks goes on");
        speaker.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_loudspeaker_that_fails_in_use_is_told_and_opened_again() {
        let spec = "gst:identity error-after=20 ! fakesink".parse().expect("understood");
        let speaker = Speaker::start(&spec).expect("starts").expect("a speaker");
        let (handle, ann) = (speaker.handle(), PeerId::new("ann").unwrap());
        let mut events = handle.events();
        let _speaking = speaks(&handle, &ann);
        for _ in 0..2 {
            let lost = event(&mut events).await;
            assert!(matches!(lost, SoundEvent::Lost { .. }), "{lost:?}");
            assert_eq!(event(&mut events).await, SoundEvent::Back, "it is opened again");
        }
        speaker.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pipeline_is_encoded_and_its_end_is_told() {
        let spec = "gst:audiotestsrc is-live=true num-buffers=20 samplesperbuffer=960";
        let sound = Sound::start(&spec.parse().unwrap()).expect("starts").expect("sound");
        let mut events = sound.events();
        let mut listener = sound.listen();
        let first = heard(&mut listener).await;
        assert!(!first.data.is_empty());
        let lost = event(&mut events).await;
        let SoundEvent::Lost { reason } = lost else { panic!("{lost:?}") };
        assert!(reason.contains("the stream ended"), "{reason}");
        assert_eq!(event(&mut events).await, SoundEvent::Back, "it is played again");
        sound.stop().await;
    }

    #[test]
    fn what_gstreamer_does_not_understand_stops_the_start() {
        let error = Sound::start(&"gst:nosuchelement".parse().unwrap()).err().expect("refused");
        assert!(error.to_string().contains("nosuchelement"), "{error}");
        let error = Speaker::start(&"gst:nosuchsink".parse().unwrap()).err().expect("refused");
        assert!(error.to_string().contains("nosuchsink"), "{error}");
    }
}
