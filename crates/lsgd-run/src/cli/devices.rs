//! The command `devices`.

use super::say::say;
use crate::device::{self, DeviceError};
use crate::error::RunError;
use crate::exit::{EXIT_FAILED, EXIT_SUCCESS};

/// Lists the devices; checks each if that is asked for.
pub(super) fn devices(checks: bool) -> Result<u8, RunError> {
    let available = device::available();
    if available.is_empty() {
        return Err(DeviceError::NoBackend.into());
    }
    let mut code = EXIT_SUCCESS;
    for (index, device) in available.iter().enumerate() {
        let mut line = format!("{}  {}", device.name, device.description());
        if index == 0 {
            line.push_str(", first choice of \"auto\"");
        }
        if checks {
            match device::check(&device.device) {
                Ok(error) => line.push_str(&format!("; right to {error:.0e}")),
                Err(why) => {
                    code = EXIT_FAILED;
                    line.push_str(&format!("; WRONG: {why}"));
                }
            }
        }
        say(format_args!("{line}"))?;
    }
    for backend in device::absent() {
        say(format_args!(
            "{backend}  is in this build, but has no device here: no such GPU, or no driver of it was found"
        ))?;
    }
    Ok(code)
}
