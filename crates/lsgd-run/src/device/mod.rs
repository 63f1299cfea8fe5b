//! The devices that workers can train on.

mod check;
mod failure;

use burn::tensor::{Device, DeviceType, FloatDType};

use crate::config::{Devices, WorkersConfig};
use crate::words::did_you_mean;

pub use check::{CheckError, check};
pub use failure::DeviceFailure;

/// A backend of this build.
struct Backend {
    /// Its name in `workers.devices`.
    name: &'static str,
    /// Burn's name for it.
    kind: DeviceType,
    /// Whether its devices are GPUs, numbered from 0, rather than the CPU.
    gpu: bool,
}

/// A device that a worker can train on.
#[derive(Debug, Clone)]
pub struct WorkerDevice {
    /// Its name in `workers.devices`: a backend, for GPUs with a number, such as `wgpu:0`.
    pub name: String,
    /// The device, without autodiff.
    pub device: Device,
    /// Whether it is a GPU.
    pub gpu: bool,
}

impl WorkerDevice {
    /// What is known of it: whether it is a GPU, its part's name if Burn tells, and the narrow number
    /// types that it computes in. Burn does not tell how much memory a device has.
    pub fn description(&self) -> String {
        let mut words = vec![String::from(if self.gpu { "GPU" } else { "CPU" })];
        words.extend(self.part());
        for (dtype, name) in [(FloatDType::F16, "f16"), (FloatDType::BF16, "bf16")] {
            if self.device.supports_dtype(dtype) {
                words.push(name.to_owned());
            }
        }
        words.join(", ")
    }

    /// The name of the part, such as `NVIDIA H200`.
    #[cfg(any(
        feature = "cuda",
        feature = "rocm",
        feature = "metal",
        feature = "vulkan",
        feature = "wgpu"
    ))]
    fn part(&self) -> Option<String> {
        self.device.identity().map(|identity| identity.name)
    }

    #[cfg(not(any(
        feature = "cuda",
        feature = "rocm",
        feature = "metal",
        feature = "vulkan",
        feature = "wgpu"
    )))]
    fn part(&self) -> Option<String> {
        None
    }
}

/// Why a worker has no device.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DeviceError {
    /// No device of this build and machine has this name.
    #[error(
        "workers.devices {name:?} is not there; this build and machine have {}; \
         the command devices lists them, GPU backends are cargo features{}",
        there.join(", "),
        did_you_mean(name, there.iter().map(String::as_str).chain(["cpu"]))
    )]
    NotThere {
        /// The name asked for.
        name: String,
        /// The available names.
        there: Vec<String>,
    },
    /// `"auto"` takes no GPU that does not pass a [check](check()).
    #[error(
        "workers.devices \"auto\" comes to {name}, which does not pass a check: {why}; \
         the command devices --check tries all devices, and a list of others trains without it"
    )]
    Wrong {
        /// Its name.
        name: String,
        /// What is wrong.
        why: CheckError,
    },
    /// The build has no backend.
    #[error("this build has no backend; build it with one of the cargo features flex, wgpu, cuda")]
    NoBackend,
}

/// The backends of this build, GPUs first; among CPU backends the fastest first.
fn backends() -> Vec<Backend> {
    vec![
        #[cfg(feature = "cuda")]
        Backend {
            name: "cuda",
            kind: DeviceType::Cuda,
            gpu: true,
        },
        #[cfg(feature = "rocm")]
        Backend {
            name: "rocm",
            kind: DeviceType::Rocm,
            gpu: true,
        },
        #[cfg(feature = "metal")]
        Backend {
            name: "metal",
            kind: DeviceType::Metal,
            gpu: true,
        },
        #[cfg(feature = "vulkan")]
        Backend {
            name: "vulkan",
            kind: DeviceType::Vulkan,
            gpu: true,
        },
        #[cfg(feature = "wgpu")]
        Backend {
            name: "wgpu",
            kind: DeviceType::Wgpu,
            gpu: true,
        },
        #[cfg(feature = "flex")]
        Backend {
            name: "flex",
            kind: DeviceType::Flex,
            gpu: false,
        },
        #[cfg(feature = "ndarray")]
        Backend {
            name: "ndarray",
            kind: DeviceType::NdArray,
            gpu: false,
        },
    ]
}

/// All available devices, preferred ones first.
pub fn available() -> Vec<WorkerDevice> {
    let devices_of = |backend: Backend| {
        let devices = Device::enumerate(backend.kind).into_vec();
        devices
            .into_iter()
            .enumerate()
            .map(move |(index, device)| WorkerDevice {
                name: match backend.gpu {
                    true => format!("{}:{index}", backend.name),
                    false => backend.name.to_owned(),
                },
                device,
                gpu: backend.gpu,
            })
    };
    backends().into_iter().flat_map(devices_of).collect()
}

/// GPU backends of this build without a device here: no such GPU, or no driver for it.
pub fn absent() -> Vec<&'static str> {
    let is_absent = |backend: &Backend| {
        backend.gpu
            && Device::enumerate(backend.kind.clone())
                .into_vec()
                .is_empty()
    };
    let absent = backends().into_iter().filter(is_absent);
    absent.map(|backend| backend.name).collect()
}

/// One device per worker.
///
/// `"auto"` takes the GPUs of the preferred backend that has any, in turn, else the CPU; without
/// `workers.count` there is one worker per GPU, or one on the CPU. Each GPU that it takes is
/// [checked](check) first. In a list, `"cpu"` means the build's preferred CPU backend, and nothing is
/// checked.
///
/// # Errors
///
/// [`DeviceError`] for an unavailable name, and for a GPU that computes wrong numbers.
pub fn assign(workers: &WorkersConfig) -> Result<Vec<WorkerDevice>, DeviceError> {
    let gpu = |device: &WorkerDevice| match device.gpu {
        true => check(&device.device).map(drop),
        false => Ok(()),
    };
    choose(available(), workers, gpu)
}

fn choose(
    there: Vec<WorkerDevice>,
    workers: &WorkersConfig,
    check: impl Fn(&WorkerDevice) -> Result<(), CheckError>,
) -> Result<Vec<WorkerDevice>, DeviceError> {
    match &workers.devices {
        Devices::Word(_) => {
            let backend = |device: &WorkerDevice| backend_of(&device.name).to_owned();
            let best = there.first().ok_or(DeviceError::NoBackend)?;
            let chosen = backend(best);
            let devices: Vec<_> = there
                .into_iter()
                .filter(|device| backend(device) == chosen)
                .collect();
            let count = workers.count.unwrap_or(devices.len());
            for device in devices.iter().take(count) {
                check(device).map_err(|why| DeviceError::Wrong {
                    name: device.name.clone(),
                    why,
                })?;
            }
            Ok(devices.into_iter().cycle().take(count).collect())
        }
        Devices::List(names) => names.iter().map(|name| find(&there, name)).collect(),
    }
}

fn find(there: &[WorkerDevice], name: &str) -> Result<WorkerDevice, DeviceError> {
    let wanted = |device: &&WorkerDevice| match name {
        "cpu" => !device.gpu,
        _ => device.name == name,
    };
    let found = there.iter().find(wanted).cloned();
    found.ok_or_else(|| DeviceError::NotThere {
        name: name.to_owned(),
        there: there.iter().map(|device| device.name.clone()).collect(),
    })
}

fn backend_of(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> WorkerDevice {
        WorkerDevice {
            name: name.to_owned(),
            device: Device::flex(),
            gpu: name.contains(':'),
        }
    }

    fn names(
        there: &[&str],
        count: Option<usize>,
        devices: Devices,
    ) -> Result<Vec<String>, String> {
        let workers = WorkersConfig {
            count,
            devices,
            ..WorkersConfig::default()
        };
        let there = there.iter().map(|name| device(name)).collect();
        let broken = |device: &WorkerDevice| match device.name.starts_with("broken") {
            true => Err(CheckError::Failed(String::from("no such kernel"))),
            false => Ok(()),
        };
        choose(there, &workers, broken)
            .map(|chosen| chosen.into_iter().map(|device| device.name).collect())
            .map_err(|error| error.to_string())
    }

    fn auto() -> Devices {
        Devices::Word(String::from("auto"))
    }

    fn list(names: &[&str]) -> Devices {
        Devices::List(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn auto_takes_every_gpu_before_the_cpu() {
        let there = ["cuda:0", "cuda:1", "wgpu:0", "flex"];
        let all = names(&there, None, auto()).unwrap();
        assert_eq!(all, ["cuda:0", "cuda:1"]);
        let three = names(&there, Some(3), auto()).unwrap();
        assert_eq!(three, ["cuda:0", "cuda:1", "cuda:0"]);
    }

    #[test]
    fn auto_takes_the_cpu_where_there_is_no_gpu() {
        assert_eq!(names(&["flex", "ndarray"], None, auto()).unwrap(), ["flex"]);
        let two = names(&["flex", "ndarray"], Some(2), auto()).unwrap();
        assert_eq!(two, ["flex", "flex"]);
    }

    #[test]
    fn auto_takes_no_gpu_that_computes_wrong_numbers() {
        let there = ["broken:0", "broken:1", "flex"];
        let refused = names(&there, Some(1), auto()).unwrap_err();
        assert_eq!(
            refused,
            "workers.devices \"auto\" comes to broken:0, which does not pass a check: it failed: no such \
             kernel; the command devices --check tries all devices, and a list of others trains without it"
        );
        let listed = names(&there, None, list(&["broken:1", "cpu"])).unwrap();
        assert_eq!(listed, ["broken:1", "flex"]);
    }

    #[test]
    fn a_list_is_taken_as_it_is() {
        let there = ["wgpu:0", "flex", "ndarray"];
        let chosen = names(&there, None, list(&["ndarray", "cpu", "wgpu:0"])).unwrap();
        assert_eq!(chosen, ["ndarray", "flex", "wgpu:0"]);
    }

    #[test]
    fn a_device_that_is_misspelt_is_guessed() {
        let error = |name| names(&["wgpu:0", "flex"], None, list(&[name])).unwrap_err();
        for (name, meant) in [("flx", "flex"), ("wgpu:1", "wgpu:0"), ("CPU", "cpu")] {
            let expected = format!("; did you mean \"{meant}\"?");
            assert!(error(name).ends_with(&expected), "{}", error(name));
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let error = names(&["flex"], None, list(&["cuda:7"])).unwrap_err();
        assert_eq!(
            error,
            "workers.devices \"cuda:7\" is not there; this build and machine have flex; \
             the command devices lists them, GPU backends are cargo features"
        );
    }
}
