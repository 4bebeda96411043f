//! Graphics cards of NVIDIA, asked through the library of their driver (NVML).
//!
//! The library is looked for when the worker starts, so one build serves computers with and without
//! it. Every question may fail by itself: old cards and virtual ones answer some of them only.

use nvml_wrapper::{
    Device, Nvml, cuda_driver_version_major, cuda_driver_version_minor,
    enum_wrappers::device::TemperatureSensor, enums::device::UsedGpuMemory, error::NvmlError,
};

use super::{GpuFacts, GpuLoad, GpuProcess, HostFacts, HostLoad};

const MIB: u64 = 1024 * 1024;

/// Cards that are looked at.
const MOST_CARDS: u32 = 64;

/// Programs that are named.
const MOST_PROCESSES: usize = 64;

/// The library, and how many cards it knows.
pub(super) struct Nvidia {
    nvml: Nvml,
    cards: u32,
}

impl Nvidia {
    /// Loads the library, or says in words why there is nothing to ask.
    pub(super) fn open() -> Result<Self, String> {
        let nvml = Nvml::init().map_err(|error| match error {
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
                "no NVIDIA graphics card: its driver's library (libnvidia-ml.so.1) is not here"
                    .to_owned()
            }
            NvmlError::DriverNotLoaded => "NVIDIA's driver is not loaded".to_owned(),
            NvmlError::NoPermission => "NVIDIA's driver may not be asked: no permission".to_owned(),
            other => format!("NVIDIA's driver does not answer: {other}"),
        })?;
        match nvml.device_count() {
            Ok(0) => Err("NVIDIA's driver knows no graphics card".to_owned()),
            Ok(cards) => Ok(Self { nvml, cards: cards.min(MOST_CARDS) }),
            Err(error) => Err(format!("NVIDIA's driver does not count its cards: {error}")),
        }
    }

    pub(super) fn describe(&self, facts: &mut HostFacts) {
        facts.gpu_driver = self.nvml.sys_driver_version().ok();
        facts.cuda_version = self.nvml.sys_cuda_driver_version().ok().map(|version| {
            let (major, minor) =
                (cuda_driver_version_major(version), cuda_driver_version_minor(version));
            format!("{major}.{minor}")
        });
        facts.gpus = self
            .devices()
            .map(|(index, card)| GpuFacts {
                index,
                model: model(&card),
                memory_mb: memory(&card).0,
            })
            .collect();
    }

    pub(super) fn measure(&self, load: &mut HostLoad) {
        for (index, card) in self.devices() {
            let (memory_mb, memory_used_mb) = memory(&card);
            load.gpus.push(GpuLoad {
                model: model(&card),
                utilization: card.utilization_rates().ok().map(|rates| rates.gpu as f32 / 100.0),
                memory_used_mb,
                memory_mb,
                temperature_c: card.temperature(TemperatureSensor::Gpu).ok(),
                power_w: card.power_usage().ok().map(|milliwatts| milliwatts as f32 / 1000.0),
            });
            let here = card.running_compute_processes().unwrap_or_default();
            let free = MOST_PROCESSES.saturating_sub(load.processes.len());
            load.processes.extend(here.into_iter().take(free).map(|process| GpuProcess {
                pid: process.pid,
                name: self.name(process.pid),
                gpu: index,
                memory_mb: match process.used_gpu_memory {
                    UsedGpuMemory::Used(bytes) => Some(bytes / MIB),
                    UsedGpuMemory::Unavailable => None,
                },
            }));
        }
    }

    fn devices(&self) -> impl Iterator<Item = (u32, Device<'_>)> {
        (0..self.cards).filter_map(|index| Some((index, self.nvml.device_by_index(index).ok()?)))
    }

    /// The file's name alone: arguments may hold what is nobody's business.
    fn name(&self, pid: u32) -> String {
        let path = self.nvml.sys_process_name(pid, 256).unwrap_or_default();
        let file = path.split_whitespace().next().and_then(|path| path.rsplit('/').next());
        file.filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned()
    }
}

fn model(card: &Device<'_>) -> String {
    card.name().unwrap_or_else(|_| "NVIDIA".to_owned())
}

/// All of it, and what is in use, in MiB.
fn memory(card: &Device<'_>) -> (u64, Option<u64>) {
    card.memory_info().map_or((0, None), |info| (info.total / MIB, Some(info.used / MIB)))
}
