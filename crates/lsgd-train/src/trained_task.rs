//! The task of a run, once it is trained: its values are scored, or their mean is made.

use std::sync::Arc;

use lsgd_core::Snapshot;
use lsgd_run::storage::Which;
use lsgd_run::{RunError, train};

use crate::data::{Dataset, ScoredOn};
use crate::error::TrainError;
use crate::image_config::Config;
use crate::image_task::{DATA, ImageTask, Uses};
use crate::trained::Trained;

/// A run's data and task.
#[derive(Debug)]
pub struct TrainedTask<'a> {
    trained: &'a Trained,
    /// The data, with the classes and the shape of images that the run was trained on.
    pub dataset: Arc<Dataset>,
    /// The task.
    pub task: ImageTask,
}

impl<'a> TrainedTask<'a> {
    /// Opens the data that the run's config names, for `uses`; with `for_mean` these are scores and a
    /// [`mean`](Self::mean).
    ///
    /// # Errors
    ///
    /// [`TrainError`] if they are missing, have other classes or images, or, held-out examples taken off, are too few.
    pub fn open(trained: &'a Trained, uses: Uses) -> Result<Self, TrainError> {
        let config = &trained.config;
        let dataset = Arc::new(Dataset::open(&config.task.data, config.settings.run.seed)?);
        if let Some(why) = trained.notes.differ(&dataset) {
            return Err(TrainError::damaged(trained.folder.path(), why));
        }
        if uses.scored_on == ScoredOn::Holdout {
            check_split(trained, &dataset)?;
        }
        let workers = trained.state.workers as u64 * config.settings.cluster.nodes.max(1);
        let model = trained.model.clone();
        Ok(Self {
            task: ImageTask::of_run(config, model, dataset.clone(), workers, uses)?,
            trained,
            dataset,
        })
    }

    /// The mean over the workers of a checkpoint that has none because it was not evaluated.
    ///
    /// # Errors
    ///
    /// As [`train::values`].
    pub fn mean(&self, which: Which) -> Result<Arc<Snapshot>, TrainError> {
        let Trained {
            folder,
            checkpoint,
            state,
            device,
            ..
        } = self.trained;
        let of = (checkpoint.as_path(), state);
        let mean = train::values(&self.task, folder, of, which, &device.device)?;
        Ok(mean)
    }
}

/// Refuses another split than the one that the run held out.
fn check_split(trained: &Trained, dataset: &Dataset) -> Result<(), TrainError> {
    let path = trained.folder.join("config.toml");
    let of_run: Config = Config::load(&path, &[])?;
    let (own, now) = (&of_run.task.data, &trained.config.task.data);
    let data = trained.folder.record()?.agreement.get(DATA).cloned();
    let what = [
        ("data.holdout", own.holdout == now.holdout),
        (
            "run.seed",
            of_run.settings.run.seed == trained.config.settings.run.seed,
        ),
        ("the data set", data.as_deref() == Some(dataset.digest())),
    ];
    match what.into_iter().find(|(_, same)| !same) {
        // A run without a split is told so.
        Some((what, _)) if own.holdout.is_some() => Err(TrainError::OtherHoldout { what }),
        Some(_) => Err(TrainError::NoHoldout),
        None => Ok(()),
    }
}

/// The same for a command that needs the data for nothing else, and opens them only if the mean does.
///
/// # Errors
///
/// As [`TrainedTask::open`] and [`TrainedTask::mean`], with what to ask for instead.
pub fn made_mean(trained: &Trained, which: Which) -> Result<Arc<Snapshot>, TrainError> {
    if !trained.mean_needs_data(which) {
        return trained.plain_mean(which);
    }
    let uses = Uses {
        scored_on: ScoredOn::Test,
        for_mean: true,
    };
    let task = TrainedTask::open(trained, uses).map_err(|why| RunError::Absent {
        path: trained.checkpoint.clone(),
        why: format!(
            "it has no {which}, since it was not evaluated, and to make one takes the run's data: {why}; or {}",
            trained.state.instead(&trained.checkpoint)
        ),
    })?;
    task.mean(which)
}
