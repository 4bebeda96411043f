//! What a computer is.

use serde::Serialize;

/// What does not change while the worker runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HostFacts {
    /// What it calls itself.
    pub hostname: String,
    /// Its operating system, for people.
    pub os: String,
    /// `x86_64`, `aarch64` and so on.
    pub arch: String,
    /// The processor's name.
    pub cpu: String,
    /// Processors that programs see, or fewer where a container may use fewer.
    pub cpus: usize,
    /// Memory that there is, or that a container may use, in MiB.
    pub memory_mb: u64,
    /// Graphics cards, in NVIDIA's own order.
    pub gpus: Vec<GpuFacts>,
    /// The version of NVIDIA's driver.
    pub gpu_driver: Option<String>,
    /// The newest CUDA that the driver knows, for example `12.4`.
    pub cuda_version: Option<String>,
    /// Why no graphics card is named, where none is.
    pub gpu_note: Option<String>,
}

/// One graphics card.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GpuFacts {
    /// Its number, as in `CUDA_VISIBLE_DEVICES`.
    pub index: u32,
    /// Its name.
    pub model: String,
    /// Its memory in MiB.
    pub memory_mb: u64,
}
