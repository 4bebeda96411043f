//! `devices`: what this computer has that a worker could use.
//!
//! Encoders are tried out, and cameras are asked what they can do, where this program was built with
//! GStreamer. Everything else is read from files that the kernel makes.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::media::{encoder, gst::encoders::ENCODERS, gst::modes::Mode};

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Devices {
    /// Encoders of H.264, best first: the first that starts is taken.
    pub encoders: Vec<Encoder>,
    /// Cameras.
    pub cameras: Vec<Camera>,
    /// Graphics cards.
    pub gpus: Vec<Gpu>,
    /// Microphones and speakers.
    pub audio: Vec<Audio>,
    /// What was not looked at.
    pub not_looked_at: Vec<&'static str>,
}

/// One encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Encoder {
    /// Its name, as `--encoder` takes it.
    pub name: &'static str,
    /// What it makes.
    pub codec: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Whether it encoded some pictures; unknown where that was not tried.
    pub starts: Option<bool>,
    /// Whether it is the one that is taken where no other is asked for.
    pub chosen: bool,
    /// Why it does not start, or what to know of it.
    pub note: Option<String>,
}

/// One camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Camera {
    /// Its device file.
    pub path: PathBuf,
    /// What its driver calls it, where that is known.
    pub name: Option<String>,
    /// How it can send pictures; empty where it was not asked.
    pub modes: Vec<Mode>,
    /// Why it could not be asked.
    pub note: Option<String>,
}

/// One graphics card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Its device file.
    pub path: PathBuf,
    /// The kernel's driver, where that is known.
    pub driver: Option<String>,
}

/// One sound device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audio {
    /// What ALSA calls it, as in `hw:0,0`.
    pub device: String,
    /// What its driver calls it.
    pub name: String,
    /// Whether it records.
    pub records: bool,
    /// Whether it plays.
    pub plays: bool,
}

/// Where the kernel's files are.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    /// `/dev` on a real computer.
    pub dev: &'a Path,
    /// `/sys` there.
    pub sys: &'a Path,
    /// `/proc` there.
    pub proc: &'a Path,
}

/// Looks at everything. Takes some seconds where encoders are tried out.
pub fn look(folders: Folders<'_>) -> Devices {
    let Folders { dev, sys, proc } = folders;
    let camera = |path: PathBuf| {
        let name = path.file_name().and_then(|file| {
            let label = sys.join("class/video4linux").join(file).join("name");
            Some(std::fs::read_to_string(label).ok()?.trim().to_owned())
        });
        let (modes, note) = modes(&path);
        Camera { path, name, modes, note }
    };
    let render = |path: PathBuf| {
        let driver = path.file_name().and_then(|file| {
            let link = sys.join("class/drm").join(file).join("device/driver");
            Some(std::fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
        });
        Gpu { path, driver }
    };
    let nvidia = |path| Gpu { path, driver: Some("nvidia".to_owned()) };
    let mut gpus: Vec<Gpu> = numbered(dev, "nvidia").into_iter().map(nvidia).collect();
    gpus.extend(numbered(&dev.join("dri"), "renderD").into_iter().map(render));
    let pcm = std::fs::read_to_string(proc.join("asound/pcm")).unwrap_or_default();
    let mut not_looked_at = vec!["cameras on the network (RTSP)"];
    if !cfg!(feature = "gstreamer") {
        not_looked_at
            .push("what cameras can do, and encoders but the own one: built without GStreamer");
    }
    Devices {
        encoders: encoders(),
        cameras: numbered(dev, "video").into_iter().map(camera).collect(),
        gpus,
        audio: pcm.lines().filter_map(audio).collect(),
        not_looked_at,
    }
}

#[cfg(feature = "gstreamer")]
fn modes(camera: &Path) -> (Vec<Mode>, Option<String>) {
    use crate::media::gst::camera;

    if let Err(error) = gstreamer::init() {
        return (Vec::new(), Some(error.message().to_owned()));
    }
    match camera::modes(camera) {
        Ok(modes) => (modes, None),
        Err(reason) => (Vec::new(), Some(reason)),
    }
}

#[cfg(not(feature = "gstreamer"))]
fn modes(_camera: &Path) -> (Vec<Mode>, Option<String>) {
    (Vec::new(), None)
}

/// All encoders that are known, each tried out where that can be done.
fn encoders() -> Vec<Encoder> {
    let known = |encoder: &'static crate::media::gst::Encoder| {
        let (starts, note) = try_out(encoder);
        let own = encoder.name == crate::media::gst::encoders::OWN;
        let slow = (own && !encoder::FAST).then(|| encoder::SLOW_WARNING.to_owned());
        let note = note.or(slow);
        let (name, about) = (encoder.name, encoder.about);
        Encoder { name, codec: "h264", about, starts, chosen: false, note }
    };
    let mut all: Vec<_> = ENCODERS.iter().map(known).collect();
    if let Some(best) = all.iter_mut().find(|encoder| encoder.starts == Some(true)) {
        best.chosen = true;
    }
    all
}

#[cfg(feature = "gstreamer")]
fn try_out(encoder: &crate::media::gst::Encoder) -> (Option<bool>, Option<String>) {
    let started = gstreamer::init()
        .map_err(|error| error.message().to_owned())
        .and_then(|()| crate::media::gst::probe::try_out(encoder));
    (Some(started.is_ok()), started.err())
}

#[cfg(not(feature = "gstreamer"))]
fn try_out(encoder: &crate::media::gst::Encoder) -> (Option<bool>, Option<String>) {
    if encoder.name == crate::media::gst::encoders::OWN {
        (Some(true), None)
    } else {
        (None, Some("built without GStreamer".to_owned()))
    }
}

/// A line of `/proc/asound/pcm`: `00-00: ALC269 Analog : ALC269 Analog : playback 1 : capture 1`.
fn audio(line: &str) -> Option<Audio> {
    let (place, rest) = line.split_once(": ")?;
    let (card, device) = place.split_once('-')?;
    let (card, device): (u32, u32) = (card.parse().ok()?, device.parse().ok()?);
    let parts: Vec<&str> = rest.split(':').map(str::trim).collect();
    Some(Audio {
        device: format!("hw:{card},{device}"),
        name: (*parts.first()?).to_owned(),
        records: parts.iter().any(|part| part.starts_with("capture ")),
        plays: parts.iter().any(|part| part.starts_with("playback ")),
    })
}

/// Device files of this stem and a number, in the order of their numbers.
fn numbered(dev: &Path, stem: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = read_dir(dev)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|path| {
            let number = path.file_name()?.to_str()?.strip_prefix(stem)?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

fn read_dir(dir: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
}

/// For people.
pub fn text(devices: &Devices) -> String {
    let mut lines = vec!["Encoders (--encoder takes another than the chosen one)".to_owned()];
    lines.extend(devices.encoders.iter().map(|e| {
        let starts = match e.starts {
            Some(true) if e.chosen => "chosen",
            Some(true) => "starts",
            Some(false) => "no",
            None => "not tried",
        };
        let note = e.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        format!("  {:<14} {starts:<9} {}{note}", e.name, e.about)
    }));
    lines.push("Cameras".to_owned());
    lines.extend(or_none(devices.cameras.iter().flat_map(camera_lines)));
    lines.push("Graphics cards".to_owned());
    lines.extend(or_none(devices.gpus.iter().map(|gpu| {
        let driver = gpu.driver.as_deref().unwrap_or("driver unknown");
        format!("  {:<14} {driver}", gpu.path.display())
    })));
    lines.push(
        "Sound (--audio device:NAME hears it, --speaker device:NAME speaks there)".to_owned(),
    );
    lines.extend(or_none(devices.audio.iter().map(|audio| {
        let can = match (audio.records, audio.plays) {
            (true, true) => "records and plays",
            (true, false) => "records",
            (false, _) => "plays",
        };
        format!("  {:<14} {} ({can})", audio.device, audio.name)
    })));
    lines.push("Not looked at".to_owned());
    lines.extend(devices.not_looked_at.iter().map(|what| format!("  {what}")));
    lines.join("\n")
}

fn camera_lines(camera: &Camera) -> Vec<String> {
    let name = camera.name.as_deref().unwrap_or("name unknown");
    let mut lines = vec![format!("  {:<14} {name}", camera.path.display())];
    lines.extend(camera.note.iter().map(|note| format!("    {note}")));
    lines.extend(camera.modes.iter().map(|mode| {
        let pixels = mode.pixels.as_deref().unwrap_or_default();
        let format = format!("{:?}", mode.format).to_lowercase();
        let fps = match mode.fps {
            Some(_) => format!("{:.0}/s", mode.rate()),
            None => String::new(),
        };
        format!("    {format:<6} {pixels:<5} {}x{} {fps}", mode.width, mode.height)
    }));
    lines
}

fn or_none(lines: impl Iterator<Item = String>) -> Vec<String> {
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() { vec!["  none found".to_owned()] } else { lines }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::gst::{encoders::OWN, spec::CameraFormat};

    #[test]
    fn cameras_graphics_cards_and_sound_are_found_by_the_kernels_files() {
        let root = tempfile::tempdir().expect("a folder");
        let (dev, sys, proc) =
            (root.path().join("dev"), root.path().join("sys"), root.path().join("proc"));
        for folder in [&dev, &dev.join("dri"), &proc.join("asound")] {
            std::fs::create_dir_all(folder).expect("made");
        }
        for file in
            ["video10", "video2", "videoX", "nvidia0", "nvidiactl", "null", "dri/renderD128"]
        {
            std::fs::write(dev.join(file), "").expect("written");
        }
        let label = sys.join("class/video4linux/video2");
        std::fs::create_dir_all(&label).expect("made");
        std::fs::write(label.join("name"), "Front camera\n").expect("written");
        let pcm = "00-00: ALC269VC Analog : ALC269VC Analog : playback 1 : capture 1\n\
                   01-03: HDMI 0 : HDMI 0 : playback 1\nnonsense\n";
        std::fs::write(proc.join("asound/pcm"), pcm).expect("written");

        let found = look(Folders { dev: &dev, sys: &sys, proc: &proc });
        let names: Vec<_> = found.cameras.iter().map(|c| c.name.as_deref()).collect();
        assert_eq!(names, [Some("Front camera"), None]);
        let gpus: Vec<_> = found.gpus.iter().map(|gpu| gpu.path.clone()).collect();
        assert_eq!(gpus, [dev.join("nvidia0"), dev.join("dri/renderD128")]);
        let audio: Vec<_> =
            found.audio.iter().map(|a| (a.device.as_str(), a.records, a.plays)).collect();
        assert_eq!(audio, [("hw:0,0", true, true), ("hw:1,3", false, true)]);
        let own = found.encoders.last().expect("ours");
        assert_eq!((own.name, own.starts), (OWN, Some(true)));
        let chosen: Vec<_> = found.encoders.iter().filter(|encoder| encoder.chosen).collect();
        let first = found.encoders.iter().find(|encoder| encoder.starts == Some(true));
        assert_eq!(chosen, [first.expect("ours starts")], "the best of those that start");
        let text = text(&found);
        assert!(text.contains("Front camera") && text.contains("Not looked at"), "{text}");
    }

    #[test]
    fn a_computer_without_anything_says_so() {
        let empty = tempfile::tempdir().expect("a folder");
        let nothing = empty.path().join("nothing");
        let text = text(&look(Folders { dev: &nothing, sys: &nothing, proc: &nothing }));
        assert_eq!(text.matches("none found").count(), 3, "{text}");
    }

    #[test]
    fn what_a_camera_can_do_is_told_in_a_line_each() {
        let camera = Camera {
            path: PathBuf::from("/dev/video0"),
            name: Some("Front".to_owned()),
            modes: vec![Mode {
                format: CameraFormat::Raw,
                pixels: Some("NV12".to_owned()),
                width: 1280,
                height: 720,
                fps: Some((30, 1)),
            }],
            note: None,
        };
        let lines = camera_lines(&camera).join("\n");
        assert!(
            lines.contains("/dev/video0") && lines.contains("raw    NV12  1280x720 30/s"),
            "{lines}"
        );
    }
}
