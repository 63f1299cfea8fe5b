//! `[simulate]`

use super::{Sources, quote_number};
use crate::config::error::ConfigError;
use crate::config::types::*;

/// Longest time, in seconds: thirty years.
const LONGEST: f64 = 1e9;

/// Checks the table.
pub(super) fn check(simulate: &SimulateConfig, sources: &Sources) -> Result<(), ConfigError> {
    let number = |key: &str, value: f64, fits: bool, range: &str, example: &str| match fits {
        true => Ok(()),
        false => {
            let problem = format!("is not in {range}; give a number such as {example}");
            Err(sources.refuse(key, quote_number(value), problem))
        }
    };
    let positive = |key: &str, value: f64, example: &str| {
        let fits = value > 0.0 && value <= LONGEST;
        number(key, value, fits, "(0, 1e9]", example)
    };
    let in_range = |key: &str, value: f64, most: f64, range: &str, example: &str| {
        number(key, value, (0.0..=most).contains(&value), range, example)
    };
    positive("simulate.step_seconds", simulate.step_seconds, "0.1")?;
    in_range(
        "simulate.step_sigma",
        simulate.step_sigma,
        3.0,
        "[0, 3]",
        "0.2",
    )?;
    positive("simulate.slow_factor", simulate.slow_factor, "2.0")?;
    for (key, value) in [
        ("simulate.latency_seconds", simulate.latency_seconds),
        (
            "simulate.local_latency_seconds",
            simulate.local_latency_seconds,
        ),
    ] {
        in_range(key, value, LONGEST, "[0, 1e9]", "0.001")?;
    }
    for (key, value) in [
        ("simulate.bytes_per_second", simulate.bytes_per_second),
        (
            "simulate.local_bytes_per_second",
            simulate.local_bytes_per_second,
        ),
    ] {
        number(key, value, value >= 1.0, "[1, inf]", "125e6 (1 Gbit/s)")?;
    }
    for (index, death) in simulate.deaths.iter().enumerate() {
        let key = format!("simulate.deaths[{index}].seconds");
        in_range(&key, death.seconds, LONGEST, "[0, 1e9]", "60.0")?;
    }
    Ok(())
}
