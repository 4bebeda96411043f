//! From datagrams to pictures that a newcomer's decoder can start on: all the rules of the RTP
//! source, without its socket and its clock.
//!
//! * One sender at a time. Another one (another SSRC) is followed once the current one has been
//!   silent for [`TAKEOVER`]: that is a restart, and everything begins anew, except that time goes on.
//! * Every key frame of H.264 carries the parameter sets, cached where the sender does not repeat them. Before
//!   the first key frame nothing comes out.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    depacketize::{AccessUnit, Depacketizer},
    packet::Packet,
    reorder::{Ordered, Reorder},
    vp8,
};
use crate::media::{
    frame::{EncodedFrame, VideoCodec},
    h264::{Geometry, NalKind, ParameterSets, annex_b, geometry, looks_ahead},
    vp8 as format,
};

/// A sender silent for this long has lost its place to another.
pub const TAKEOVER: Duration = Duration::from_millis(300);

/// Ticks of RTP time in a second.
const CLOCK: u64 = 90_000;

/// What came out of a datagram.
#[derive(Debug)]
pub enum Output {
    /// A picture.
    Frame(EncodedFrame),
    /// The picture's size became known or changed.
    Geometry(Geometry),
    /// Another sender took over.
    Restarted,
    /// Browsers will not show this stream well. Told once per sender and reason.
    Unfit(Unfit),
}

/// What browsers do not show well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// More than 8 bits, or colour at more than half the resolution: not shown at all.
    Format,
    /// Pictures that look ahead (B-frames): shown late or out of order.
    LooksAhead,
}

/// What was seen so far, to say what is wrong when no picture comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Datagrams of any kind.
    pub datagrams: u64,
    /// RTP packets among them.
    pub packets: u64,
    /// Whole pictures in them.
    pub units: u64,
    /// Pictures passed on.
    pub frames: u64,
}

/// One sender's stream after another.
#[derive(Debug, Default)]
pub struct Stream {
    codec: VideoCodec,
    sender: Option<Sender>,
    sets: ParameterSets,
    geometry: Option<Geometry>,
    /// Whether a key frame has come out since the stream began.
    running: bool,
    /// The last picture's presentation time as it was told, and when that was.
    told: Option<(u32, Instant)>,
    /// Added to the sender's timestamps.
    offset: u32,
    seen: Seen,
    ordered: Vec<Ordered>,
    units: Vec<AccessUnit>,
    vp8_frames: Vec<vp8::Frame>,
}

#[derive(Debug)]
struct Sender {
    ssrc: u32,
    heard: Instant,
    reorder: Reorder,
    parts: Parts,
    /// No picture of it was passed on yet.
    fresh: bool,
    /// It was told that its pictures look ahead.
    told: bool,
}

/// Pictures that are being put together.
#[derive(Debug)]
enum Parts {
    H264(Depacketizer),
    Vp8(vp8::Depacketizer),
}

impl Parts {
    fn new(codec: VideoCodec) -> Self {
        match codec {
            VideoCodec::H264 => Self::H264(Depacketizer::default()),
            VideoCodec::Vp8 => Self::Vp8(vp8::Depacketizer::default()),
        }
    }
}

impl Stream {
    /// Nothing yet, of this codec.
    pub fn new(codec: VideoCodec) -> Self {
        Self { codec, ..Self::default() }
    }

    /// One datagram as it came.
    pub fn datagram(&mut self, datagram: &Bytes, now: Instant, out: &mut Vec<Output>) {
        self.seen.datagrams += 1;
        let Some(packet) = Packet::parse(datagram) else { return };
        self.seen.packets += 1;
        let restarted = match &self.sender {
            Some(sender) if sender.ssrc == packet.ssrc => false,
            Some(sender) if now.saturating_duration_since(sender.heard) < TAKEOVER => return,
            Some(_) => {
                out.push(Output::Restarted);
                true
            }
            None => true,
        };
        if restarted {
            self.sets.clear();
            self.running = false;
        }
        let sender = match &mut self.sender {
            Some(sender) if !restarted => sender,
            none => none.insert(Sender {
                ssrc: packet.ssrc,
                heard: now,
                reorder: Reorder::default(),
                parts: Parts::new(self.codec),
                fresh: true,
                told: false,
            }),
        };
        sender.heard = now;
        sender.reorder.push(packet, now, &mut self.ordered);
        for packet in self.ordered.drain(..) {
            match &mut sender.parts {
                Parts::H264(parts) => parts.push(packet, &mut self.units),
                Parts::Vp8(parts) => parts.push(packet, &mut self.vp8_frames),
            }
        }
        let (mut units, mut frames) =
            (std::mem::take(&mut self.units), std::mem::take(&mut self.vp8_frames));
        units.drain(..).for_each(|unit| self.unit(&unit, now, out));
        frames.drain(..).for_each(|frame| self.vp8_frame(frame, now, out));
        (self.units, self.vp8_frames) = (units, frames);
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen
    }

    fn unit(&mut self, unit: &AccessUnit, now: Instant, out: &mut Vec<Output>) {
        let slice = |nal: &&Bytes| matches!(NalKind::of(nal), NalKind::Slice | NalKind::Idr);
        let first_slice = unit.nals.iter().find(slice);
        self.seen.units += u64::from(first_slice.is_some());
        for nal in &unit.nals {
            if self.sets.see(nal)
                && let Some(read) = geometry(nal)
                && self.geometry.replace(read) != Some(read)
            {
                out.push(Output::Geometry(read));
                if !read.ordinary {
                    out.push(Output::Unfit(Unfit::Format));
                }
            }
        }
        let is_key = unit.is_idr();
        if is_key && self.sets.complete() {
            self.running = true;
        }
        let Some(first_slice) = first_slice.filter(|_| self.running) else { return };
        if let Some(sender) = &mut self.sender
            && !sender.told
            && looks_ahead(first_slice) == Some(true)
        {
            sender.told = true;
            out.push(Output::Unfit(Unfit::LooksAhead));
        }
        let rtp_time = self.time(unit.timestamp, now);
        let data = if is_key {
            // All the sets first, and then the picture without its own.
            let set = |nal: &&Bytes| matches!(NalKind::of(nal), NalKind::Sps | NalKind::Pps);
            let rest = unit.nals.iter().filter(|nal| !set(nal));
            annex_b(self.sets.all().chain(rest))
        } else {
            annex_b(&unit.nals)
        };
        self.seen.frames += 1;
        let codec = VideoCodec::H264;
        out.push(Output::Frame(EncodedFrame {
            rendition: 0,
            codec,
            data,
            is_key,
            captured: now,
            rtp_time,
        }));
    }

    fn vp8_frame(&mut self, frame: vp8::Frame, now: Instant, out: &mut Vec<Output>) {
        self.seen.units += 1;
        let is_key = format::is_key(&frame.data);
        if let Some((width, height)) = format::size(&frame.data) {
            self.running = true;
            let read = Geometry { width, height, fps: None, ordinary: true };
            if self.geometry.replace(read) != Some(read) {
                out.push(Output::Geometry(read));
            }
        }
        if self.running {
            self.seen.frames += 1;
            let rtp_time = self.time(frame.timestamp, now);
            let (codec, data) = (VideoCodec::Vp8, frame.data);
            out.push(Output::Frame(EncodedFrame {
                rendition: 0,
                codec,
                data,
                is_key,
                captured: now,
                rtp_time,
            }));
        }
    }

    /// The sender's timestamp, moved so that time never jumps when a sender is replaced.
    fn time(&mut self, timestamp: u32, now: Instant) -> u32 {
        if let Some(sender) = &mut self.sender
            && std::mem::take(&mut sender.fresh)
        {
            let expected = self.told.map_or(0, |(time, at)| {
                let passed = now.saturating_duration_since(at).as_micros() as u64;
                time.wrapping_add((passed * CLOCK / 1_000_000) as u32)
            });
            self.offset = expected.wrapping_sub(timestamp);
        }
        let time = timestamp.wrapping_add(self.offset);
        self.told = Some((time, now));
        time
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
