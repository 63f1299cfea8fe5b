//! `[method]`

use lsgd_core::{BatchNorm, Mode};

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
    let rates = settings
        .workers
        .vary
        .iter()
        .map(|varied| varied.learning_rate);
    if method.name == MethodName::DataParallel && rates.into_iter().any(|rate| rate != 1.0) {
        let problem = "has workers that would drift apart for good if workers.vary gave one another \
                       learning_rate; leave that out";
        let keys = ["method.name", "workers.vary"];
        return Err(sources.refuse_relation(&keys, "\"data_parallel\"", problem));
    }
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
