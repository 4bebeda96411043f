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
    /// What raw pictures pass before it.
    pub before: &'static str,
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

const NV12: &str = "videoconvert ! video/x-raw,format=NV12";
const I420: &str = "videoconvert ! video/x-raw,format=I420";
const BASELINE: &str = "video/x-h264,profile=constrained-baseline";

/// All that are known, best first.
pub const ENCODERS: &[Encoder] = &[
    Encoder {
        name: "nvv4l2h264enc",
        about: "NVIDIA Jetson",
        before: "nvvidconv ! video/x-raw(memory:NVMM),format=NV12",
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
        before: NV12,
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
        before: NV12,
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
        before: NV12,
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
        before: NV12,
        settings: &[],
        rate: Rate::Control,
        after: "video/x-h264,level=(string)4",
    },
    Encoder {
        name: "x264enc",
        about: "software (x264)",
        before: I420,
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
        before: I420,
        settings: &[],
        rate: Rate::Bits(""),
        after: "",
    },
];

/// The encoder of a name.
pub fn named(name: &str) -> Option<&'static Encoder> {
    ENCODERS.iter().find(|encoder| encoder.name == name)
}

/// What raw pictures go through to become H.264, without its sink. The last element of a GStreamer
/// encoder is called `encoder`.
pub fn chain(encoder: &Encoder) -> String {
    if encoder.name == OWN {
        // No filter may stand last: the words would want an element behind it.
        return "videoconvert ! capsfilter name=last caps=video/x-raw,format=I420".to_owned();
    }
    format!("{} ! {} name=encoder ! {} ! {PARSED}", encoder.before, encoder.name, encoder.after)
}

/// H.264 in the form that is sent on: whole pictures, parameter sets before every key frame.
pub const PARSED: &str = "h264parse config-interval=-1 ! capsfilter \
     name=last caps=video/x-h264,stream-format=byte-stream,alignment=au";

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
            let chain = chain(encoder);
            assert!(chain.contains(&format!("! {} name=encoder !", encoder.name)), "{chain}");
            assert!(chain.ends_with("alignment=au") && chain.contains("config-interval=-1"));
        }
    }
}
