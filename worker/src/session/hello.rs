//! What a peer is told first: who this is, what it offers, and what the listener may do.

use halyard_protocol::{
    PROTOCOL_VERSION,
    access::Access,
    channel::{FilesInfo, Hello, VideoInfo},
    ids::PeerId,
};

use crate::machine::Facts;

/// Program and version, for people.
pub const AGENT: &str = concat!("halyard-worker/", env!("CARGO_PKG_VERSION"));

/// How files are allowed, told to everybody who asks a worker that shares none.
pub const NO_FILES: &str =
    "its owner allows them by starting the worker with --files DIR (or HALYARD_FILES)";

/// How jobs are allowed, told to everybody who asks a worker that runs none.
pub const NO_JOBS: &str = "this worker runs no jobs; its owner allows them with [[job]] in the \
                           worker's configuration file";

/// What can be done with sound.
#[derive(Debug, Clone, Copy, Default)]
pub struct SoundWords {
    /// The machine can be heard.
    pub listen: bool,
    /// This peer can be heard there.
    pub talk: bool,
}

/// The greeting for a peer of these rights.
pub fn hello(
    own_id: &PeerId,
    access: Access,
    facts: &Facts,
    video: Vec<VideoInfo>,
    sound: SoundWords,
    files: FilesInfo,
    jobs: bool,
) -> Hello {
    let mut capabilities = vec!["telemetry".to_owned()];
    if facts.limits.is_some() {
        capabilities.extend(["drive".to_owned(), "estop".to_owned()]);
    }
    if !facts.actions.is_empty() {
        capabilities.push("commands".to_owned());
    }
    if files.readable || files.writable {
        capabilities.push("files".to_owned());
    }
    if jobs && access.may_operate() {
        capabilities.push("jobs".to_owned());
    }
    if !video.is_empty() {
        capabilities.push("video".to_owned());
    }
    if sound.listen {
        capabilities.push("listen".to_owned());
    }
    if sound.talk {
        capabilities.push("talk".to_owned());
    }
    Hello {
        protocol: PROTOCOL_VERSION,
        agent: AGENT.to_owned(),
        peer_id: own_id.clone(),
        your_access: Some(access),
        capabilities,
        video,
        commands: facts.actions.clone(),
        drive: facts.limits,
        files: Some(files),
    }
}

#[cfg(test)]
mod tests {
    use halyard_protocol::channel::TelemetrySchema;

    use super::*;

    #[test]
    fn a_machine_that_cannot_be_driven_does_not_say_it_could() {
        let facts = Facts {
            driver: "none".to_owned(),
            limits: None,
            actions: vec![],
            schema: TelemetrySchema::default(),
            born: std::time::Instant::now(),
        };
        let id = PeerId::new("worker").expect("a good name");
        let files = FilesInfo {
            readable: false,
            writable: false,
            folders: false,
            hint: Some(NO_FILES.to_owned()),
        };
        let hello =
            hello(&id, Access::Operator, &facts, vec![], SoundWords::default(), files, false);
        assert_eq!(hello.capabilities, ["telemetry"]);
        assert!(hello.drive.is_none() && hello.video.is_empty());
    }
}
