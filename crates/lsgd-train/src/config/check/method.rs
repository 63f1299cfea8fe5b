//! `[method]`

use super::{Sources, quote_number};
use crate::config::error::ConfigError;
use crate::config::types::*;

/// Checks the table.
pub(super) fn check(config: &Config, sources: &Sources) -> Result<(), ConfigError> {
    let method = &config.method;
    sources.fraction("method.local_pull", method.local_pull)?;
    sources.fraction("method.global_pull", method.global_pull)?;
    if let Some(last) = method.final_pull {
        sources.fraction("method.final_pull", last)?;
        super::schedule::needs_steps(config, "method.final_pull", quote_number(last), sources)?;
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
    sources.fraction("method.local_prox", method.local_prox)?;
    sources.fraction("method.global_prox", method.global_prox)?;
    sources.under_one("method.margin", method.margin)?;
    sources.fraction("method.beta", method.beta)?;
    sources.fraction("method.leader_weight", method.leader_weight)?;
    sources.under_one("method.outer_momentum", method.outer_momentum)?;
    let rate = method.outer_rate;
    if !(rate > 0.0 && rate.is_finite()) {
        let problem = "is not in (0, inf); give a number over 0, such as 0.7";
        return Err(sources.refuse("method.outer_rate", quote_number(rate), problem));
    }
    let name = format!("{:?}", method.name.word());
    let mode = config.run.mode;
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
    // SGD has no exchange that would follow anything.
    let follows_nobody = method.name != MethodName::Sgd && !method.name.elects();
    let relation = |key: &str, value: &str, problem: String| {
        Err(sources.refuse_relation(&[key, "method.name"], value, problem))
    };
    let (is, key) = (method.batch_norm, "method.batch_norm");
    match is {
        BatchNormPolicy::Leader | BatchNormPolicy::Mean if follows_nobody && !averages => {
            let value = format!(
                "{:?}",
                if is == BatchNormPolicy::Mean {
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
        BatchNormPolicy::Leader if follows_nobody => {
            let problem = format!(
                "needs a leader, and method.name {name} has none; set it to \"own\" or \"mean\""
            );
            return relation(key, "\"leader\"", problem);
        }
        _ => {}
    }
    if method.score == Score::ProbeLoss && !method.name.elects() {
        let problem = format!(
            "ranks workers for a leader, and method.name {name} has none; set it to \"training_loss\""
        );
        return relation("method.score", "\"probe_loss\"", problem);
    }
    Ok(())
}
