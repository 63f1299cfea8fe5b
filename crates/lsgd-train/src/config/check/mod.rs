//! Relations between keys, and the ranges of numbers that are not whole; the schema has those of whole
//! numbers.

mod cluster;
mod method;
mod schedule;
mod simulate;
mod sources;

use lsgd_models::{MAX_CHANNELS, MAX_IMAGE_SIDE};

use super::error::{ConfigError, quote_number};
use super::schema::{MOST_WORKERS, not_in_range};
use super::types::*;
use sources::Length;
pub(super) use sources::Sources;

/// Most values (channels x height x width x examples) of generated data: a gibibyte of bytes.
const MOST_VALUES: u64 = 1 << 30;
/// Longest name of a run, in bytes: 255 of a folder on the file systems in use, less what is put around
/// it while the folder is made.
const LONGEST_NAME: usize = 230;

/// Checks all tables.
///
/// # Errors
///
/// The first value out of its range or at odds with another.
pub(super) fn check(config: &Config, sources: &Sources) -> Result<(), ConfigError> {
    check_run(&config.run, sources)?;
    check_data(&config.data, sources)?;
    sources.under_one("model.dropout", config.model.dropout)?;
    check_optimizer(&config.optimizer, sources)?;
    schedule::check_schedule(config, sources)?;
    method::check(config, sources)?;
    check_workers(&config.workers, sources)?;
    simulate::check(&config.simulate, sources)?;

    let BudgetConfig {
        epochs,
        steps,
        minutes,
    } = config.budget;
    sources.interval(
        "budget",
        "",
        Length {
            epochs,
            steps,
            minutes,
        },
    )?;
    check_evaluate(&config.evaluate, sources)?;
    check_checkpoint(&config.checkpoint, sources)?;
    cluster::check(&config.cluster, sources)
}

fn check_run(run: &RunConfig, sources: &Sources) -> Result<(), ConfigError> {
    let name = &run.name;
    let problem = if name.is_empty() {
        Some(String::from("is empty"))
    } else if name == "." || name == ".." || name.contains(['/', '\\']) {
        Some(String::from("is a path"))
    } else if name.starts_with('.') {
        Some(String::from("begins with a dot, as hidden folders do"))
    } else if name.chars().any(char::is_control) {
        Some(String::from("has control characters"))
    } else if name.len() > LONGEST_NAME {
        Some(format!("is longer than {LONGEST_NAME} bytes"))
    } else {
        None
    };
    if let Some(problem) = problem {
        let problem = format!(
            "{problem}; give one folder name, such as \"first\"; the folder above it is run.folder"
        );
        return Err(sources.refuse("run.name", format!("{name:?}"), problem));
    }
    if run.folder.as_os_str().is_empty() {
        let problem = "is empty; give a folder, such as \"runs\"";
        return Err(sources.refuse("run.folder", "\"\"", problem));
    }
    Ok(())
}

fn check_data(data: &DataConfig, sources: &Sources) -> Result<(), ConfigError> {
    match &data.folder {
        Some(folder) if folder.as_os_str().is_empty() => {
            let problem = "is empty; give the folder that holds the data set's files";
            return Err(sources.refuse("data.folder", "\"\"", problem));
        }
        None if data.name == DataName::Folder => {
            return Err(ConfigError::Absent {
                source_name: sources.of(&["data.name"]),
                key: String::from("data.folder"),
                problem: String::from(
                    "data.name \"folder\" needs it; set it to the folder that holds train and val",
                ),
            });
        }
        _ => {}
    }
    let most = [MAX_CHANNELS, MAX_IMAGE_SIDE, MAX_IMAGE_SIDE];
    for (size, most) in data.shape.into_iter().zip(most) {
        if !(1..=most).contains(&size) {
            let problem =
                format!("has {size}, which is not in [1, {most}]; give channels, height, width");
            return Err(sources.refuse("data.shape", format!("{:?}", data.shape), problem));
        }
    }
    let values: u64 = data.shape.iter().map(|size| *size as u64).product();
    let values = values.saturating_mul(data.examples as u64);
    if values > MOST_VALUES {
        let [channels, height, width] = data.shape;
        let problem = format!(
            "times data.shape [{channels}, {height}, {width}] is over {MOST_VALUES} values; \
             give fewer or smaller examples"
        );
        let keys = ["data.examples", "data.shape"];
        return Err(sources.refuse_relation(&keys, data.examples, problem));
    }
    Ok(())
}

fn check_optimizer(optimizer: &OptimizerConfig, sources: &Sources) -> Result<(), ConfigError> {
    sources.under_one("optimizer.momentum", optimizer.momentum)?;
    if optimizer.nesterov && optimizer.momentum == 0.0 {
        let problem = "needs optimizer.momentum over 0; set nesterov to false or momentum to 0.9";
        let keys = ["optimizer.nesterov", "optimizer.momentum"];
        return Err(sources.refuse_relation(&keys, true, problem));
    }
    let decay = optimizer.weight_decay;
    if !(decay >= 0.0 && decay.is_finite()) {
        let problem = "is not in [0, inf); give a number from 0";
        return Err(sources.refuse("optimizer.weight_decay", quote_number(decay), problem));
    }
    let trust = optimizer.trust;
    if !(trust > 0.0 && trust.is_finite()) {
        let problem = "is not in (0, inf); give a number over 0, such as 0.001";
        return Err(sources.refuse("optimizer.trust", quote_number(trust), problem));
    }
    Ok(())
}

fn check_workers(workers: &WorkersConfig, sources: &Sources) -> Result<(), ConfigError> {
    let Devices::List(devices) = &workers.devices else {
        return Ok(());
    };
    let listed = format!("{devices:?}");
    if devices.is_empty() || devices.len() > MOST_WORKERS {
        let problem = format!(
            "has {} entries; give one device a worker, from 1 to {MOST_WORKERS}",
            devices.len()
        );
        return Err(sources.refuse("workers.devices", listed, problem));
    }
    if devices.iter().any(|device| device.trim().is_empty()) {
        let problem = "has an empty name; `lsgd-train devices` lists what can train here";
        return Err(sources.refuse("workers.devices", listed, problem));
    }
    if let Some(count) = workers.count
        && count != devices.len()
    {
        let problem = format!(
            "is not the length of workers.devices, {}; give one device a worker, or leave one of \
             the two keys out",
            devices.len()
        );
        let keys = ["workers.count", "workers.devices"];
        return Err(sources.refuse_relation(&keys, count, problem));
    }
    Ok(())
}

fn check_evaluate(evaluate: &EvaluateConfig, sources: &Sources) -> Result<(), ConfigError> {
    let length = Length {
        epochs: evaluate.every_epochs,
        steps: evaluate.every_steps,
        minutes: evaluate.every_minutes,
    };
    sources.interval("evaluate", "every_", length)
}

fn check_checkpoint(checkpoint: &CheckpointConfig, sources: &Sources) -> Result<(), ConfigError> {
    let length = Length {
        epochs: checkpoint.every_epochs,
        steps: checkpoint.every_steps,
        minutes: checkpoint.every_minutes,
    };
    sources.interval("checkpoint", "every_", length)
}
