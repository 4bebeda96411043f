//! H.264 in software, tuned for the least delay.
//!
//! Constrained baseline, so every browser and every hardware decoder takes it: no B-frames, one
//! reference, one slice. Key frames come only when asked for, each with its parameter sets. Colours
//! are told to be BT.709 in the limited range. The rate is held by quality; only when half a second's
//! worth of bits is exceeded even so, a picture is skipped.

use openh264::{
    OpenH264API, Timestamp,
    encoder::{
        BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Level,
        Profile, QpRange, RateControlMode, SpsPpsStrategy, UsageType, VuiConfig,
    },
};

use super::picture::{Picture, Size};

/// Bits a second, unless asked otherwise: enough for 720p30 of the simulated rover.
pub const DEFAULT_BITRATE: u32 = 2_500_000;

/// The least and the most bits a second that make sense at 720p30; others are moved inside.
pub const BITRATES: std::ops::RangeInclusive<u32> = 100_000..=20_000_000;

/// Whether the encoder was built with its assembly, for which the build needs `nasm` on x86. Without
/// it, encoding takes some two and a half times as long.
pub const FAST: bool = cfg!(halyard_nasm);

/// What to say at the start where the encoder is slow.
pub const SLOW_WARNING: &str = "the H.264 encoder was built without nasm and needs 2.5 times the CPU; \
     install nasm (Debian: apt-get install nasm), run cargo clean -p openh264-sys2 and build again";

/// Why a picture was not encoded.
#[derive(Debug, thiserror::Error)]
#[error("the H.264 encoder failed: {0}")]
pub struct EncodeError(#[from] openh264::Error);

/// One encoded picture.
#[derive(Debug)]
pub struct Encoded {
    /// Annex B.
    pub data: Vec<u8>,
    /// Whether a decoder can start here.
    pub is_key: bool,
}

/// An encoder for pictures of one size.
pub struct H264Encoder {
    encoder: Encoder,
    size: Size,
    fps: f32,
    bitrate: u32,
    begun: bool,
}

impl H264Encoder {
    /// An encoder at a number of frames and bits a second. Its first picture is a key frame.
    pub fn new(size: Size, fps: f32, bitrate: u32) -> Result<Self, EncodeError> {
        let mut config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .profile(Profile::Baseline)
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(bitrate))
            .max_frame_rate(FrameRate::from_hz(fps))
            .skip_frames(true)
            .intra_frame_period(IntraFramePeriod::from_num_frames(0))
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            // An intra frame nobody asked for is a burst that delays the pictures after it.
            .scene_change_detect(false)
            .background_detection(false)
            // Text stays readable at the upper end, and a still picture does not waste bits.
            .qp(QpRange::new(14, 46))
            .complexity(Complexity::Low)
            .num_threads(1)
            .vui(VuiConfig::bt709());
        // Level 3.1: 3600 macroblocks a picture, 108000 a second. Above it the encoder chooses.
        let blocks = size.width.div_ceil(16) * size.height.div_ceil(16);
        if blocks <= 3_600 && blocks as f32 * fps <= 108_000.0 {
            config = config.level(Level::Level_3_1);
        }
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), config)?;
        Ok(Self { encoder, size, fps, bitrate, begun: false })
    }

    /// The size of its pictures.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The pictures a second that it expects.
    pub fn fps(&self) -> f32 {
        self.fps
    }

    /// The bits a second that it aims at.
    pub fn bitrate(&self) -> u32 {
        self.bitrate
    }

    /// Encodes a picture, painted so many milliseconds after the first one; as a key frame if that is
    /// wanted or if it is the first. `None` where the picture was skipped to hold the rate; a key
    /// frame that was wanted must then be asked for again.
    pub fn encode(
        &mut self,
        picture: &Picture,
        at_ms: u64,
        key: bool,
    ) -> Result<Option<Encoded>, EncodeError> {
        if key && self.begun {
            self.encoder.force_intra_frame();
        }
        let stream = self.encoder.encode_at(picture, Timestamp::from_millis(at_ms))?;
        self.begun = true;
        let is_key = stream.frame_type() == FrameType::IDR;
        let data = stream.to_vec();
        Ok((!data.is_empty()).then_some(Encoded { data, is_key }))
    }
}
