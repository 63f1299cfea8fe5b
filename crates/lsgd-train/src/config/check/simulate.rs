//! `[simulate]`

use super::{Sources, quote_number};
use crate::config::error::ConfigError;
use crate::config::types::*;

/// Most simulated nodes.
const MOST_NODES: u64 = 1024;
/// Longest time, in seconds: thirty years.
const LONGEST: f64 = 1e9;

/// Checks the table.
pub(super) fn check(simulate: &SimulateConfig, sources: &Sources) -> Result<(), ConfigError> {
    sources.whole("simulate.nodes", simulate.nodes, (1, MOST_NODES))?;
    sources.whole("simulate.slow_workers", simulate.slow_workers, (0, 1 << 20))?;
    let number = |key: &str, value: f64, fits: bool, range: &str, example: &str| match fits {
        true => Ok(()),
        false => {
            let problem = format!("is not in {range}; give a number such as {example}");
            Err(sources.refuse(key, quote_number(value), problem))
        }
    };
    let over_nought = |key: &str, value: f64, example: &str| {
        let fits = value > 0.0 && value <= LONGEST;
        number(key, value, fits, "(0, 1e9]", example)
    };
    let from_nought = |key: &str, value: f64, most: f64, range: &str, example: &str| {
        number(key, value, (0.0..=most).contains(&value), range, example)
    };
    over_nought("simulate.step_seconds", simulate.step_seconds, "0.1")?;
    from_nought(
        "simulate.step_sigma",
        simulate.step_sigma,
        3.0,
        "[0, 3]",
        "0.2",
    )?;
    over_nought("simulate.slow_factor", simulate.slow_factor, "2.0")?;
    for (key, value) in [
        ("simulate.latency_seconds", simulate.latency_seconds),
        (
            "simulate.local_latency_seconds",
            simulate.local_latency_seconds,
        ),
    ] {
        from_nought(key, value, LONGEST, "[0, 1e9]", "0.001")?;
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
        from_nought(&key, death.seconds, LONGEST, "[0, 1e9]", "60.0")?;
    }
    Ok(())
}
