//! What a GPU's failure says, and what to do about it.

use std::fmt;

/// A failure that is the device's rather than the program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceFailure {
    /// It has no memory left.
    OutOfMemory,
    /// It or its driver has given up; nothing on it can be trusted any more.
    Lost,
}

/// How CUDA, wgpu and cubecl 0.11 name them; in lower case.
const SIGNS: [(&str, DeviceFailure); 11] = [
    ("out of memory", DeviceFailure::OutOfMemory),
    ("out-of-memory", DeviceFailure::OutOfMemory),
    ("out_of_memory", DeviceFailure::OutOfMemory),
    ("out of device memory", DeviceFailure::OutOfMemory),
    ("outofmemory", DeviceFailure::OutOfMemory),
    ("page size the memory tracks", DeviceFailure::OutOfMemory),
    ("poisoned", DeviceFailure::Lost),
    ("device was lost", DeviceFailure::Lost),
    ("device is lost", DeviceFailure::Lost),
    ("devicelost", DeviceFailure::Lost),
    ("illegal_address", DeviceFailure::Lost),
];

impl DeviceFailure {
    /// The failure that a panic's message tells of, if it does: Burn 0.22.1 panics with the text of the
    /// error, which has no type any more.
    pub fn in_message(message: &str) -> Option<Self> {
        let message = message.to_lowercase();
        let sign = SIGNS.iter().find(|(sign, _)| message.contains(sign));
        sign.map(|(_, failure)| *failure)
    }
}

impl fmt::Display for DeviceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfMemory => {
                "out of memory; make the batch or the model smaller, or have fewer workers on it"
            }
            Self::Lost => {
                "lost; the system's log may say why, and devices --check whether it works again"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_by_their_messages() {
        use DeviceFailure::{Lost, OutOfMemory};
        for (message, failure) in [
            (
                "out of device memory allocating 64 bytes\nbacktrace",
                Some(OutOfMemory),
            ),
            (
                "An out-of-memory error happened during launch\nCaused by:",
                Some(OutOfMemory),
            ),
            (
                "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")",
                Some(OutOfMemory),
            ),
            ("The device was poisoned during launch", Some(Lost)),
            ("Validation Error: Parent device is lost", Some(Lost)),
            ("index out of bounds: the len is 3", None),
        ] {
            assert_eq!(DeviceFailure::in_message(message), failure, "{message}");
        }
    }
}
