//! Finds the encoder that really starts.
//!
//! An element may be installed where its hardware, its driver or its licence is missing, and says so
//! only when it works. So each candidate has to encode a few pictures.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use gstreamer::{self as gst, prelude::*};
use gstreamer_app::AppSink;
use tracing::{debug, info};

use super::encoders::{self, ENCODERS, Encoder, OWN};
use crate::media::{
    encoder::{DEFAULT_BITRATE, H264Encoder},
    h264::{NalKind, nals},
    picture::{Picture, Size},
};

/// How long an encoder may take for its first pictures: graphics cards wake slowly.
const PATIENCE: Duration = Duration::from_secs(4);

/// Pictures to encode.
const PICTURES: u32 = 5;

/// The encoder in use, found once and kept until it fails.
#[derive(Debug)]
pub struct Found {
    wish: Option<&'static Encoder>,
    found: Mutex<Option<&'static Encoder>>,
}

impl Found {
    /// Nothing found yet; `wish` is the only one that is accepted, where there is a wish.
    pub fn new(wish: Option<&'static Encoder>) -> Self {
        Self { wish, found: Mutex::default() }
    }

    /// The wished encoder, or the best that starts. The reason where the wished one does not.
    pub fn choose(&self) -> Result<&'static Encoder, String> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoder) = *found {
            return Ok(encoder);
        }
        let chosen = match self.wish {
            Some(wish) => {
                let says = |why| format!("the encoder {} does not start: {why}", wish.name);
                try_out(wish).map(|()| wish).map_err(says)?
            }
            None => best()?,
        };
        info!(encoder = chosen.name, about = chosen.about, "encoder");
        *found = Some(chosen);
        Ok(chosen)
    }

    /// The encoder failed: look again before the next use.
    pub fn forget(&self) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn best() -> Result<&'static Encoder, String> {
    let mut why = String::new();
    for encoder in ENCODERS {
        match try_out(encoder) {
            Ok(()) => return Ok(encoder),
            Err(reason) => {
                debug!(encoder = encoder.name, reason, "does not start");
                why = reason;
            }
        }
    }
    Err(format!("no encoder starts; the last one says: {why}"))
}

/// Whether an encoder encodes; the reason where it does not. GStreamer must be initialised.
pub fn try_out(encoder: &Encoder) -> Result<(), String> {
    if encoder.name == OWN {
        let size = Size { width: 640, height: 360 };
        let mut own = H264Encoder::new(size, 30.0, DEFAULT_BITRATE).map_err(|e| e.to_string())?;
        let encoded = own.encode(&Picture::new(size), 0, true).map_err(|e| e.to_string())?;
        return encoded.map(|_| ()).ok_or_else(|| "it made nothing of a picture".to_owned());
    }
    if gst::ElementFactory::find(encoder.name).is_none() {
        return Err("not installed".to_owned());
    }
    let words = format!(
        "videotestsrc num-buffers={PICTURES} ! video/x-raw,width=640,height=360,framerate=30/1 ! \
         {} ! appsink name=sink sync=false",
        encoders::chain(encoder, 0)
    );
    let pipeline = gst::parse::launch(&words).map_err(|error| error.message().to_owned())?;
    let pipeline = Playing(pipeline.downcast().map_err(|_| "not a pipeline".to_owned())?);
    let element = pipeline.0.by_name("encoder0").ok_or("it is not in its pipeline")?;
    configure(&element, encoder, DEFAULT_BITRATE);
    let sink = pipeline.0.by_name("sink").and_then(|sink| sink.downcast::<AppSink>().ok());
    let sink = sink.ok_or("there is no sink")?;
    if pipeline.0.set_state(gst::State::Playing).is_err() {
        return Err(pipeline.reason().unwrap_or_else(|| "it does not start".to_owned()));
    }
    let until = Instant::now() + PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let step = gst::ClockTime::from_mseconds(200.min(left.as_millis() as u64));
        if let Some(sample) = sink.try_pull_sample(step) {
            let map = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
            if map.is_some_and(|map| is_whole(&map)) {
                return Ok(());
            }
        } else if let Some(reason) = pipeline.reason() {
            return Err(reason);
        } else if sink.is_eos() {
            return Err("it gave no key frame with parameter sets".to_owned());
        } else if left.is_zero() {
            return Err(format!("it gave nothing within {} s", PATIENCE.as_secs()));
        }
    }
}

/// A key frame with what a decoder needs.
fn is_whole(unit: &[u8]) -> bool {
    let has = |kind| nals(unit).any(|nal| NalKind::of(nal) == kind);
    has(NalKind::Sps) && has(NalKind::Pps) && has(NalKind::Idr)
}

/// Sets what an encoder's table asks for, where the element has it and takes it.
pub fn configure(element: &gst::Element, encoder: &Encoder, bps: u32) {
    for (property, value) in encoder.settings {
        set(element, property, value);
    }
    set_rate(element, encoder, bps);
}

/// Tells an encoder its rate, also while it runs.
pub fn set_rate(element: &gst::Element, encoder: &Encoder, bps: u32) {
    let (property, value) = encoder.rate.setting(bps);
    set(element, property, &value);
}

fn set(element: &gst::Element, property: &str, value: &str) {
    let Some(spec) = element.find_property(property) else {
        debug!(element = %element.name(), property, "the element does not have it");
        return;
    };
    match gst::glib::Value::deserialize(value, spec.value_type()) {
        Ok(value) => element.set_property(property, value),
        Err(_) => {
            debug!(element = %element.name(), property, value, "the element does not take it");
        }
    }
}

/// Stops a pipeline whatever the way out.
pub struct Playing(pub gst::Pipeline);

impl Playing {
    /// What went wrong in it, if anything did.
    pub fn reason(&self) -> Option<String> {
        let message = self.0.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        Some(error.error().message().to_owned())
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        // A pipeline that cannot be stopped is gone already.
        let _ = self.0.set_state(gst::State::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_counts_only_when_it_really_encodes() {
        gst::init().expect("GStreamer");
        let own = encoders::named(OWN).expect("known");
        assert_eq!(try_out(own), Ok(()));
        let x264 = encoders::named("x264enc").expect("known");
        assert_eq!(try_out(x264), Ok(()), "install gstreamer1.0-plugins-ugly and -bad");
        // A decoder is no encoder, however it is configured.
        let wrong = Encoder { name: "identity", ..*x264 };
        assert!(try_out(&wrong).is_err());
        let missing = Encoder { name: "nosuchenc", ..*x264 };
        assert_eq!(try_out(&missing), Err("not installed".to_owned()));
    }

    #[test]
    fn a_wish_is_followed_and_the_best_is_found_once() {
        static BROKEN: Encoder = Encoder { name: "nosuchenc", ..ENCODERS[0] };
        gst::init().expect("GStreamer");
        let found = Found::new(encoders::named(OWN));
        assert_eq!(found.choose().map(|encoder| encoder.name), Ok(OWN));
        let any = Found::new(None);
        let best = any.choose().expect("ours starts always");
        assert_eq!(any.choose(), Ok(best));
        let error = Found::new(Some(&BROKEN)).choose().expect_err("not there");
        assert!(error.contains("nosuchenc does not start: not installed"), "{error}");
    }
}
