//! What a camera can do, and which of it to take. Pure.

use serde::Serialize;

use super::spec::{CameraFormat, CameraSpec};

/// One way in which a camera sends pictures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mode {
    /// Raw or compressed.
    pub format: CameraFormat,
    /// Which raw format, by GStreamer's name: `NV12`, `YUY2`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels: Option<String>,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Pictures a second at most, as a fraction; unknown where the camera does not say.
    pub fps: Option<(u32, u32)>,
}

impl Mode {
    /// Pictures a second, 0 where unknown.
    pub fn rate(&self) -> f32 {
        self.fps.map_or(0.0, |(n, d)| n as f32 / d.max(1) as f32)
    }
}

/// What is wished where nothing is said.
const WISHED: (u32, u32, u32) = (1280, 720, 30);

/// The mode that comes nearest to what is wished: the size first, then enough pictures a second, then
/// raw before compressed, because compressing costs time and H.264 of a camera follows no network.
///
/// Nothing where the camera has no mode of the format that was asked for, or says nothing of itself.
pub fn choose(modes: &[Mode], wish: &CameraSpec) -> Option<Mode> {
    let (width, height) = (wish.width.unwrap_or(WISHED.0), wish.height.unwrap_or(WISHED.1));
    let fps = wish.fps.unwrap_or(WISHED.2);
    let mut fitting: Vec<&Mode> = modes
        .iter()
        .filter(|mode| wish.format.is_none_or(|format| mode.format == format))
        .collect();
    fitting.sort_by_key(|mode| {
        let off = |is: u32, wished: u32| u64::from(is.abs_diff(wished));
        let size = off(mode.width, width) + off(mode.height, height);
        // Half a picture a second off is a camera's 29.97.
        let lacking = ((fps as f32 - 0.5 - mode.rate()).max(0.0) * 1_000.0) as u64;
        let pixels = match mode.pixels.as_deref() {
            Some("NV12") => 0,
            Some("YUY2" | "I420" | "YV12" | "UYVY") => 1,
            _ => 2,
        };
        (size, lacking, mode.format, pixels)
    });
    let best = (*fitting.first()?).clone();
    // Fewer pictures than the camera could give, where that is wished.
    let fps = match (wish.fps, best.fps) {
        (Some(wished), Some(_)) if best.rate() > wished as f32 => Some((wished, 1)),
        (_, fps) => fps,
    };
    Some(Mode { fps, ..best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(format: CameraFormat, pixels: &str, size: (u32, u32), fps: u32) -> Mode {
        let pixels = (!pixels.is_empty()).then(|| pixels.to_owned());
        Mode { format, pixels, width: size.0, height: size.1, fps: Some((fps, 1)) }
    }

    /// As many USB cameras have it: raw is slow at large sizes.
    fn webcam() -> Vec<Mode> {
        use CameraFormat::{H264, Mjpeg, Raw};
        vec![
            mode(Raw, "YUY2", (640, 480), 30),
            mode(Raw, "YUY2", (1280, 720), 10),
            mode(Mjpeg, "", (1280, 720), 30),
            mode(Mjpeg, "", (1920, 1080), 30),
            mode(H264, "", (1920, 1080), 30),
        ]
    }

    fn wish(words: &str) -> CameraSpec {
        use crate::media::gst::spec::GstSpec;
        match GstSpec::parse(&format!("v4l2:/dev/video0{words}")) {
            Some(Ok(GstSpec::Camera(camera))) => camera,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_size_counts_first_then_the_rate_then_raw_before_compressed() {
        use CameraFormat::{H264, Mjpeg, Raw};
        for (words, format, size) in [
            ("", Mjpeg, (1280, 720)),
            (",fps=10", Raw, (1280, 720)),
            (",width=640,height=480", Raw, (640, 480)),
            (",width=1920,height=1080", Mjpeg, (1920, 1080)),
            (",width=1920,height=1080,format=h264", H264, (1920, 1080)),
            (",format=raw", Raw, (1280, 720)),
        ] {
            let chosen = choose(&webcam(), &wish(words)).expect("some mode");
            assert_eq!((chosen.format, (chosen.width, chosen.height)), (format, size), "{words}");
        }
    }

    #[test]
    fn fewer_pictures_are_asked_for_where_they_are_wished() {
        let chosen = choose(&webcam(), &wish(",width=640,height=480,fps=15")).expect("some mode");
        assert_eq!(chosen.fps, Some((15, 1)));
    }

    #[test]
    fn nv12_is_taken_before_other_raw_formats() {
        use CameraFormat::Raw;
        let modes = [mode(Raw, "BGRx", (1280, 720), 30), mode(Raw, "NV12", (1280, 720), 30)];
        assert_eq!(choose(&modes, &wish("")).and_then(|mode| mode.pixels).as_deref(), Some("NV12"));
    }

    #[test]
    fn a_camera_without_the_wished_format_gives_nothing() {
        assert_eq!(choose(&webcam()[..1], &wish(",format=h264")), None);
        assert_eq!(choose(&[], &wish("")), None);
    }
}
