//! From what a user typed to the words of a GStreamer pipeline. Pure: what is typed by the user goes
//! into properties, not into the words, except where the words are what is typed.

use super::{
    encoders::{self, Encoder},
    modes::Mode,
    spec::{CameraFormat, GstSpec},
};

/// What may come out of a source, the forms that cost least first.
const ACCEPTED: &str = "video/x-raw,format=(string){I420,NV12,YV12,YUY2,UYVY};video/x-raw;\
     video/x-raw(memory:NVMM);video/x-h264;image/jpeg;video/x-vp8;video/x-vp9;video/x-h265;\
     video/x-av1;video/mpeg";

/// The source up to an element called `out`; what it gives decides how it goes on, see [`Form`].
/// Elements called `source` want their address as a property.
pub fn source(spec: &GstSpec, mode: Option<&Mode>) -> String {
    let first = match spec {
        GstSpec::Camera(_) => match mode {
            Some(mode) => format!("v4l2src name=source ! {}", caps(mode)),
            None => "v4l2src name=source".to_owned(),
        },
        GstSpec::Rtsp(rtsp) => {
            // A camera's key frame comes as a burst; over UDP packets may be out of order.
            let (protocols, latency) = match rtsp.url.scheme() {
                "rtspu" => ("udp", 60),
                _ => ("tcp", 0),
            };
            format!(
                "rtspsrc name=source protocols={protocols} latency={latency} tcp-timeout=5000000 \
                 timeout=5000000 ! application/x-rtp,media=video ! parsebin"
            )
        }
        GstSpec::File(_) => "filesrc name=source ! decodebin".to_owned(),
        GstSpec::Pipeline(pipeline) => pipeline.clone(),
    };
    format!("{first} ! capsfilter name=out caps=\"{ACCEPTED}\"")
}

/// What a source gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Raw pictures: encoded here.
    Raw,
    /// H.264: passed on as it is.
    H264,
    /// VP8: passed on as it is.
    Vp8,
    /// JPEG pictures: each is decoded, and encoded here.
    Jpeg,
    /// Anything else: decoded and encoded here.
    Other,
}

impl Form {
    /// By the name of a format, as in `video/x-raw`.
    pub fn of(media: &str) -> Self {
        match media {
            "video/x-raw" => Self::Raw,
            "video/x-h264" => Self::H264,
            "video/x-vp8" => Self::Vp8,
            "image/jpeg" => Self::Jpeg,
            _ => Self::Other,
        }
    }

    /// Whether it is encoded here, so that rate and key frames are ours.
    pub fn is_encoded_here(self) -> bool {
        !matches!(self, Self::H264 | Self::Vp8)
    }
}

/// What comes behind `out`, up to the sinks: from `first`, or `pace` where there is none, to `last0` and
/// so on, one for each rendition. An element called `gate` is closed while nobody watches; of
/// several renditions each has one more, `gate0` and so on. One called `pace` holds pictures back that come
/// faster than their time.
///
/// The queue of one that leaks is where a slow encoder loses pictures: the oldest.
pub fn rest(form: Form, encoder: &Encoder, renditions: usize) -> String {
    const NEWEST: &str =
        "queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0";
    const PACE: &str = "clocksync name=pace sync=false";
    const GATE: &str = "valve name=gate drop=true";
    let raw = match form {
        Form::Raw => format!("{PACE} ! {GATE} ! {NEWEST}"),
        Form::Jpeg => format!("{PACE} ! {GATE} ! {NEWEST} ! jpegdec"),
        Form::Other => format!("decodebin name=first ! {PACE} ! {GATE} ! {NEWEST}"),
        Form::H264 => return format!("{PACE} ! {}", encoders::parsed(0)),
        Form::Vp8 => return format!("{PACE} ! capsfilter name=last0 caps=video/x-vp8"),
    };
    if renditions == 1 {
        return format!("{raw} ! {}", encoders::chain(encoder, 0));
    }
    let branch = |number| {
        let encoded = encoders::chain(encoder, number);
        format!(" split. ! valve name=gate{number} drop=true ! {NEWEST} ! {encoded}")
    };
    format!("{raw} ! tee name=split{}", (0..renditions).map(branch).collect::<String>())
}

/// A camera's mode as GStreamer writes it.
fn caps(mode: &Mode) -> String {
    let media = match mode.format {
        CameraFormat::Raw => "video/x-raw",
        CameraFormat::Mjpeg => "image/jpeg",
        CameraFormat::H264 => "video/x-h264",
    };
    let pixels = mode.pixels.as_ref().map(|format| format!(",format={format}")).unwrap_or_default();
    let fps = mode.fps.map(|(n, d)| format!(",framerate={n}/{d}")).unwrap_or_default();
    format!("{media}{pixels},width={},height={}{fps}", mode.width, mode.height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::gst::encoders::{ENCODERS, OWN, named};

    fn spec(typed: &str) -> GstSpec {
        GstSpec::parse(typed).expect("one of these").expect("understood")
    }

    #[test]
    fn what_users_type_stays_out_of_the_words_of_the_pipeline() {
        for typed in [
            "v4l2:/dev/video0 ! filesink location=x,width=4",
            "rtsp://u:secret@host/ ! fakesink",
            "file:/tmp/a ! fakesink",
        ] {
            let words = source(&spec(typed), None);
            assert!(!words.contains("sink") && !words.contains("secret"), "{words}");
        }
        assert!(
            source(&spec("gst:videotestsrc ! x264enc"), None)
                .starts_with("videotestsrc ! x264enc ! caps")
        );
    }

    #[test]
    fn a_cameras_mode_is_asked_for_as_it_was_chosen() {
        let mode = Mode {
            format: CameraFormat::Raw,
            pixels: Some("NV12".to_owned()),
            width: 1280,
            height: 720,
            fps: Some((30, 1)),
        };
        let words = source(&spec("v4l2:/dev/video0"), Some(&mode));
        assert!(
            words.contains("! video/x-raw,format=NV12,width=1280,height=720,framerate=30/1 !"),
            "{words}"
        );
    }

    #[test]
    fn tcp_is_taken_unless_udp_is_asked_for() {
        assert!(source(&spec("rtsp://h/"), None).contains("protocols=tcp latency=0"));
        assert!(source(&spec("rtspu://h/"), None).contains("protocols=udp"));
    }

    #[test]
    fn h264_is_passed_on_and_everything_else_is_encoded_behind_a_gate_and_a_queue_that_leaks() {
        let x264 = named("x264enc").expect("known");
        for form in [Form::H264, Form::Vp8] {
            assert!(!rest(form, x264, 1).contains("x264enc") && !form.is_encoded_here());
        }
        for form in [Form::Raw, Form::Jpeg, Form::Other] {
            for encoder in ENCODERS {
                let words = rest(form, encoder, 1);
                let gate = words.find("name=gate").expect("a gate");
                assert!(gate < words.find("leaky=downstream").expect("a queue"), "{words}");
                assert_eq!(words.contains("name=encoder0"), encoder.name != OWN);
                let words = rest(form, encoder, 3);
                let count = |what: &str| words.matches(what).count();
                assert_eq!((count("split. ! valve"), count("name=last")), (3, 3), "{words}");
            }
        }
        assert_eq!(Form::of("video/x-vp9"), Form::Other);
    }
}
