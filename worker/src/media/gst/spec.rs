//! What a user types for a picture that GStreamer brings, and what it means.

use std::{fmt, path::PathBuf};

use halyard_protocol::token::Token;
use url::Url;

/// A picture that GStreamer brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GstSpec {
    /// `v4l2:/dev/videoN[,width=…][,height=…][,fps=…][,format=…]`: a camera of this machine.
    Camera(CameraSpec),
    /// `rtsp://…`: a camera of the network.
    Rtsp(RtspSpec),
    /// `file:PATH`: a film, again and again.
    File(PathBuf),
    /// `gst:PIPELINE`: whatever ends in a picture.
    Pipeline(String),
}

/// A camera of this machine, and what is wished of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraSpec {
    /// Its device file.
    pub device: PathBuf,
    /// Pixels across.
    pub width: Option<u32>,
    /// Pixels down.
    pub height: Option<u32>,
    /// Pictures a second.
    pub fps: Option<u32>,
    /// How the camera sends them.
    pub format: Option<CameraFormat>,
}

/// How a camera sends pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CameraFormat {
    /// Uncompressed: NV12, YUYV and others.
    Raw,
    /// JPEG pictures.
    Mjpeg,
    /// Encoded by the camera, passed on as it is.
    H264,
}

/// A camera of the network.
#[derive(Debug, Clone)]
pub struct RtspSpec {
    /// Where, without user and password. `rtspu` in front takes UDP, else TCP is used.
    pub url: Url,
    /// Who asks.
    pub user: Option<String>,
    /// What opens it. Not shown anywhere.
    pub password: Option<Token>,
}

impl PartialEq for RtspSpec {
    fn eq(&self, other: &Self) -> bool {
        let password = |spec: &Self| spec.password.as_ref().map(|p| p.expose().to_owned());
        self.url == other.url && self.user == other.user && password(self) == password(other)
    }
}

impl Eq for RtspSpec {}

/// Why it is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GstSpecError {
    /// After the device stands something unknown.
    #[error(
        "unknown word {0:?} after the camera; accepted are width=, height=, fps= and \
         format=raw|mjpeg|h264, as in v4l2:/dev/video0,width=1280,height=720,fps=30"
    )]
    CameraWord(String),
    /// Not a device file.
    #[error("{0:?} is no camera; it takes a device file, as in v4l2:/dev/video0")]
    Device(String),
    /// Not an address.
    #[error(
        "bad RTSP address; it takes rtsp://HOST[:PORT]/PATH, as in rtsp://camera.local/stream1"
    )]
    Address,
    /// Nothing stands there.
    #[error("there is nothing after {0}")]
    Empty(&'static str),
}

impl GstSpec {
    /// What is typed, if it is one of these at all.
    pub fn parse(typed: &str) -> Option<Result<Self, GstSpecError>> {
        if let Some(rest) = typed.strip_prefix("v4l2:") {
            return Some(camera(rest).map(Self::Camera));
        }
        if let Some(rest) = typed.strip_prefix("file:") {
            let empty = rest.is_empty().then_some(GstSpecError::Empty("file:"));
            return Some(empty.map_or_else(|| Ok(Self::File(PathBuf::from(rest))), Err));
        }
        if let Some(rest) = typed.strip_prefix("gst:") {
            let empty = rest.trim().is_empty().then_some(GstSpecError::Empty("gst:"));
            return Some(empty.map_or_else(|| Ok(Self::Pipeline(rest.trim().to_owned())), Err));
        }
        let scheme = typed.split_once("://").map(|(scheme, _)| scheme);
        matches!(scheme, Some("rtsp" | "rtsps" | "rtspt" | "rtspu"))
            .then(|| rtsp(typed).map(Self::Rtsp))
    }

    /// What the picture is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Camera(_) => "camera",
            Self::Rtsp(_) => "rtsp",
            Self::File(_) => "file",
            Self::Pipeline(_) => "gst",
        }
    }

    /// What it is, for people who read why it failed; without secrets.
    pub fn words(&self) -> String {
        match self {
            Self::Camera(camera) => format!("the camera {}", camera.device.display()),
            Self::Rtsp(rtsp) => format!("the camera {}", rtsp.url),
            Self::File(path) => format!("the file {}", path.display()),
            Self::Pipeline(_) => "the GStreamer pipeline".to_owned(),
        }
    }
}

fn camera(typed: &str) -> Result<CameraSpec, GstSpecError> {
    let mut words = typed.split(',');
    let device = words.next().unwrap_or_default();
    if !device.starts_with('/') {
        return Err(GstSpecError::Device(device.to_owned()));
    }
    let mut spec = CameraSpec {
        device: PathBuf::from(device),
        width: None,
        height: None,
        fps: None,
        format: None,
    };
    for word in words {
        let unknown = || GstSpecError::CameraWord(word.to_owned());
        let (key, value) = word.split_once('=').ok_or_else(unknown)?;
        let number = |most: u32| {
            value.parse().ok().filter(|n| (1..=most).contains(n)).map(Some).ok_or_else(unknown)
        };
        match key {
            "width" => spec.width = number(16_384)?,
            "height" => spec.height = number(16_384)?,
            "fps" => spec.fps = number(1_000)?,
            "format" => {
                spec.format = Some(match value {
                    "raw" => CameraFormat::Raw,
                    "mjpeg" => CameraFormat::Mjpeg,
                    "h264" => CameraFormat::H264,
                    _ => return Err(unknown()),
                });
            }
            _ => return Err(unknown()),
        }
    }
    Ok(spec)
}

fn rtsp(typed: &str) -> Result<RtspSpec, GstSpecError> {
    // What was typed may hold a password, so no error repeats it.
    let mut url = Url::parse(typed).map_err(|_| GstSpecError::Address)?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(GstSpecError::Address);
    }
    let plain = |text: &str| {
        percent_encoding::percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned)
    };
    let user = plain(url.username()).map_err(|_| GstSpecError::Address)?;
    let password = url.password().map(plain).transpose().map_err(|_| GstSpecError::Address)?;
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.map_err(|()| GstSpecError::Address)?;
    Ok(RtspSpec {
        url,
        user: (!user.is_empty()).then_some(user),
        password: password.map(Token::new),
    })
}

/// As it was typed, but for a password.
impl fmt::Display for GstSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Camera(CameraSpec { device, width, height, fps, format }) => {
                write!(f, "v4l2:{}", device.display())?;
                for (key, value) in [("width", width), ("height", height), ("fps", fps)] {
                    if let Some(value) = value {
                        write!(f, ",{key}={value}")?;
                    }
                }
                match format {
                    None => Ok(()),
                    Some(CameraFormat::Raw) => f.write_str(",format=raw"),
                    Some(CameraFormat::Mjpeg) => f.write_str(",format=mjpeg"),
                    Some(CameraFormat::H264) => f.write_str(",format=h264"),
                }
            }
            Self::Rtsp(rtsp) => write!(f, "{}", rtsp.url),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Pipeline(pipeline) => write!(f, "gst:{pipeline}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(typed: &str) -> GstSpec {
        GstSpec::parse(typed).expect("one of these").expect("understood")
    }

    #[test]
    fn a_camera_is_named_with_what_is_wished_of_it() {
        let typed = "v4l2:/dev/video2,width=1920,height=1080,fps=30,format=mjpeg";
        let GstSpec::Camera(camera) = parsed(typed) else { panic!("a camera") };
        assert_eq!((camera.width, camera.height, camera.fps), (Some(1920), Some(1080), Some(30)));
        assert_eq!(camera.format, Some(CameraFormat::Mjpeg));
        assert_eq!(parsed(typed).to_string(), typed);
    }

    #[test]
    fn the_password_of_a_camera_is_kept_apart_and_shown_nowhere() {
        let spec = parsed("rtsp://admin:s3cr%40t@10.0.0.7:8554/one?channel=2");
        let GstSpec::Rtsp(rtsp) = &spec else { panic!("a camera of the network") };
        assert_eq!(rtsp.user.as_deref(), Some("admin"));
        assert_eq!(rtsp.password.as_ref().map(Token::expose), Some("s3cr@t"));
        assert_eq!(rtsp.url.as_str(), "rtsp://10.0.0.7:8554/one?channel=2");
        for shown in [spec.to_string(), spec.words(), format!("{spec:?}")] {
            assert!(!shown.contains("s3cr"), "{shown}");
        }
    }

    #[test]
    fn what_is_not_understood_is_told_with_what_is_accepted() {
        for (typed, said) in [
            ("v4l2:/dev/video0,size=4", "accepted are width="),
            ("v4l2:/dev/video0,width=0", "unknown word \"width=0\""),
            ("v4l2:/dev/video0,format=vp8", "format=raw|mjpeg|h264"),
            ("v4l2:video0", "as in v4l2:/dev/video0"),
            ("rtsp://", "rtsp://HOST"),
            ("rtsp://u:secret@/x", "rtsp://HOST"),
            ("file:", "nothing after file:"),
            ("gst: ", "nothing after gst:"),
        ] {
            let error = GstSpec::parse(typed).expect("one of these").expect_err(typed).to_string();
            assert!(error.contains(said) && !error.contains("secret"), "{typed}: {error}");
        }
        assert!(GstSpec::parse("sim").is_none() && GstSpec::parse("http://x/").is_none());
    }

    proptest! {
        #[test]
        fn nothing_typed_panics(rest in ".{0,60}", prefix in "(v4l2:/dev/|rtsp://|file:|gst:)") {
            let _ = GstSpec::parse(&format!("{prefix}{rest}"));
        }
    }
}
