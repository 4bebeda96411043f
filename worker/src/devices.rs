//! `devices`: what this computer has that a worker could use, and what was not looked at.
//!
//! First form: it looks for files that the kernel makes, opens none of them, and says so.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::media::encoder;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Devices {
    /// Encoders in this program.
    pub encoders: Vec<Encoder>,
    /// Cameras by their device files.
    pub cameras: Vec<Camera>,
    /// Graphics cards by their device files.
    pub gpus: Vec<PathBuf>,
    /// What was not looked at.
    pub not_looked_at: Vec<&'static str>,
}

/// One encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Encoder {
    /// Its name.
    pub name: &'static str,
    /// What it makes.
    pub codec: &'static str,
    /// What to know of it.
    pub note: &'static str,
}

/// One camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Camera {
    /// Its device file.
    pub path: PathBuf,
    /// What its driver calls it, where that is known.
    pub name: Option<String>,
}

/// Looks below these folders; `/dev` and `/sys` on a real computer.
pub fn look(dev: &Path, sys: &Path) -> Devices {
    let camera = |path: PathBuf| {
        let name = path.file_name().and_then(|file| {
            let label = sys.join("class/video4linux").join(file).join("name");
            Some(std::fs::read_to_string(label).ok()?.trim().to_owned())
        });
        Camera { path, name }
    };
    Devices {
        encoders: vec![Encoder {
            name: "openh264",
            codec: "h264",
            note: if encoder::FAST { "software, built with nasm" } else { encoder::SLOW_WARNING },
        }],
        cameras: numbered(dev, "video").into_iter().map(camera).collect(),
        gpus: numbered(dev, "nvidia"),
        not_looked_at: vec![
            "whether cameras work and in which formats (none was opened)",
            "hardware encoders (NVIDIA, VA-API, V4L2)",
            "cameras on the network (RTSP)",
            "graphics cards of other makers than NVIDIA",
            "microphones",
        ],
    }
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
    let mut lines = vec!["Encoders".to_owned()];
    lines.extend(
        devices.encoders.iter().map(|e| format!("  {:<12} {} ({})", e.name, e.codec, e.note)),
    );
    lines.push("Cameras".to_owned());
    lines.extend(or_none(devices.cameras.iter().map(|camera| {
        let name = camera.name.as_deref().unwrap_or("name unknown");
        format!("  {:<12} {name}", camera.path.display())
    })));
    lines.push("NVIDIA graphics cards".to_owned());
    lines.extend(or_none(devices.gpus.iter().map(|path| format!("  {}", path.display()))));
    lines.push("Not looked at".to_owned());
    lines.extend(devices.not_looked_at.iter().map(|what| format!("  {what}")));
    lines.join("\n")
}

fn or_none(lines: impl Iterator<Item = String>) -> Vec<String> {
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() { vec!["  none found".to_owned()] } else { lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_and_graphics_cards_are_found_by_their_files() {
        let root = tempfile::tempdir().expect("a folder");
        let (dev, sys) = (root.path().join("dev"), root.path().join("sys"));
        std::fs::create_dir_all(&dev).expect("made");
        for file in ["video10", "video2", "videoX", "nvidia0", "nvidiactl", "null"] {
            std::fs::write(dev.join(file), "").expect("written");
        }
        let label = sys.join("class/video4linux/video2");
        std::fs::create_dir_all(&label).expect("made");
        std::fs::write(label.join("name"), "Front camera\n").expect("written");

        let found = look(&dev, &sys);
        let names: Vec<_> = found.cameras.iter().map(|c| c.name.as_deref()).collect();
        assert_eq!(names, [Some("Front camera"), None]);
        assert_eq!(found.gpus, [dev.join("nvidia0")]);
        let text = text(&found);
        assert!(text.contains("Front camera") && text.contains("Not looked at"), "{text}");
    }

    #[test]
    fn a_computer_without_anything_says_so() {
        let empty = tempfile::tempdir().expect("a folder");
        let text = text(&look(&empty.path().join("nothing"), empty.path()));
        assert_eq!(text.matches("none found").count(), 2, "{text}");
    }
}
