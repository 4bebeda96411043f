//! What was asked for, as it is kept on disk.

use halyard_protocol::{channel::JobStep, ids::PeerId};
use serde::{Deserialize, Serialize};

/// The file of a [`Spec`] in a job's folder.
pub(super) const SPEC: &str = "job.json";

/// The file of a bridge's ports in a job's folder.
pub(super) const PORTS: &str = "ports.json";

/// The file of a job's graphics cards in its folder, where the worker handed some out.
pub(super) const GPUS: &str = "gpus.json";

/// One job as it was asked for. Never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Spec {
    /// Its id.
    pub(super) job: String,
    /// Its place in the queue: smaller goes first.
    pub(super) number: u64,
    /// The request it came with, which is never done twice.
    pub(super) request: String,
    /// What to do.
    pub(super) step: JobStep,
    /// Who asked.
    pub(super) by: PeerId,
    /// When, in milliseconds since 1970.
    pub(super) created_ms: u64,
    /// The job that has to succeed before.
    pub(super) after: Option<String>,
    /// Where it works, in the worker's files.
    pub(super) folder: String,
    /// How many epochs it is to do, where its template has such a value.
    #[serde(default)]
    pub(super) epochs: Option<u64>,
}
