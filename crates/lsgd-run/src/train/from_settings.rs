//! A run's method and its plan, from its settings.

use lsgd_core::{
    ExchangeConfig, FinalPull, LeaderConfig, Method, Mode, OuterStep, Periods, WeightPer,
};

use super::pause_schedule::{Every, RunPlan};
use super::quadratic_period;
use crate::config::{MethodName, RankBy, Settings};
use crate::epoch::Epoch;
use crate::error::RunError;
use crate::learning_rate::LearningRate;
use crate::train::SettingsError;

/// The method of a run with this plan, these learning rates and this number of workers per node.
pub(super) fn method(
    settings: &Settings,
    plan: &RunPlan,
    rate: &LearningRate,
    per_node: usize,
) -> Result<Method, RunError> {
    let RunPlan { mode, steps, .. } = *plan;
    let config = &settings.method;
    let batch_norm = config.batch_norm;
    let exchanges = ExchangeConfig {
        periods: Periods {
            local: config.local_period,
            global: config.global_period,
        },
        loss_window: config.loss_window,
        batch_norm,
    };
    let leader = LeaderConfig {
        local_pull: config.local_pull,
        global_pull: config.global_pull,
        // Checked settings with this key have a budget of steps.
        final_pull: config
            .final_pull
            .zip(steps)
            .map(|(strength, steps)| FinalPull { strength, steps }),
        local_period: config.local_period,
        global_period: config.global_period,
        local_prox: config.local_prox,
        global_prox: config.global_prox,
        loss_window: config.loss_window,
        max_staleness: config.max_staleness,
        batch_norm,
    };
    let outer = |nesterov| OuterStep {
        learning_rate: config.outer_learning_rate,
        momentum: config.outer_momentum,
        nesterov,
    };
    let grawa = |per| Method::grawa(exchanges, per, config.local_pull, config.global_pull);
    let per_node = u32::try_from(per_node).unwrap_or(u32::MAX);
    let method = match config.name {
        MethodName::Sgd => Ok(Method::sgd(config.loss_window)),
        MethodName::DataParallel => Method::data_parallel(config.loss_window, batch_norm),
        MethodName::LocalSgd if mode == Mode::Async => Method::local_sgd_async(exchanges, per_node),
        MethodName::LocalSgd => Method::local_sgd(exchanges),
        MethodName::Easgd if mode == Mode::Async => {
            Method::easgd_async(exchanges, config.beta, per_node)
        }
        MethodName::Easgd => Method::easgd(exchanges, config.beta),
        MethodName::Downpour => Method::downpour(exchanges),
        MethodName::Diloco => Method::diloco("diloco", exchanges, outer(true)),
        MethodName::Slowmo => Method::diloco("slowmo", exchanges, outer(false)),
        MethodName::Lsgd => Method::lsgd(&leader),
        MethodName::LsgdPlus => Method::lsgd_plus(&leader, config.leader_weight),
        MethodName::LeaderMean => Method::leader_mean(exchanges, config.leader_weight),
        MethodName::LeaderFilter => Method::leader_filter(exchanges, config.filter_margin),
        MethodName::Grawa => grawa(WeightPer::Model),
        MethodName::GrawaLayers => grawa(WeightPer::Layer),
        MethodName::Dppf => Method::dppf(
            exchanges,
            config.local_pull,
            config.global_pull,
            config.push,
        ),
    };
    let method = method?.with_margin(config.margin)?;
    let method = match (config.quadratic_period, steps) {
        (Some(alpha), Some(steps)) => {
            let exchanges = quadratic_period::exchanges(rate, alpha, config.local_period, steps);
            let exchanges = exchanges.ok_or(SettingsError::TooManyExchanges {
                local_period: config.local_period,
                most: quadratic_period::MAX_EXCHANGES,
            })?;
            method.with_exchanges_after(exchanges)?
        }
        _ => method,
    };
    Ok(match config.rank_by {
        RankBy::TrainingLoss => method,
        RankBy::ProbeLoss => method.ranked_by_probe(),
    })
}

/// When the workers of a run pause, and when it ends.
pub(super) fn plan(settings: &Settings, workers: usize, epoch: Epoch) -> RunPlan {
    let steps = |epochs| epoch.length(epochs);
    let every = |by_steps: Option<u64>, by_epochs: Option<f64>, by_minutes: Option<f64>| {
        let by_steps = by_steps.or(by_epochs.map(steps)).map(Every::Steps);
        let by_clock = by_minutes.map(|minutes| Every::Seconds(60.0 * minutes));
        by_steps.or(by_clock).unwrap_or(Every::Never)
    };
    let (budget, evaluate, checkpoint) =
        (&settings.budget, &settings.evaluate, &settings.checkpoint);
    RunPlan {
        mode: settings.run.mode,
        workers,
        steps: budget.steps.or(budget.epochs.map(steps)),
        seconds: budget.minutes.map(|minutes| 60.0 * minutes),
        evaluate: every(
            evaluate.every_steps,
            evaluate.every_epochs,
            evaluate.every_minutes,
        ),
        checkpoint: every(
            checkpoint.every_steps,
            checkpoint.every_epochs,
            checkpoint.every_minutes,
        ),
    }
}
