//! The learning rate's table.

use super::ConfigSources;
use crate::config::error::{ConfigError, quote_number};
use crate::config::types::*;

/// Checks `[schedule]`, and that a rate that depends on the budget has one whose steps are known.
pub(super) fn check_schedule(
    settings: &Settings,
    sources: &ConfigSources,
) -> Result<(), ConfigError> {
    let schedule = &settings.schedule;
    check_drops(&schedule.drops, sources)?;
    if let Some(Span { epochs, steps }) = schedule.warmup {
        check_point(
            "schedule.warmup",
            "schedule.warmup",
            (epochs, steps),
            sources,
        )?;
    }
    match schedule.kind {
        ScheduleKind::Cosine | ScheduleKind::Polynomial | ScheduleKind::OneCycle => {
            let value = format!("\"{}\"", schedule.kind.word());
            needs_steps(settings, "schedule.kind", value, sources)?;
        }
        ScheduleKind::Steps if schedule.drops.is_empty() => {
            return Err(ConfigError::Absent {
                source_name: sources.of(&["schedule.kind", "schedule.drops"]),
                key: String::from("schedule.drops"),
                problem: String::from(
                    "schedule.kind \"steps\" needs it; \
                     give a list, such as [{ epochs = 80, factor = 0.1 }]",
                ),
            });
        }
        ScheduleKind::Steps | ScheduleKind::Constant => {}
    }
    Ok(())
}

/// Checks that the budget is one of steps, which `key` with this value needs.
pub(super) fn needs_steps(
    settings: &Settings,
    key: &str,
    value: String,
    sources: &ConfigSources,
) -> Result<(), ConfigError> {
    let Some(minutes) = settings.budget.minutes else {
        return Ok(());
    };
    let problem = format!(
        "needs a known number of steps, which budget.minutes {} does not give; \
         set budget.epochs or budget.steps instead",
        quote_number(minutes)
    );
    Err(sources.refuse_relation(&[key, "budget.minutes"], value, problem))
}

fn check_drops(drops: &[Drop], sources: &ConfigSources) -> Result<(), ConfigError> {
    const KEY: &str = "schedule.drops";
    let invalid =
        |index: usize, field: &str, value: String, problem: String| ConfigError::Invalid {
            source_name: sources.of(&[KEY]),
            key: format!("{KEY}[{index}]{field}"),
            value,
            problem,
        };
    for (index, drop) in drops.iter().enumerate() {
        let entry = format!("{KEY}[{index}]");
        check_point(KEY, &entry, (drop.epochs, drop.steps), sources)?;
        let Some(before) = index.checked_sub(1).and_then(|before| drops.get(before)) else {
            continue;
        };
        let advice = "give drops in one unit, each later than the one before";
        match (drop.epochs, before.epochs, drop.steps, before.steps) {
            (Some(now), Some(then), ..) if now <= then => {
                let problem = format!("is not after {}; {advice}", quote_number(then));
                return Err(invalid(index, ".epochs", quote_number(now), problem));
            }
            (.., Some(now), Some(then)) if now <= then => {
                let problem = format!("is not after {then}; {advice}");
                return Err(invalid(index, ".steps", now.to_string(), problem));
            }
            (Some(now), None, ..) => {
                let problem = format!("is not in steps like the one before; {advice}");
                return Err(invalid(index, ".epochs", quote_number(now), problem));
            }
            (None, Some(_), Some(now), _) => {
                let problem = format!("is not in epochs like the one before; {advice}");
                return Err(invalid(index, ".steps", now.to_string(), problem));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks a point in training, in just one of epochs and steps; `entry` is its name in errors.
fn check_point(
    key: &str,
    entry: &str,
    point: (Option<f64>, Option<u64>),
    sources: &ConfigSources,
) -> Result<(), ConfigError> {
    let source_name = sources.of(&[key]);
    let invalid = |field: &str, value: String, problem: String| ConfigError::Invalid {
        source_name: source_name.clone(),
        key: format!("{entry}.{field}"),
        value,
        problem,
    };
    match point {
        (Some(epochs), Some(_)) => {
            let problem = format!("is given together with {entry}.steps; give one of them");
            Err(invalid("epochs", quote_number(epochs), problem))
        }
        (None, None) => Err(ConfigError::Absent {
            source_name: source_name.clone(),
            key: format!("{entry}.epochs"),
            problem: format!("nor is {entry}.steps; give one of them"),
        }),
        _ => Ok(()),
    }
}
