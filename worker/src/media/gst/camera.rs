//! Asks a camera of this machine what it can do.

use std::path::Path;

use gstreamer::{self as gst, prelude::*};

use super::{modes::Mode, spec::CameraFormat};

/// Its modes; in words why it cannot be asked: it is gone, in use, or no camera. GStreamer must be
/// initialised.
pub fn modes(device: &Path) -> Result<Vec<Mode>, String> {
    let element = gst::ElementFactory::make("v4l2src")
        .property("device", device.display().to_string())
        .build()
        .map_err(|_| "v4l2src is missing; install gstreamer1.0-plugins-good".to_owned())?;
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let opened = element.set_state(gst::State::Ready);
    let caps = opened.is_ok().then(|| element.static_pad("src").map(|pad| pad.query_caps(None)));
    let _ = element.set_state(gst::State::Null);
    if let Some(caps) = caps.flatten() {
        return Ok(of_caps(&caps));
    }
    let message = bus.pop_filtered(&[gst::MessageType::Error]);
    Err(match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => error.error().message().to_owned(),
        _ => "it cannot be opened".to_owned(),
    })
}

/// What caps say: sizes and rates may be single, in a list or a range.
pub fn of_caps(caps: &gst::CapsRef) -> Vec<Mode> {
    let mut modes: Vec<Mode> = caps.iter().flat_map(of_structure).collect();
    modes.sort_by_key(|mode| (mode.format, std::cmp::Reverse(mode.width * mode.height)));
    modes.dedup();
    modes
}

fn of_structure(structure: &gst::StructureRef) -> Vec<Mode> {
    let format = match structure.name().as_str() {
        "video/x-raw" => CameraFormat::Raw,
        "image/jpeg" => CameraFormat::Mjpeg,
        "video/x-h264" => CameraFormat::H264,
        _ => return Vec::new(),
    };
    let sizes = |name: &str, wished: i32| -> Option<i32> {
        structure.get::<i32>(name).ok().or_else(|| {
            let range = structure.get::<gst::IntRange<i32>>(name).ok()?;
            Some(wished.clamp(range.min(), range.max()))
        })
    };
    // A camera that takes any size is asked for the size that most people want.
    let (Some(width), Some(height)) = (sizes("width", 1280), sizes("height", 720)) else {
        return Vec::new();
    };
    if width <= 0 || height <= 0 {
        return Vec::new();
    }
    let pixels: Vec<Option<String>> = match format {
        CameraFormat::Raw => match structure.get::<gst::List>("format") {
            Ok(list) => list.iter().map(|value| value.get::<String>().ok()).collect(),
            Err(_) => vec![structure.get::<String>("format").ok()],
        },
        _ => vec![None],
    };
    let fps = rate(structure);
    let (width, height) = (width as u32, height as u32);
    pixels.into_iter().map(|pixels| Mode { format, pixels, width, height, fps }).collect()
}

/// The most pictures a second.
fn rate(structure: &gst::StructureRef) -> Option<(u32, u32)> {
    let fraction = |f: gst::Fraction| (f.numer().max(0) as u32, f.denom().max(1) as u32);
    if let Ok(one) = structure.get::<gst::Fraction>("framerate") {
        return Some(fraction(one));
    }
    if let Ok(range) = structure.get::<gst::FractionRange>("framerate") {
        return Some(fraction(range.max()));
    }
    let list = structure.get::<gst::List>("framerate").ok()?;
    let all = list.iter().filter_map(|value| value.get::<gst::Fraction>().ok()).map(fraction);
    all.max_by_key(|(n, d)| u64::from(*n) * 1_000 / u64::from(*d))
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn what_a_camera_says_becomes_its_modes() {
        gst::init().expect("GStreamer");
        // As a USB camera, a camera module and a virtual camera say it.
        let caps = gst::Caps::from_str(
            "video/x-raw, format=(string)YUY2, width=(int)640, height=(int)480, framerate=(fraction){ 30/1, 15/1 }; \
             image/jpeg, width=(int)1920, height=(int)1080, framerate=(fraction)[ 1/1, 60/1 ]; \
             video/x-raw, format=(string){ NV12, I420 }, width=(int)[ 32, 3280 ], height=(int)[ 32, 2464 ], framerate=(fraction)30/1; \
             video/x-h264, width=(int)1280, height=(int)720; audio/x-raw",
        )
        .expect("caps");
        let modes = of_caps(&caps);
        let line = |mode: &Mode| {
            let pixels = mode.pixels.clone().unwrap_or_default();
            format!("{:?} {pixels} {}x{} {}", mode.format, mode.width, mode.height, mode.rate())
        };
        let lines: Vec<_> = modes.iter().map(line).collect();
        assert_eq!(
            lines,
            [
                "Raw NV12 1280x720 30",
                "Raw I420 1280x720 30",
                "Raw YUY2 640x480 30",
                "Mjpeg  1920x1080 60",
                "H264  1280x720 0",
            ]
        );
    }

    #[test]
    fn a_camera_that_is_not_there_is_told_in_words() {
        gst::init().expect("GStreamer");
        let error = modes(Path::new("/dev/video987")).expect_err("there is none");
        assert!(error.contains("/dev/video987"), "{error}");
    }
}
