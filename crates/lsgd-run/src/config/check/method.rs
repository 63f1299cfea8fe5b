//! `[method]`

use lsgd_core::{BatchNorm, Factors, Mode, OuterStep, WireFormat};

use super::ConfigSources;
use crate::config::error::{ConfigError, quote_number};
use crate::config::types::*;

/// Checks the table.
pub(super) fn check(settings: &Settings, sources: &ConfigSources) -> Result<(), ConfigError> {
    let method = &settings.method;
    if let Some(last) = method.final_pull {
        super::schedule::needs_steps(settings, "method.final_pull", quote_number(last), sources)?;
    }
    if let Some(alpha) = method.quadratic_period {
        let (key, alpha) = ("method.quadratic_period", quote_number(alpha));
        if settings.run.mode == Mode::Async {
            let problem = "applies only to run.mode \"sync\"; leave it out";
            return Err(sources.refuse_relation(&[key, "run.mode"], alpha, problem));
        }
        if method.local_prox > 0.0 || method.global_prox > 0.0 {
            let problem = "changes the periods that method.local_prox and method.global_prox are shares of; \
                           set those to 0, or leave this out";
            let keys = [key, "method.local_prox", "method.global_prox"];
            return Err(sources.refuse_relation(&keys, alpha, problem));
        }
        super::schedule::needs_steps(settings, key, alpha, sources)?;
    }
    check_factors(settings, sources)?;
    check_wire(settings, sources)?;
    let (local, global) = (method.local_period, method.global_period);
    if global % local != 0 {
        let (lower, upper) = (global / local * local, (global / local + 1) * local);
        let advice = match lower {
            0 => format!("set it to {upper}"),
            lower => format!("set it to {lower} or {upper}"),
        };
        let problem = format!("is not a multiple of method.local_period {local}; {advice}");
        let keys = ["method.global_period", "method.local_period"];
        return Err(sources.refuse_relation(&keys, global, problem));
    }
    let name = format!("{:?}", method.name.word());
    let mode = settings.run.mode;
    let averages = method.name.averages(mode);
    let problem = match mode {
        Mode::Async if averages => Some(
            "needs all workers to meet, and in run.mode \"async\" they never do; \
             set run.mode to \"sync\"",
        ),
        Mode::Sync if method.name == MethodName::Downpour => Some(
            "has workers that never meet, as all must in run.mode \"sync\"; \
             set run.mode to \"async\"",
        ),
        _ => None,
    };
    if let Some(problem) = problem {
        let keys = ["method.name", "run.mode"];
        return Err(sources.refuse_relation(&keys, name, problem));
    }
    // SGD has no exchange, so nothing to follow.
    let follows_nobody = method.name != MethodName::Sgd && !method.name.elects();
    let relation = |key: &str, value: &str, problem: String| {
        Err(sources.refuse_relation(&[key, "method.name"], value, problem))
    };
    let (is, key) = (method.batch_norm, "method.batch_norm");
    match is {
        BatchNorm::Leader | BatchNorm::Mean if follows_nobody && !averages => {
            let value = format!(
                "{:?}",
                if is == BatchNorm::Mean {
                    "mean"
                } else {
                    "leader"
                }
            );
            let problem = format!(
                "needs a leader or a meeting of all workers, and method.name {name} has neither in \
                 run.mode \"async\"; set it to \"own\""
            );
            return relation(key, &value, problem);
        }
        BatchNorm::Leader if follows_nobody => {
            let problem = format!(
                "needs a leader, and method.name {name} has none; set it to \"own\" or \"mean\""
            );
            return relation(key, "\"leader\"", problem);
        }
        _ => {}
    }
    Ok(())
}

/// Checks that a format for changes goes with a method whose workers begin from the mean.
fn check_wire(settings: &Settings, sources: &ConfigSources) -> Result<(), ConfigError> {
    let method = &settings.method;
    if settings.cluster.wire != WireFormat::Topk {
        return Ok(());
    }
    let refuse = |key: &str, problem: String| {
        Err(sources.refuse_relation(&["cluster.wire", key], "\"topk\"", problem))
    };
    match method.name {
        _ if settings.run.mode == Mode::Async => refuse(
            "run.mode",
            String::from(
                "sends changes since the last mean of all, and in run.mode \"async\" there is none; \
             use \"bf16\" or \"int8\"",
            ),
        ),
        MethodName::LocalSgd => Ok(()),
        MethodName::Diloco | MethodName::Slowmo if method.outer_momentum == 0.0 => {
            let near = OuterStep::NEAR_MEAN;
            if near.contains(&method.outer_learning_rate) {
                return Ok(());
            }
            let problem = format!(
                "sends changes since the last mean, near which workers are to begin; give \
                 method.outer_learning_rate {} from {} to {}, or use \"bf16\" or \"int8\"",
                quote_number(method.outer_learning_rate),
                near.start(),
                near.end()
            );
            refuse("method.outer_learning_rate", problem)
        }
        MethodName::Diloco | MethodName::Slowmo => refuse(
            "method.outer_momentum",
            format!(
                "sends changes since the last mean, which momentum leads away from; set method.outer_momentum {} \
                 to 0, or use \"bf16\" or \"int8\"",
                quote_number(method.outer_momentum)
            ),
        ),
        name => refuse(
            "method.name",
            format!(
                "sends changes since the last mean, and workers of method.name {:?} do not begin there; use it \
                 with local_sgd, or use \"bf16\" or \"int8\"",
                name.word()
            ),
        ),
    }
}

/// Checks the factors of workers that differ, and whether they are taken over.
fn check_factors(settings: &Settings, sources: &ConfigSources) -> Result<(), ConfigError> {
    let (method, varied) = (&settings.method, &settings.workers.vary);
    if method.name == MethodName::DataParallel {
        let of = |factor: fn(&Variation) -> f64| varied.iter().any(|varied| factor(varied) != 1.0);
        let key = match () {
            () if of(|varied| varied.learning_rate) => Some("learning_rate"),
            () if of(|varied| varied.weight_decay) => Some("weight_decay"),
            () => None,
        };
        if let Some(key) = key {
            let problem = format!(
                "has workers that would drift apart for good if workers.vary gave one another {key}; \
                 leave that out"
            );
            let keys = ["method.name", "workers.vary"];
            return Err(sources.refuse_relation(&keys, "\"data_parallel\"", problem));
        }
    }
    if !method.adopt {
        if method.adopt_spread != MethodConfig::default().adopt_spread {
            let (key, value) = ("method.adopt_spread", quote_number(method.adopt_spread));
            let problem =
                "has no effect while method.adopt is false; set that to true, or leave this out";
            return Err(sources.refuse_relation(&[key, "method.adopt"], value, problem));
        }
        return Ok(());
    }
    for (index, varied) in varied.iter().enumerate() {
        if let Some(factor) = varied.factors().out_of_bounds() {
            let name = match factor == varied.learning_rate {
                true => "learning_rate",
                false => "weight_decay",
            };
            let key = format!("workers.vary[{index}].{name}");
            let problem = format!(
                "is not within the bounds of what method.adopt takes over; give a number from {} to {}, \
                 or leave method.adopt out",
                Factors::LEAST,
                Factors::MOST
            );
            let keys = [key.as_str(), "method.adopt"];
            return Err(sources.refuse_relation(&keys, quote_number(factor), problem));
        }
    }
    Ok(())
}
