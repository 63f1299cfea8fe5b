//! Relations between keys; the range of each key is declared with it.

mod cluster;
mod method;
mod schedule;
mod sources;

use super::error::ConfigError;
use super::keys::MAX_WORKERS;
use super::schema::not_in_range;
use super::types::*;
pub use sources::ConfigSources;
use sources::Length;

/// Longest name of a run, in bytes: the 255 that common file systems allow for a folder, less what
/// is added while the folder is made.
const MAX_NAME: usize = 230;

/// Checks the engine's tables.
///
/// # Errors
///
/// The first value that is out of range or contradicts another.
pub(super) fn check(settings: &Settings, sources: &ConfigSources) -> Result<(), ConfigError> {
    check_run(&settings.run, sources)?;
    schedule::check_schedule(settings, sources)?;
    method::check(settings, sources)?;
    check_workers(&settings.workers, sources)?;

    let BudgetConfig {
        epochs,
        steps,
        minutes,
        patience,
    } = settings.budget;
    sources.interval(
        "budget",
        "",
        Length {
            epochs,
            steps,
            minutes,
        },
    )?;
    if let Some(patience) = patience
        && settings.cluster.nodes > 1
    {
        let problem = "is of one node, which cannot end the run of others; leave it out";
        let keys = ["budget.patience", "cluster.nodes"];
        return Err(sources.refuse_relation(&keys, patience, problem));
    }
    check_evaluate(&settings.evaluate, sources)?;
    check_checkpoint(&settings.checkpoint, sources)?;
    cluster::check(&settings.cluster, sources)
}

fn check_run(run: &RunConfig, sources: &ConfigSources) -> Result<(), ConfigError> {
    let name = &run.name;
    let problem = if name.is_empty() {
        Some(String::from("is empty"))
    } else if name == "." || name == ".." || name.contains(['/', '\\']) {
        Some(String::from("is a path"))
    } else if name.starts_with('.') {
        Some(String::from("begins with a dot, as hidden folders do"))
    } else if name.chars().any(char::is_control) {
        Some(String::from("has control characters"))
    } else if name.len() > MAX_NAME {
        Some(format!("is longer than {MAX_NAME} bytes"))
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

fn check_workers(workers: &WorkersConfig, sources: &ConfigSources) -> Result<(), ConfigError> {
    let varied = workers.vary.iter().enumerate();
    for (index, Variation { worker, .. }) in varied {
        let before = workers.vary.iter().take(index);
        if let Some(first) = before.clone().position(|other| other.worker == *worker) {
            let key = format!("workers.vary[{index}].worker");
            let problem = format!("is that of workers.vary[{first}] too; give each worker once");
            return Err(sources.refuse_relation(&[&key, "workers.vary"], worker, problem));
        }
    }
    let Devices::List(devices) = &workers.devices else {
        return Ok(());
    };
    let listed = format!("{devices:?}");
    if devices.is_empty() || devices.len() > MAX_WORKERS {
        let problem = format!(
            "has {} entries; give one device a worker, from 1 to {MAX_WORKERS}",
            devices.len()
        );
        return Err(sources.refuse("workers.devices", listed, problem));
    }
    if devices.iter().any(|device| device.trim().is_empty()) {
        let problem = "has an empty name; give the name of a device, such as \"cpu\"";
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

fn check_evaluate(evaluate: &EvaluateConfig, sources: &ConfigSources) -> Result<(), ConfigError> {
    let length = Length {
        epochs: evaluate.every_epochs,
        steps: evaluate.every_steps,
        minutes: evaluate.every_minutes,
    };
    sources.interval("evaluate", "every_", length)
}

fn check_checkpoint(
    checkpoint: &CheckpointConfig,
    sources: &ConfigSources,
) -> Result<(), ConfigError> {
    let length = Length {
        epochs: checkpoint.every_epochs,
        steps: checkpoint.every_steps,
        minutes: checkpoint.every_minutes,
    };
    sources.interval("checkpoint", "every_", length)
}
