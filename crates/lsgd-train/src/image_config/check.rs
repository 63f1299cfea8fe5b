//! Relations between keys; the range of each is declared with the key.

use lsgd_models::{MAX_CHANNELS, MAX_IMAGE_SIDE};

use super::types::*;
use lsgd_run::config::{ConfigError, ConfigSources, Settings};

/// Most values (channels x height x width x examples) of generated data: one gibibyte.
const MAX_VALUES: u64 = 1 << 30;

/// Checks all tables.
///
/// # Errors
///
/// The first value out of its range or inconsistent with another.
pub(super) fn check(config: &ImageConfig, sources: &ConfigSources) -> Result<(), ConfigError> {
    check_data(&config.data, sources)?;
    let factor = config.optimizer.shift_rate;
    if factor != 1.0 && !config.model.name.normalises() {
        let problem = format!(
            "makes no difference: model.name {:?} has no normalisations; leave it out",
            config.model.name.name()
        );
        let keys = ["optimizer.shift_rate", "model.name"];
        return Err(sources.refuse_relation(&keys, factor, problem));
    }
    check_optimizer(&config.optimizer, sources)
}

/// Refuses a factor for a weight decay of zero.
///
/// # Errors
///
/// The first entry of `workers.vary` that has one.
pub(super) fn check_varied_decay(
    optimizer: &OptimizerConfig,
    settings: &Settings,
    sources: &ConfigSources,
) -> Result<(), ConfigError> {
    let mut varied = settings.workers.vary.iter().enumerate();
    match varied.find(|(_, varied)| varied.weight_decay != 1.0) {
        Some((index, varied)) if optimizer.weight_decay == 0.0 => {
            let key = format!("workers.vary[{index}].weight_decay");
            let problem = format!(
                "makes no difference: optimizer.name {:?} has optimizer.weight_decay 0; set that, or leave \
                 this out",
                optimizer.name.word()
            );
            let keys = [key.as_str(), "optimizer.weight_decay"];
            Err(sources.refuse_relation(&keys, varied.weight_decay, problem))
        }
        _ => Ok(()),
    }
}

fn check_data(data: &DataConfig, sources: &ConfigSources) -> Result<(), ConfigError> {
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
    if let Some(number) = data.holdout
        && number >= 1.0
        && number.fract() != 0.0
    {
        let problem =
            "is neither a share nor a number of images; give a number below 1, or a whole one";
        return Err(sources.refuse("data.holdout", number, problem));
    }
    if let Some(jitter) = data.jitter
        && jitter == Jitter::default()
    {
        let problem =
            "changes nothing; give brightness, contrast, saturation or hue, or leave it out";
        return Err(sources.refuse("data.jitter", "{}", problem));
    }
    for (index, varied) in data.vary.iter().enumerate() {
        let DataVariation {
            worker, augment, ..
        } = varied;
        let mut before = data.vary.iter().take(index);
        if let Some(first) = before.position(|other| other.worker == *worker) {
            let key = format!("data.vary[{index}].worker");
            let problem = format!("is that of data.vary[{first}] too; give each worker once");
            return Err(sources.refuse_relation(&[&key, "data.vary"], worker, problem));
        }
        if !augment && !augments(data) {
            let key = format!("data.vary[{index}].augment");
            let problem = "makes no difference: data.augment is \"none\", and no other key alters training \
                           images; set one, or leave this out";
            return Err(sources.refuse_relation(&[&key, "data.augment"], augment, problem));
        }
    }
    let altering = match (data.trivial_augment, data.jitter) {
        (true, _) => Some(("data.trivial_augment", "true")),
        (_, Some(_)) => Some(("data.jitter", "{ .. }")),
        (false, None) => None,
    };
    if let (Some((key, value)), DataName::Digits) = (altering, data.name) {
        let problem = "alters images of 256 levels, and data.name \"digits\" has 17; leave it out";
        return Err(sources.refuse_relation(&[key, "data.name"], value, problem));
    }
    for (key, shape) in [("data.mixup", data.mixup), ("data.cutmix", data.cutmix)] {
        if let (Some(shape), 1) = (shape, data.batch_size) {
            let problem = "needs data.batch_size of at least 2, since it mixes the images of a batch; \
                           give a larger one, or leave it out";
            return Err(sources.refuse_relation(&[key, "data.batch_size"], shape, problem));
        }
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
    if values > MAX_VALUES {
        let [channels, height, width] = data.shape;
        let problem = format!(
            "times data.shape [{channels}, {height}, {width}] is over {MAX_VALUES} values; \
             give fewer or smaller examples"
        );
        let keys = ["data.examples", "data.shape"];
        return Err(sources.refuse_relation(&keys, data.examples, problem));
    }
    Ok(())
}

/// Whether any key alters training images.
fn augments(data: &DataConfig) -> bool {
    data.augment != Augment::None
        || data.trivial_augment
        || data.jitter.is_some()
        || data.cutout.is_some()
        || data.erasing > 0.0
        || data.mixup.or(data.cutmix).is_some()
}

fn check_optimizer(
    optimizer: &OptimizerConfig,
    sources: &ConfigSources,
) -> Result<(), ConfigError> {
    if optimizer.nesterov && optimizer.momentum == 0.0 {
        let problem = "needs optimizer.momentum over 0; set nesterov to false or momentum to 0.9";
        let keys = ["optimizer.nesterov", "optimizer.momentum"];
        return Err(sources.refuse_relation(&keys, true, problem));
    }
    if let (Some(norm), Some(_)) = (optimizer.clip_norm, optimizer.clip_value) {
        let problem = "is given together with optimizer.clip_value; give one of them";
        let keys = ["optimizer.clip_norm", "optimizer.clip_value"];
        return Err(sources.refuse_relation(&keys, norm, problem));
    }
    Ok(())
}
