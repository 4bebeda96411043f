//! The H.264 encoders that are known, and how each is made fast to react.
//!
//! Best first: hardware before software. What an encoder is called and can do differs between
//! releases, so a setting is made where the element has it. Whether an encoder is there says little:
//! one is taken only after it has [really encoded](super::probe) a few pictures.
//!
//! The settings want the same of each: no pictures that look ahead, nothing held back, a constant
//! rate, and key frames only when asked for.

/// An encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoder {
    /// What it is called here and on the command line; GStreamer's element, but for [`OWN`].
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// What brings raw pictures into their size and format before it.
    pub before: &'static str,
    /// The format that it takes.
    pub format: &'static str,
    /// Whether pictures may become smaller or larger while it runs. Where not, they keep their size.
    pub reshapes: bool,
    /// Properties and their values, set where the element has them.
    pub settings: &'static [(&'static str, &'static str)],
    /// How it is told its rate.
    pub rate: Rate,
    /// What its pictures must be, so that every browser decodes them.
    pub after: &'static str,
}

/// How an encoder is told its rate, also while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// A property in bits a second.
    Bits(&'static str),
    /// A property in 1000 bits a second.
    Kilobits(&'static str),
    /// A V4L2 control.
    Control,
}

impl Rate {
    /// The property and its value for so many bits a second.
    pub fn setting(self, bps: u32) -> (&'static str, String) {
        match self {
            Self::Bits(property) => (property, bps.to_string()),
            Self::Kilobits(property) => (property, (bps / 1_000).max(1).to_string()),
            Self::Control => (
                "extra-controls",
                // The whole list each time: setting it replaces what was there.
                format!(
                    "controls,video_bitrate={bps},video_bitrate_mode=1,repeat_sequence_header=1,\
                     video_b_frames=0,h264_i_frame_period=2147483647"
                ),
            ),
        }
    }
}

/// The encoder in this program, which is always there.
pub const OWN: &str = "openh264";

/// In memory of the processor; what is made smaller first is less to convert.
const SCALED: &str = "videoscale ! videoconvert";
const NV12: &str = "video/x-raw,format=NV12";
const I420: &str = "video/x-raw,format=I420";
const BASELINE: &str = "video/x-h264,profile=constrained-baseline";

/// All that are known, best first.
pub const ENCODERS: &[Encoder] = &[
    Encoder {
        name: "nvv4l2h264enc",
        about: "NVIDIA Jetson",
        before: "nvvidconv",
        format: "video/x-raw(memory:NVMM),format=NV12",
        reshapes: true,
        settings: &[
            ("maxperf-enable", "true"),
            ("preset-level", "1"),
            ("control-rate", "1"),
            ("num-B-Frames", "0"),
            ("idrinterval", "100000"),
            ("iframeinterval", "100000"),
            ("insert-sps-pps", "true"),
            ("poc-type", "2"),
        ],
        rate: Rate::Bits("bitrate"),
        after: "video/x-h264",
    },
    Encoder {
        name: "nvh264enc",
        about: "NVIDIA graphics card",
        before: SCALED,
        format: NV12,
        reshapes: true,
        settings: &[
            ("preset", "low-latency-hp"),
            ("preset", "p2"),
            ("tune", "ultra-low-latency"),
            ("zerolatency", "true"),
            ("rc-mode", "cbr"),
            ("gop-size", "-1"),
            ("bframes", "0"),
            ("rc-lookahead", "0"),
        ],
        rate: Rate::Kilobits("bitrate"),
        after: BASELINE,
    },
    Encoder {
        name: "vah264enc",
        about: "Intel or AMD graphics (VA-API)",
        before: SCALED,
        format: NV12,
        reshapes: true,
        settings: &[
            ("rate-control", "cbr"),
            ("b-frames", "0"),
            ("ref-frames", "1"),
            ("target-usage", "6"),
            ("key-int-max", "1024"),
        ],
        rate: Rate::Kilobits("bitrate"),
        after: "video/x-h264",
    },
    Encoder {
        name: "vaapih264enc",
        about: "Intel or AMD graphics (VA-API, older plugin)",
        before: SCALED,
        format: NV12,
        reshapes: true,
        settings: &[
            ("rate-control", "cbr"),
            ("max-bframes", "0"),
            ("refs", "1"),
            ("keyframe-period", "1024"),
        ],
        rate: Rate::Kilobits("bitrate"),
        after: "video/x-h264",
    },
    Encoder {
        name: "v4l2h264enc",
        about: "the processor's own encoder (V4L2, Raspberry Pi and others)",
        before: SCALED,
        format: NV12,
        // Drivers want to be closed and opened for another size.
        reshapes: false,
        settings: &[],
        rate: Rate::Control,
        after: "video/x-h264,level=(string)4",
    },
    Encoder {
        name: "x264enc",
        about: "software (x264)",
        before: SCALED,
        format: I420,
        reshapes: true,
        settings: &[
            ("tune", "zerolatency"),
            ("speed-preset", "superfast"),
            ("bframes", "0"),
            ("key-int-max", "2147483647"),
            // A key frame may take this long to send, and delays what follows no longer.
            ("vbv-buf-capacity", "200"),
            ("aud", "false"),
            ("option-string", "scenecut=0:keyint=infinite"),
        ],
        rate: Rate::Kilobits("bitrate"),
        after: BASELINE,
    },
    Encoder {
        name: OWN,
        about: "software, part of this program",
        before: SCALED,
        format: I420,
        reshapes: true,
        settings: &[],
        rate: Rate::Bits(""),
        after: "",
    },
];

/// The encoder of a name.
pub fn named(name: &str) -> Option<&'static Encoder> {
    ENCODERS.iter().find(|encoder| encoder.name == name)
}

impl Encoder {
    /// The format of pictures for it, of this size where they are not to keep theirs.
    pub fn caps(&self, size: Option<(u32, u32)>) -> String {
        let size = size.map(|(width, height)| format!(",width={width},height={height}"));
        format!("{}{}", self.format, size.unwrap_or_default())
    }
}

/// What raw pictures go through to become H.264, without its sink. The names of elements end in the
/// number of the rendition: `shape` decides about size and format, `encoder` is a GStreamer encoder, and
/// `last` is where pictures come out.
pub fn chain(encoder: &Encoder, rendition: usize) -> String {
    let Encoder { before, name, after, .. } = encoder;
    let caps = encoder.caps(None);
    let shaped = format!("{before} ! capsfilter name=shape{rendition} caps=\"{caps}\"");
    if *name == OWN {
        return format!("{shaped} ! capsfilter name=last{rendition} caps={I420}");
    }
    format!("{shaped} ! {name} name=encoder{rendition} ! {after} ! {}", parsed(rendition))
}

/// H.264 in the form that is sent on: whole pictures, parameter sets before every key frame.
pub fn parsed(rendition: usize) -> String {
    format!(
        "h264parse config-interval=-1 ! capsfilter name=last{rendition} \
         caps=video/x-h264,stream-format=byte-stream,alignment=au"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_always_works_comes_last_and_names_are_unique() {
        assert_eq!(ENCODERS.last().map(|encoder| encoder.name), Some(OWN));
        for encoder in ENCODERS {
            assert_eq!(named(encoder.name), Some(encoder));
        }
    }

    #[test]
    fn rates_are_told_in_each_encoders_own_unit() {
        assert_eq!(Rate::Bits("bitrate").setting(2_500_000), ("bitrate", "2500000".to_owned()));
        assert_eq!(Rate::Kilobits("bitrate").setting(2_500_000), ("bitrate", "2500".to_owned()));
        assert_eq!(Rate::Kilobits("bitrate").setting(1).1, "1", "never 0, which means no limit");
        let (property, value) = Rate::Control.setting(800_000);
        assert!(property == "extra-controls" && value.contains("video_bitrate=800000,"), "{value}");
    }

    #[test]
    fn every_chain_ends_in_whole_pictures_with_their_parameter_sets() {
        for encoder in ENCODERS.iter().filter(|encoder| encoder.name != OWN) {
            let chain = chain(encoder, 1);
            assert!(chain.contains(&format!("! {} name=encoder1 !", encoder.name)), "{chain}");
            assert!(chain.ends_with("alignment=au") && chain.contains("config-interval=-1"));
        }
    }
}
