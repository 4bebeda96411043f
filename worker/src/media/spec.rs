//! What a user types after `--video`, and what it means.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use super::{
    SimHandle,
    frame::VideoCodec,
    gst::{self, Encoder, GstSpec, GstSpecError},
    pattern,
    rendition::Renditions,
    rtp::{self, RtpSource},
    sim,
    source::{Source, SourceError},
    supervisor::Supervised,
};

/// Where pictures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// `sim`: the simulated rover.
    Sim,
    /// `pattern`: a moving test card.
    Pattern,
    /// `rtp:PORT` or `rtp:ADDR:PORT`: what another program encodes and sends here.
    Rtp(SocketAddr, VideoCodec),
    /// What GStreamer brings: a camera, RTSP, a film, a pipeline.
    Gst(GstSpec),
    /// `none`: no picture.
    None,
}

impl SourceSpec {
    /// What is accepted, for error messages and help texts.
    pub const ACCEPTED: &str = "sim, pattern, v4l2:/dev/videoN[,width=…,height=…,fps=…,format=…], \
         rtsp://[USER:PASSWORD@]HOST/PATH, file:PATH, gst:PIPELINE, rtp:PORT, rtp:ADDR:PORT (H.264 over \
         RTP, for example rtp:5600; rtp:5600,codec=vp8 for VP8), or none";

    /// What the picture of this source is called where its owner gave it no name; nothing for `none`.
    pub fn track_name(&self) -> Option<&'static str> {
        match self {
            Self::Sim => Some(sim::NAME),
            Self::Pattern => Some(pattern::NAME),
            Self::Rtp(..) => Some(rtp::NAME),
            Self::Gst(spec) => Some(spec.name()),
            Self::None => None,
        }
    }

    /// Whether pictures can be encoded here, so that they are to be had in renditions.
    pub fn is_encoded_here(&self) -> bool {
        !matches!(self, Self::Rtp(..) | Self::None)
    }

    /// The source that this names under its supervisor, not started yet; nothing for `none`. `world` is asked for only
    /// by `sim`, which shows it; `encoder` counts for what GStreamer brings. Where a source [encodes
    /// nothing](Self::is_encoded_here), `renditions` are to be plain.
    pub fn open(
        &self,
        encoder: Option<&'static Encoder>,
        renditions: &Renditions,
        world: impl FnOnce() -> SimHandle,
    ) -> Result<Option<Box<dyn Source>>, SourceError> {
        let source = match self {
            Self::Sim => {
                let (world, renditions) = (world(), renditions.clone());
                Supervised::new(move || Ok(Box::new(sim::source(world.clone(), &renditions))))
            }
            Self::Pattern => {
                let renditions = renditions.clone();
                Supervised::new(move || Ok(Box::new(pattern::source(&renditions))))
            }
            Self::Rtp(addr, codec) => {
                let (addr, codec) = (*addr, *codec);
                Supervised::new(move || Ok(Box::new(RtpSource::new(addr, codec))))
            }
            Self::Gst(spec) => return gst::open(spec, encoder, renditions).map(Some),
            Self::None => return Ok(None),
        };
        Ok(Some(Box::new(source?.in_renditions(renditions))))
    }
}

/// Why a `--video` is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No such kind of source.
    #[error("unknown video source {0:?}; accepted: {accepted}", accepted = SourceSpec::ACCEPTED)]
    Unknown(String),
    /// One of GStreamer's, with something wrong in it.
    #[error(transparent)]
    Gst(#[from] GstSpecError),
    /// The port is no number from 1 to 65535.
    #[error(
        "bad port {0:?} in the video source; it takes a number from 1 to 65535, as in rtp:5600"
    )]
    Port(String),
    /// What stands behind the comma is no codec that is passed on.
    #[error(
        "{0:?} is not understood in the video source; rtp: takes codec=h264 or codec=vp8, as in rtp:5600,codec=vp8"
    )]
    Codec(String),
    /// The address is not an IP address.
    #[error(
        "bad address {0:?} in the video source; it takes an IP address of this machine, as in \
         rtp:0.0.0.0:5600 or rtp:[::1]:5600"
    )]
    Address(String),
}

impl FromStr for SourceSpec {
    type Err = SpecError;

    fn from_str(typed: &str) -> Result<Self, SpecError> {
        if let Some(spec) = GstSpec::parse(typed) {
            return Ok(Self::Gst(spec?));
        }
        match typed {
            "sim" => Ok(Self::Sim),
            "pattern" => Ok(Self::Pattern),
            "none" => Ok(Self::None),
            _ => match typed.strip_prefix("rtp:") {
                Some(rest) => rtp(rest),
                None => Err(SpecError::Unknown(typed.to_owned())),
            },
        }
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sim => f.write_str("sim"),
            Self::Pattern => f.write_str("pattern"),
            Self::Rtp(addr, VideoCodec::H264) => write!(f, "rtp:{addr}"),
            Self::Rtp(addr, codec) => write!(f, "rtp:{addr},codec={}", codec.word()),
            Self::Gst(spec) => write!(f, "{spec}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// What stands behind `rtp:`.
fn rtp(typed: &str) -> Result<SourceSpec, SpecError> {
    let (address_part, codec) = match typed.split_once(',') {
        None => (typed, VideoCodec::H264),
        Some((address, "codec=h264")) => (address, VideoCodec::H264),
        Some((address, "codec=vp8")) => (address, VideoCodec::Vp8),
        Some((_, other)) => return Err(SpecError::Codec(other.to_owned())),
    };
    Ok(SourceSpec::Rtp(address(address_part)?, codec))
}

/// `PORT` or `ADDR:PORT`. A port alone listens on this machine only: a picture from the network must
/// be asked for by naming an address.
fn address(typed: &str) -> Result<SocketAddr, SpecError> {
    let (host, port) = match typed.rsplit_once(':') {
        None => (None, typed),
        Some((host, port)) => (Some(host), port),
    };
    let number = match port.parse::<u16>() {
        Ok(number) if number != 0 => number,
        _ => return Err(SpecError::Port(port.to_owned())),
    };
    let ip = match host {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(host) => {
            let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
            bare.parse().map_err(|_| SpecError::Address(host.to_owned()))?
        }
    };
    Ok(SocketAddr::new(ip, number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        VideoCodec::{H264, Vp8},
        *,
    };

    #[test]
    fn every_accepted_form_is_understood() {
        for (typed, meant) in [
            ("sim", SourceSpec::Sim),
            ("pattern", SourceSpec::Pattern),
            ("none", SourceSpec::None),
            ("rtp:5600", SourceSpec::Rtp(([127, 0, 0, 1], 5600).into(), H264)),
            ("rtp:5600,codec=h264", SourceSpec::Rtp(([127, 0, 0, 1], 5600).into(), H264)),
            (
                "rtp:[::]:5600,codec=vp8",
                SourceSpec::Rtp(SocketAddr::new("::".parse().unwrap(), 5600), Vp8),
            ),
            (
                "gst:videotestsrc ! x264enc",
                SourceSpec::Gst(GstSpec::Pipeline("videotestsrc ! x264enc".to_owned())),
            ),
            ("rtp:0.0.0.0:5600", SourceSpec::Rtp(([0, 0, 0, 0], 5600).into(), H264)),
            (
                "rtp:[::1]:5600",
                SourceSpec::Rtp(SocketAddr::new("::1".parse().unwrap(), 5600), H264),
            ),
        ] {
            assert_eq!(typed.parse(), Ok(meant), "{typed}");
        }
    }

    #[test]
    fn what_is_not_understood_is_told_with_what_is_accepted() {
        for (typed, said) in [
            ("", "accepted: sim"),
            ("Sim", "unknown video source \"Sim\""),
            ("/dev/video0", "accepted: sim, pattern, v4l2:"),
            ("rtp:", "bad port \"\""),
            ("rtp:0", "from 1 to 65535"),
            ("rtp:65536", "bad port \"65536\""),
            ("rtp:5600,codec=vp9", "codec=h264 or codec=vp8"),
            ("rtp:5600,vp8", "\"vp8\" is not understood"),
            ("rtp:robot.local:5600", "bad address \"robot.local\""),
        ] {
            let error = typed.parse::<SourceSpec>().unwrap_err().to_string();
            assert!(error.contains(said), "{typed}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_typed_panics_and_what_is_shown_can_be_typed_again(typed in ".{0,40}", port in 1u16..) {
            let _ = typed.parse::<SourceSpec>();
            for codec in [H264, Vp8] {
                let spec = SourceSpec::Rtp(([10, 0, 0, 1], port).into(), codec);
                prop_assert_eq!(spec.to_string().parse(), Ok(spec));
            }
        }
    }
}
