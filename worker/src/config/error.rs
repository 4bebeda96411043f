//! Why the worker does not start.

use halyard_settings::{Place, SettingError};

use super::cameras::CameraError;
use crate::jobs::TemplateError;

/// What was typed means nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// One setting, or a place where settings are.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A template of a job.
    #[error("{place}: {source}")]
    Job {
        /// The configuration file.
        place: Place,
        /// Which, and why.
        source: TemplateError,
    },
    /// A camera.
    #[error("{source}, in {place}")]
    Camera {
        /// Which, and why.
        source: CameraError,
        /// Where it was typed.
        place: Place,
    },
    /// A template of a job needs more graphics cards than jobs have.
    #[error(
        "the job {job:?} has gpus = {gpus}, but job_gpus names {cards}; name more there or let \
         the job need fewer"
    )]
    TooFewGpus {
        /// The template.
        job: String,
        /// What it needs.
        gpus: u32,
        /// What there are.
        cards: usize,
    },
    /// A graphics card is named twice.
    #[error("job_gpus names {card:?} twice; each card is named once")]
    GpuTwice {
        /// Which.
        card: String,
    },
}
