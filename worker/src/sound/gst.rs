//! Sound by GStreamer: microphones, recordings and pipelines in, loudspeakers and files out.
//!
//! Names of devices and paths go in as properties and never become words of a pipeline.

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use gstreamer::{self as gst, prelude::*};
use gstreamer_app::{AppSink, AppSinkCallbacks, AppSrc};

use super::{
    Make,
    source::{SoundError, SoundSink, SoundSource},
    spec::{Device, SoundSpec, SpeakerSpec},
};
use crate::media::gst::probe::Playing;

/// Encoded once for all listeners: music and motors as well as voices, and with repair of what is
/// lost on the way.
const ENCODED: &str = "queue leaky=downstream max-size-time=200000000 max-size-buffers=0 \
     max-size-bytes=0 ! audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=[1,2] ! \
     opusenc bitrate=64000 audio-type=generic frame-size=20 inband-fec=true \
     packet-loss-percentage=10 ! appsink name=end max-buffers=8 drop=true";

/// What an operator says: packets in order, what is missing concealed.
const SPOKEN: &str = "appsrc name=begin is-live=true do-timestamp=true format=time max-buffers=64 \
     leaky-type=downstream caps=\"application/x-rtp,media=audio,clock-rate=48000,\
     encoding-name=OPUS,payload=111\" ! rtpjitterbuffer latency=80 do-lost=true ! rtpopusdepay ! \
     opusdec plc=true use-inband-fec=true ! audioconvert ! audioresample";

/// How long the end of a file may take to be written.
const FINISH: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// What makes sources of this kind, once it is known that they can be made.
pub(super) fn source(spec: &SoundSpec) -> Result<Box<Make>, SoundError> {
    build(&source_words(spec), &spec.words())?;
    let spec = spec.clone();
    let make = move || {
        let source = GstSound { spec: spec.clone(), running: None };
        Box::new(source) as Box<dyn SoundSource>
    };
    Ok(Box::new(make))
}

fn source_words(spec: &SoundSpec) -> String {
    let first = match spec {
        SoundSpec::File(_) => "filesrc name=device ! decodebin".to_owned(),
        SoundSpec::Device(None) => "autoaudiosrc".to_owned(),
        SoundSpec::Device(Some(Device::Alsa(_))) => "alsasrc name=device".to_owned(),
        SoundSpec::Device(Some(Device::Pulse(_))) => "pulsesrc name=device".to_owned(),
        SoundSpec::Pipeline(pipeline) => pipeline.clone(),
        SoundSpec::None | SoundSpec::Tone => "audiotestsrc is-live=true".to_owned(),
    };
    format!("{first} ! {ENCODED}")
}

fn speaker_words(spec: &SpeakerSpec) -> String {
    let last = match spec {
        SpeakerSpec::File(_) => "wavenc ! filesink name=device".to_owned(),
        SpeakerSpec::Device(None) | SpeakerSpec::None => "autoaudiosink".to_owned(),
        SpeakerSpec::Device(Some(Device::Alsa(_))) => "alsasink name=device".to_owned(),
        SpeakerSpec::Device(Some(Device::Pulse(_))) => "pulsesink name=device".to_owned(),
        SpeakerSpec::Pipeline(pipeline) => pipeline.clone(),
    };
    format!("{SPOKEN} ! {last}")
}

/// A pipeline that is not played yet.
fn build(words: &str, asked: &str) -> Result<Playing, SoundError> {
    let failed = |reason: String| SoundError::Gstreamer { asked: asked.to_owned(), reason };
    gst::init().map_err(|error| failed(error.message().to_owned()))?;
    let pipeline = gst::parse::launch(words).map_err(|error| failed(error.message().to_owned()))?;
    let pipeline = pipeline.downcast().map_err(|_| failed("it is no pipeline".to_owned()))?;
    Ok(Playing(pipeline))
}

/// What users typed goes into properties.
fn name_device(pipeline: &gst::Pipeline, device: Option<&Device>, path: Option<&std::path::Path>) {
    let Some(element) = pipeline.by_name("device") else { return };
    match (device, path) {
        (Some(Device::Alsa(name) | Device::Pulse(Some(name))), _) => {
            element.set_property("device", name);
        }
        (_, Some(path)) => element.set_property("location", path.display().to_string()),
        _ => {}
    }
}

/// A pipeline as an origin of sound.
struct GstSound {
    spec: SoundSpec,
    running: Option<(gst::Bus, JoinHandle<()>)>,
}

impl SoundSource for GstSound {
    fn start(&mut self, sink: SoundSink) -> Result<(), SoundError> {
        let asked = self.spec.words();
        let failed = |reason: &str| SoundError::Gstreamer {
            asked: asked.clone(),
            reason: reason.to_owned(),
        };
        let playing = build(&source_words(&self.spec), &asked)?;
        let (device, path) = match &self.spec {
            SoundSpec::Device(device) => (device.as_ref(), None),
            SoundSpec::File(path) => (None, Some(path.as_path())),
            _ => (None, None),
        };
        name_device(&playing.0, device, path);
        let end = playing.0.by_name("end").and_then(|end| end.downcast::<AppSink>().ok());
        let end = end.ok_or_else(|| failed("the pipeline has no end"))?;
        let packets = sink.clone();
        let callbacks = AppSinkCallbacks::builder()
            .new_sample(move |from| {
                let sample = from.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
                let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
                let length = buffer.duration().map_or(20_000_000, gst::ClockTime::nseconds);
                packets.packet(Bytes::copy_from_slice(&map), Duration::from_nanos(length));
                Ok(gst::FlowSuccess::Ok)
            })
            .build();
        end.set_callbacks(callbacks);
        let bus = playing.0.bus().ok_or_else(|| failed("the pipeline says nothing"))?;
        let repeats = matches!(self.spec, SoundSpec::File(_));
        let listening = bus.clone();
        let thread = thread::Builder::new().name("sound".to_owned()).spawn(move || {
            if let Err(reason) = play(&playing, &end, &listening, repeats) {
                sink.ended(format!("{asked}: {reason}"));
            }
        });
        self.running = Some((bus, thread.map_err(SoundError::Thread)?));
        Ok(())
    }

    fn stop(&mut self) {
        if let Some((bus, thread)) = self.running.take() {
            let stop = gst::message::Application::new(gst::Structure::new_empty("stop"));
            // A bus that takes nothing belongs to a pipeline that has ended.
            let _ = bus.post(stop);
            if thread.join().is_err() {
                tracing::error!("the thread of the sound had panicked");
            }
        }
    }
}

impl Drop for GstSound {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Plays until told to stop; the reason where it ends before.
fn play(playing: &Playing, end: &AppSink, bus: &gst::Bus, repeats: bool) -> Result<(), String> {
    let pipeline = &playing.0;
    let refused = || playing.reason().unwrap_or_else(|| "it does not start".to_owned());
    // What does not come at its own pace is held to its times.
    let paused = pipeline.set_state(gst::State::Paused).map_err(|_| refused())?;
    end.set_property("sync", paused != gst::StateChangeSuccess::NoPreroll);
    pipeline.set_state(gst::State::Playing).map_err(|_| refused())?;
    loop {
        let Some(message) = bus.timed_pop(None) else { continue };
        match message.view() {
            gst::MessageView::Error(error) => {
                return Err(error.error().message().trim_end_matches('.').to_owned());
            }
            gst::MessageView::Eos(_) if repeats => {
                let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT;
                pipeline
                    .seek_simple(flags, gst::ClockTime::ZERO)
                    .map_err(|_| "it cannot be played again from its beginning")?;
            }
            gst::MessageView::Eos(_) => return Err("the stream ended".to_owned()),
            gst::MessageView::Application(_) => return Ok(()),
            _ => {}
        }
    }
}

/// A loudspeaker, or a file in its place.
pub(super) struct Output {
    playing: Playing,
    begin: AppSrc,
    is_file: bool,
}

impl Output {
    /// Whether there can be such an output.
    pub(super) fn check(spec: &SpeakerSpec) -> Result<(), SoundError> {
        build(&speaker_words(spec), &spec.words()).map(|_| ())
    }

    /// Opens it.
    pub(super) fn open(spec: &SpeakerSpec) -> Result<Self, String> {
        let playing =
            build(&speaker_words(spec), &spec.words()).map_err(|error| error.to_string())?;
        let (device, path) = match spec {
            SpeakerSpec::Device(device) => (device.as_ref(), None),
            SpeakerSpec::File(path) => (None, Some(path.as_path())),
            _ => (None, None),
        };
        name_device(&playing.0, device, path);
        let begin = playing.0.by_name("begin").and_then(|first| first.downcast::<AppSrc>().ok());
        let begin = begin.ok_or("the pipeline has no beginning")?;
        if playing.0.set_state(gst::State::Playing).is_err() {
            let reason = playing.reason().unwrap_or_else(|| "it does not start".to_owned());
            return Err(format!("{}: {reason}", spec.words()));
        }
        Ok(Self { playing, begin, is_file: path.is_some() })
    }

    /// Another voice: what is left of the one before is not played.
    pub(super) fn begin(&self) {
        let _ = self.begin.send_event(gst::event::FlushStart::new());
        let _ = self.begin.send_event(gst::event::FlushStop::new(false));
    }

    /// Plays an RTP packet.
    pub(super) fn play(&self, packet: Vec<u8>) -> Result<(), String> {
        if let Some(reason) = self.playing.reason() {
            return Err(reason.trim_end_matches('.').to_owned());
        }
        let pushed = self.begin.push_buffer(gst::Buffer::from_mut_slice(packet));
        pushed.map(|_| ()).map_err(|_| "it takes no sound".to_owned())
    }
}

impl Drop for Output {
    /// A file gets its end.
    fn drop(&mut self) {
        if self.is_file
            && self.begin.end_of_stream().is_ok()
            && let Some(bus) = self.playing.0.bus()
        {
            let ends = [gst::MessageType::Eos, gst::MessageType::Error];
            let _ = bus.timed_pop_filtered(FINISH, &ends);
        }
    }
}

/// Shared by tests.
#[cfg(test)]
pub(super) fn decoder(path: &std::path::Path) -> Vec<i16> {
    let words = "filesrc name=device ! wavparse ! audioconvert ! \
                 audio/x-raw,format=S16LE,channels=1 ! appsink name=end sync=false";
    let playing = build(words, "a recording").expect("a pipeline");
    name_device(&playing.0, None, Some(path));
    let end = playing.0.by_name("end").and_then(|end| end.downcast::<AppSink>().ok());
    let end = end.expect("an end");
    playing.0.set_state(gst::State::Playing).expect("it plays");
    let mut samples = Vec::new();
    while let Ok(sample) = end.pull_sample() {
        let map = sample.buffer().expect("a buffer").map_readable().expect("readable");
        samples.extend(map.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
    }
    samples
}
