//! Makes frames of what comes out of a pipeline.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gstreamer::{self as gst, prelude::*};
use gstreamer_app::AppSink;
use halyard_protocol::channel::VideoInfo;

use super::{description::Form, own::Own, run::Shared};
use crate::media::{
    frame::{EncodedFrame, VideoCodec},
    h264::{NalKind, geometry, looks_ahead, nals},
    source::{Sink, SourceEvent},
    vp8,
};

/// A picture that claims to have been on its way for longer than this has a clock of its own.
const LONGEST_WAY: Duration = Duration::from_secs(1);

/// Behind the last element: called on the pipeline's own thread.
pub(super) struct Outlet {
    shared: Arc<Shared>,
    sink: Arc<dyn Sink>,
    rendition: usize,
    /// The encoder in this program, where pictures come raw.
    own: Option<Own>,
    codec: VideoCodec,
    /// Encoded elsewhere: what is unusual has to be told.
    is_foreign: bool,
    /// What was read last: a parameter set, or the beginning of a key frame of VP8.
    sps: Vec<u8>,
    told_ahead: bool,
}

impl Outlet {
    pub(super) fn new(
        shared: Arc<Shared>,
        sink: Arc<dyn Sink>,
        own: Option<Own>,
        (form, rendition): (Form, usize),
    ) -> Self {
        let codec = if form == Form::Vp8 { VideoCodec::Vp8 } else { VideoCodec::H264 };
        let is_foreign = !form.is_encoded_here();
        let (sps, told_ahead) = (Vec::new(), false);
        Self { shared, sink, rendition, own, codec, is_foreign, sps, told_ahead }
    }

    /// One more sample.
    pub(super) fn take(&mut self, from: &AppSink) -> Result<gst::FlowSuccess, gst::FlowError> {
        let sample = from.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let buffer = sample.buffer().ok_or(gst::FlowError::Error)?;
        let now = Instant::now();
        let time = sample
            .segment()
            .and_then(|segment| segment.downcast_ref::<gst::ClockTime>())
            .zip(buffer.pts())
            .and_then(|(segment, pts)| segment.to_running_time(pts));
        let way = time.zip(from.current_running_time()).map(|(then, now)| {
            Duration::from_nanos(now.nseconds().saturating_sub(then.nseconds()))
        });
        let captured = way
            .filter(|way| *way < LONGEST_WAY)
            .and_then(|way| now.checked_sub(way))
            .unwrap_or(now);
        // Without a time of its own a picture is as old as its arrival.
        let ns = time.map_or_else(|| self.shared.age(now), gst::ClockTime::nseconds);
        let rtp_time = (u128::from(ns) * 9 / 100_000) as u32;

        let due = self.shared.keyframe_due(self.rendition, now);
        let (data, is_key) = if let Some(own) = &mut self.own {
            let rate = self.shared.rate(self.rendition);
            match own.encode(&sample, ns / 1_000_000, due, rate, now) {
                Ok(Some(encoded)) => (Bytes::from(encoded.data), encoded.is_key),
                Ok(None) => {
                    self.shared.skipped();
                    return Ok(gst::FlowSuccess::Ok);
                }
                Err(reason) => {
                    let words = gst::error_msg!(gst::StreamError::Encode, ("{reason}"));
                    from.post_error_message(words);
                    return Err(gst::FlowError::Error);
                }
            }
        } else {
            if due {
                self.shared.ask_encoder(self.rendition, now);
            }
            let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
            let is_key = match self.codec {
                VideoCodec::H264 => nals(&map).any(|nal| NalKind::of(nal) == NalKind::Idr),
                VideoCodec::Vp8 => vp8::is_key(&map),
            };
            (Bytes::copy_from_slice(&map), is_key)
        };
        self.look(&data, is_key, &sample);
        if is_key {
            self.shared.keyframe_made(self.rendition, now);
        }
        self.shared.encoded(self.is_foreign);
        let (rendition, codec) = (self.rendition, self.codec);
        self.sink.frame(EncodedFrame { rendition, codec, data, is_key, captured, rtp_time });
        Ok(gst::FlowSuccess::Ok)
    }

    /// Tells what became known of the picture.
    fn look(&mut self, data: &[u8], is_key: bool, sample: &gst::Sample) {
        if self.codec == VideoCodec::Vp8 {
            return self.look_at_vp8(data, sample);
        }
        if is_key {
            let Some(sps) = nals(data).find(|nal| NalKind::of(nal) == NalKind::Sps) else { return };
            if self.sps == sps {
                return;
            }
            sps.clone_into(&mut self.sps);
            let Some(read) = geometry(sps) else { return };
            // What is made smaller here is still a picture of the source's size.
            let full = self.shared.full();
            let is_known = !self.is_foreign && full.width > 0 && full.height > 0;
            let size = if is_known { (full.width, full.height) } else { (read.width, read.height) };
            let before = self.shared.info();
            let info = VideoInfo {
                codec: "h264".to_owned(),
                width: size.0,
                height: size.1,
                fps: rate(sample).or(read.fps).unwrap_or(0.0),
                ..before.clone()
            };
            if info != before {
                self.shared.set_info(info.clone());
                self.sink.event(SourceEvent::Info(info));
            }
            if !read.ordinary {
                let reason = "Browsers do not show this H.264: it has more than 8 bits or is not \
                              4:2:0. Choose another profile (Main, Baseline) where it is encoded.";
                self.sink.event(SourceEvent::Unfit { reason: reason.to_owned() });
            }
        } else if self.is_foreign
            && !self.told_ahead
            && nals(data).any(|nal| looks_ahead(nal) == Some(true))
        {
            self.told_ahead = true;
            let reason = "This H.264 has B-frames, which come late and stutter in browsers. Turn \
                          them off in the camera's settings, or choose its Baseline profile.";
            self.sink.event(SourceEvent::Unfit { reason: reason.to_owned() });
        }
    }

    fn look_at_vp8(&mut self, data: &[u8], sample: &gst::Sample) {
        let Some(size) = vp8::size(data) else { return };
        let begins = &data[..vp8::HEADER];
        if self.sps.get(vp8::SIZE) == begins.get(vp8::SIZE) {
            return;
        }
        begins.clone_into(&mut self.sps);
        let info = VideoInfo {
            codec: "vp8".to_owned(),
            width: size.0,
            height: size.1,
            fps: rate(sample).unwrap_or(0.0),
            ..self.shared.info()
        };
        self.shared.set_info(info.clone());
        self.sink.event(SourceEvent::Info(info));
    }
}

/// Pictures a second, where the pipeline knows.
fn rate(sample: &gst::Sample) -> Option<f32> {
    let rate = sample.caps()?.structure(0)?.get::<gst::Fraction>("framerate").ok()?;
    (rate.numer() > 0).then(|| rate.numer() as f32 / rate.denom().max(1) as f32)
}
