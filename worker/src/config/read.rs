//! From what was typed to what it means.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use halyard_client::tls::Trust;
use halyard_protocol::{ids::RoomId, token::Token};
use halyard_settings::{
    SettingError, Typed, Values,
    parse::{count, duration, ice_url, not_empty, path, web_address, yes},
};

use super::{ConfigError, DriverSpec, KEYS, Settings, cameras};
use crate::{
    existing::Secret,
    jobs::{Template, read_templates},
    media::{SourceSpec, gst::encoders, stills},
    record::{self, RecordPlan},
};

/// How old what a driver sees or says may be. Shorter is what no link can do, longer is not safe any
/// more.
const AGES: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(5);

/// How long rights count unconfirmed. Longer than two rounds of questions to a busy broker; a day is
/// as good as no lease.
const LEASES: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_hours(24);

/// How long something unfinished waits. Who is cut off for less than a minute shall not begin anew.
const UNFINISHED: RangeInclusive<Duration> =
    Duration::from_mins(1)..=Duration::from_hours(365 * 24);

/// A shorter room could end between two extensions.
const SHORTEST_TTL: Duration = Duration::from_mins(1);

impl Settings {
    /// Makes settings of what was typed.
    pub fn read(typed: &Typed) -> Result<Self, ConfigError> {
        let values = Values::read(KEYS, typed)?;
        let standard = Self::default();
        let cameras = cameras::read(&values)?;
        let video = values.one("video", |text| text.parse().ok())?;
        // Who names cameras wants those, and the simulated rover only if it is asked for.
        let none = (!cameras.is_empty()).then_some(SourceSpec::None);
        let video = video.or(none).unwrap_or(standard.video);
        cameras::check(&values, video.track_name(), &cameras)?;
        let sources = std::iter::once(&video).chain(cameras.iter().map(|one| &one.source));
        let renditions = cameras::read_renditions(&values, sources)?;
        let encoder = values.one("encoder", |text| match text {
            "auto" => Some(None),
            name => encoders::named(name).map(Some),
        })?;
        let shows_rover = video == SourceSpec::Sim
            || cameras.iter().any(|camera| camera.source == SourceSpec::Sim);
        let files = values.one("files", |text| {
            let path = PathBuf::from(text);
            path.is_dir().then_some(path)
        })?;
        let jobs = jobs(&values, files.is_some())?;
        let record = values.one("record", path)?;
        let record_max = values.one("record_max", recorded_bytes)?.unwrap_or(record::DEFAULT_MAX);
        Ok(Self {
            video,
            cameras,
            encoder: encoder.flatten(),
            audio: values.one("audio", |text| text.parse().ok())?.unwrap_or_default(),
            speaker: values.one("speaker", |text| text.parse().ok())?.unwrap_or_default(),
            driver: driver(&values, shows_rover)?,
            max_command_age: values
                .one("max_command_age", duration(AGES))?
                .unwrap_or(standard.max_command_age),
            max_picture_age: values
                .one("max_picture_age", |text| match text {
                    "off" => Some(None),
                    text => duration(AGES)(text).map(Some),
                })?
                .unwrap_or(standard.max_picture_age),
            record: record.map(|dir| RecordPlan { dir, max: record_max }),
            files,
            quota_per_peer: values.one("quota_per_peer", bytes)?,
            keep_free: values.one("keep_free", bytes)?.unwrap_or(standard.keep_free),
            keep_unfinished: values
                .one("keep_unfinished", |text| match text {
                    "off" => Some(None),
                    text => duration(UNFINISHED)(text).map(Some),
                })?
                .unwrap_or(standard.keep_unfinished),
            jobs: jobs.templates,
            jobs_dir: jobs.dir,
            job_gpus: jobs.cards,
            job_keeper: None,
            psk: values
                .one("psk_file", |path| Secret::read(&std::fs::read_to_string(path).ok()?).ok())?,
            bitrate: values.one("bitrate", |text| {
                text.parse().ok().filter(|bps| cameras::BITRATES.contains(bps))
            })?,
            renditions,
            max_sessions: values.one("max_sessions", count)?.unwrap_or(standard.max_sessions),
            rights_lease: values
                .one("rights_lease", duration(LEASES))?
                .unwrap_or(standard.rights_lease),
            maintenance: values.one("maintenance", yes)?.unwrap_or_default(),
            relay_only: values.one("relay_only", yes)?.unwrap_or_default(),
            webrtc: values.one("webrtc", yes)?.unwrap_or(standard.webrtc),
            room_ttl: values
                .one("room_ttl", duration(SHORTEST_TTL..))?
                .unwrap_or(standard.room_ttl),
            server: values.one("server", web_address)?,
            trust: values
                .checked("ca_file", |text| Trust::and_file(Path::new(text)))?
                .unwrap_or_default(),
            room: room(&values)?,
            state_file: values.one("state_file", path)?,
            listen: values.one("listen", |text| text.parse().ok())?,
            public_url: values.one("public_url", web_address)?,
            data_dir: values.one("data_dir", path)?,
            stun_urls: values.all("stun_urls", ice_url(&["stun:", "stuns:"]))?.unwrap_or_default(),
            stills: stills(&values, &standard.stills)?,
            trusted_network: values.one("trusted_network", yes)?.unwrap_or_default(),
        })
    }
}

/// What is driven: the rover, where it is shown and nobody says otherwise.
fn driver(values: &Values, shows_rover: bool) -> Result<DriverSpec, ConfigError> {
    let driver = values.one("driver", |text| match text {
        "sim" => Some(DriverSpec::Sim),
        "none" => Some(DriverSpec::None),
        _ => text.strip_prefix("exec:").and_then(words).map(DriverSpec::Exec),
    })?;
    Ok(driver.unwrap_or(if shows_rover { DriverSpec::Sim } else { DriverSpec::None }))
}

/// What may be run, and where and on what.
struct Jobs {
    templates: Vec<Template>,
    dir: Option<PathBuf>,
    cards: Vec<String>,
}

fn jobs(values: &Values, has_files: bool) -> Result<Jobs, ConfigError> {
    let templates = match values.tables("job") {
        Some((tables, place)) => read_templates(tables)
            .map_err(|source| ConfigError::Job { source, place: place.clone() })?,
        None => Vec::new(),
    };
    let dir = values.one("jobs_dir", path)?;
    if !templates.is_empty() && !has_files {
        let why = "what a job works on comes from there, and what it makes goes there";
        return Err(SettingError::Needs { key: "job", needs: "files", why }.into());
    }
    if !templates.is_empty() && dir.is_none() {
        let why = "jobs are written down there, so that none is forgotten";
        return Err(SettingError::Needs { key: "job", needs: "jobs_dir", why }.into());
    }
    let cards = values.all("job_gpus", card)?.unwrap_or_default();
    if let Some(most) = (!cards.is_empty()).then_some(cards.len())
        && let Some(job) = templates.iter().find(|job| job.gpus as usize > most)
    {
        let (job, gpus) = (job.name.clone(), job.gpus);
        return Err(ConfigError::TooFewGpus { job, gpus, cards: most });
    }
    if let Some(twice) = (1..cards.len()).find(|&n| cards[..n].contains(&cards[n])) {
        return Err(ConfigError::GpuTwice { card: cards[twice].clone() });
    }
    Ok(Jobs { templates, dir, cards })
}

/// A room that exists already, and what opens it.
fn room(values: &Values) -> Result<Option<(RoomId, Token)>, SettingError> {
    let room = values.one("room", |text| RoomId::new(text).ok())?;
    let token = values.one("token", not_empty)?.map(Token::new);
    match (room, token) {
        (Some(room), Some(token)) => Ok(Some((room, token))),
        (Some(_), None) => {
            let why = "a room opens for those who have its operator token";
            Err(SettingError::Needs { key: "room", needs: "token", why })
        }
        // A token alone may stand in the environment for the other programs.
        (None, _) => Ok(None),
    }
}

fn stills(values: &Values, standard: &stills::Plan) -> Result<stills::Plan, SettingError> {
    Ok(stills::Plan {
        fps: values
            .one("mjpeg_fps", |text| text.parse().ok().filter(|fps| (1..=60).contains(fps)))?
            .unwrap_or(standard.fps),
        quality: values
            .one("mjpeg_quality", |text| {
                text.parse().ok().filter(|quality| (1..=100).contains(quality))
            })?
            .unwrap_or(standard.quality),
        viewers: values
            .one("mjpeg_viewers", |text| text.parse().ok().filter(|most| *most <= 1024))?
            .unwrap_or(standard.viewers),
    })
}

/// A command line as its words, quoted as in a shell; nothing in it is expanded.
fn words(text: &str) -> Option<Vec<String>> {
    shlex::split(text).filter(|words| words.first().is_some_and(|program| !program.is_empty()))
}

/// Less than 16 MiB would keep no more than seconds.
fn recorded_bytes(text: &str) -> Option<u64> {
    bytes(text).filter(|bytes| *bytes >= 16 << 20)
}

/// `10GB`, `512 MiB`, or a plain number of bytes.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "TiB" | "T" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// A number, or `GPU-…` and `MIG-…`.
fn card(text: &str) -> Option<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-/".contains(c);
    (!text.is_empty() && text.len() <= 64 && text.chars().all(good)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn typed(flags: &[(&'static str, &str)], variables: &[(&str, &str)]) -> Typed {
        Typed {
            flags: flags.iter().map(|&(key, value)| (key, value.to_owned())).collect(),
            variables: variables.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
            file: None,
        }
    }

    fn with_file(mut typed: Typed, text: &str) -> (Typed, tempfile::NamedTempFile) {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        typed.file = Some(file.path().to_owned());
        (typed, file)
    }

    fn refusal(typed: &Typed) -> String {
        Settings::read(typed).expect_err("must be refused").to_string()
    }

    #[test]
    fn nothing_typed_gives_the_simulated_rover() {
        let settings = Settings::read(&Typed::default()).expect("defaults");
        assert_eq!(settings.video, SourceSpec::Sim);
        assert_eq!(settings.driver, DriverSpec::Sim);
        assert!(settings.files.is_none() && settings.listen.is_none());
    }

    #[test]
    fn a_broken_line_is_named_and_not_shown() {
        let (typed, _file) = with_file(typed(&[], &[]), "video = 'sim'\ntoken = \"s3cret\n");
        let text = refusal(&typed);
        assert!(text.contains("is not TOML: line 2") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn a_picture_from_elsewhere_has_no_rover_unless_asked_for() {
        let rtp = Settings::read(&typed(&[("video", "rtp:5600")], &[])).expect("good");
        assert_eq!(rtp.driver, DriverSpec::None);
        let both = typed(&[("video", "rtp:5600"), ("driver", "sim")], &[]);
        assert_eq!(Settings::read(&both).expect("good").driver, DriverSpec::Sim);
    }

    #[test]
    fn cameras_stand_beside_the_picture_or_in_its_place() {
        let alone = Settings::read(&typed(&[("camera", "front=pattern")], &[])).expect("good");
        assert_eq!((alone.video, alone.cameras.len()), (SourceSpec::None, 1));
        assert_eq!(alone.driver, DriverSpec::None);
        let beside = typed(&[("video", "sim"), ("camera", "front=pattern\nrear=rtp:5600")], &[]);
        let beside = Settings::read(&beside).expect("good");
        assert_eq!((beside.video, beside.cameras.len()), (SourceSpec::Sim, 2));
        assert_eq!(beside.driver, DriverSpec::Sim);

        let file = "[[camera]]\nname = 'rear'\nsource = 'pattern'\n";
        let (both, _file) = with_file(typed(&[], &[("HALYARD_CAMERA", "front=sim")]), file);
        let both = Settings::read(&both).expect("good");
        assert_eq!(both.cameras[0].name, "front", "variables win over the file");
        assert_eq!(both.driver, DriverSpec::Sim);

        let text = refusal(&typed(&[("camera", "sim=pattern"), ("video", "sim")], &[]));
        assert!(text.contains("in the flag --camera") && text.contains("--video"), "{text}");
        let (wrong, _file) = with_file(typed(&[], &[]), "[[camera]]\nname = 'rear'\n");
        let text = refusal(&wrong);
        assert!(text.contains("it needs a source") && text.contains("the file"), "{text}");
    }

    #[test]
    fn renditions_are_read_from_everywhere_and_refused_where_nothing_is_encoded() {
        let good = typed(&[], &[("HALYARD_RENDITIONS", "360p15@400k,720p30@2500k")]);
        let renditions = Settings::read(&good).expect("good").renditions.expect("some");
        assert_eq!(renditions.to_string(), "720p30@2500k,360p15@400k");
        let text = refusal(&typed(&[("renditions", "720p")], &[]));
        assert!(text.contains("--renditions") && text.contains("as in 720p30@2500k"), "{text}");
        let text = refusal(&typed(&[("renditions", "720p@1M"), ("video", "rtp:5600")], &[]));
        assert!(text.contains("what comes in over RTP is encoded already"), "{text}");
        let beside = [("renditions", "720p@1M"), ("video", "rtp:5600"), ("camera", "a=pattern")];
        assert!(Settings::read(&typed(&beside, &[])).is_ok(), "one of them is encoded here");
    }

    #[test]
    fn flags_win_over_variables_and_variables_over_the_file() {
        let (typed, _file) = with_file(
            typed(
                &[("video", "none")],
                &[("HALYARD_VIDEO", "pattern"), ("HALYARD_BITRATE", "200000")],
            ),
            "video = 'sim'\nbitrate = 100000\nmax_sessions = 3\ntrusted_network = true\n",
        );
        let settings = Settings::read(&typed).expect("good");
        assert_eq!(settings.video, SourceSpec::None);
        assert_eq!(settings.bitrate, Some(200_000));
        assert_eq!(settings.max_sessions, 3);
        assert!(settings.trusted_network);
    }

    #[test]
    fn a_bad_value_is_refused_with_key_value_place_and_what_is_accepted() {
        let text = refusal(&typed(&[("video", "webcam")], &[]));
        assert!(
            text.starts_with("video is \"webcam\" in the flag --video; accepted is sim"),
            "{text}"
        );
        let text = refusal(&typed(&[], &[("HALYARD_FILES", "/no/such/folder")]));
        assert!(text.contains("HALYARD_FILES") && text.contains("a folder that exists"), "{text}");
        assert!(refusal(&typed(&[("room_ttl", "5s")], &[])).contains("at least a minute"));
        assert!(refusal(&typed(&[("rights_lease", "2d")], &[])).contains("10s to 24h"));
        assert!(refusal(&typed(&[("keep_unfinished", "5s")], &[])).contains("1m to 365d, or off"));
        assert!(refusal(&typed(&[("server", "ws://x")], &[])).contains("http://"));
        assert!(refusal(&typed(&[("room", "ab12")], &[])).contains("needs token"));
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, size) in
            [("0", 0), ("1500", 1500), ("10GB", 10_000_000_000), ("2 GiB", 2 << 30), ("5 kB", 5000)]
        {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for text in ["", "GB", "-1", "1.5GB", "10gigs", "99999999999TB"] {
            assert_eq!(bytes(text), None, "{text}");
            let refused = refusal(&typed(&[("quota_per_peer", text)], &[]));
            assert!(refused.contains("10GB"), "{refused}");
        }
    }

    #[test]
    fn an_unknown_key_in_the_file_stops_the_start_with_the_known_ones() {
        let (typed, _file) = with_file(Typed::default(), "viedo = 'sim'\n");
        let text = refusal(&typed);
        assert!(text.contains("unknown key \"viedo\"") && text.contains("video"), "{text}");
    }

    #[test]
    fn a_mistyped_variable_is_refused_and_one_of_another_program_is_not() {
        assert!(refusal(&typed(&[], &[("HALYARD_VIEDO", "sim")])).contains("HALYARD_VIDEO"));
        Settings::read(&typed(&[], &[("HALYARD_STORE", "memory")])).expect("the server's");
    }

    #[test]
    fn a_secret_comes_from_a_file_and_is_never_shown() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").expect("written");
        let path = file.path().to_str().expect("a plain path").to_owned();
        let settings = Settings::read(&typed(&[], &[("HALYARD_PSK_FILE", &path)])).expect("good");
        assert!(settings.psk.is_some() && !format!("{settings:?}").contains("AAEC"));
        file.write_all(b"not base64").expect("written");
        for path in [&path, "/no/such/file"] {
            let text = refusal(&typed(&[("psk_file", path)], &[]));
            assert!(text.contains("16 to 1024 bytes in base64url"), "{text}");
            assert!(!text.contains("AAEC"), "{text}");
        }
    }

    #[test]
    fn a_token_comes_from_a_file_and_is_never_shown() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"s3cret\n").expect("written");
        let path = file.path().to_str().expect("a plain path");
        let typed = typed(&[("room", "ab12")], &[("HALYARD_TOKEN_FILE", path)]);
        let settings = Settings::read(&typed).expect("good");
        assert_eq!(settings.room.as_ref().expect("a room").1.expose(), "s3cret");
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
