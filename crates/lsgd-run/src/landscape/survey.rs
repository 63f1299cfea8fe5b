//! Scores the points of a plane.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgd_core::{Snapshot, Source};

use super::error::LandscapeError;
use super::grid::Grid;
use super::plane::{Place, Plane};
use super::point::{Choices, Point, Three};
use crate::config::Settings;
use crate::error::RunError;
use crate::storage::{CheckpointName, CheckpointState, MetricInfo, RunFolder, Score, Which};
use crate::task::{Metric, Task};
use crate::train::{CheckpointModel, Context, Scored, Scorer};

/// What is to be scored.
#[derive(Debug, Clone)]
pub struct Request {
    /// The run.
    pub run: RunFolder,
    /// Which of its checkpoints.
    pub checkpoint: CheckpointName,
    /// The points that span the plane; chosen if not given.
    pub points: Option<Three>,
    /// Points of the grid along each axis, in [`SIZES`](super::SIZES).
    pub size: usize,
    /// Most held-out examples.
    pub examples: usize,
    /// The metric that contours are of: if not given, the loss, or the main one of a task without a metric of
    /// that name.
    pub metric: Option<String>,
}

/// How far a survey is: vectors and points of the grid that are scored, of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Scored so far.
    pub done: usize,
    /// All.
    pub of: usize,
}

/// A plane of parameter space, and scores in it.
#[derive(Debug, Clone)]
pub struct Landscape {
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// Its step.
    pub step: u64,
    /// Examples that were scored, on which all scores are.
    pub examples: u64,
    /// Training batches on which the running statistics of each point of the grid were estimated, if they
    /// were.
    pub statistics_batches: Option<Range<u64>>,
    /// The task's metrics.
    pub metrics: Vec<MetricInfo>,
    /// The one that contours are of.
    pub drawn: MetricInfo,
    /// The axes, as sums of the first three points multiplied by these.
    pub axes: [[f64; 3]; 2],
    /// The three points that span it, and then the run's others.
    pub points: Vec<Placed>,
    /// The places that were scored,
    pub grid: Grid,
    /// their scores row by row; `None` if running statistics were not finite.
    pub scores: Vec<Option<Score>>,
}

/// A vector of the run, beside the plane or in it.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The vector.
    pub point: Point,
    /// Its origin. The node of a worker is known only of [`Point::GlobalLeader`].
    pub source: Source,
    /// The nearest point of the plane.
    pub place: Place,
    /// The distance to that, in parameter space.
    pub distance: f64,
    /// Its score, with its own running statistics.
    pub score: Score,
}

/// A vector with its name.
type Named = (Point, Arc<Snapshot>);

/// Scores the plane that `request` asks for, with the task that `make` makes and the run's `settings`.
/// `told` hears of each score, and ends the survey with [`ControlFlow::Break`].
///
/// # Errors
///
/// [`RunError`] if the run, its data or a vector is missing or damaged; [`RunError::Landscape`] if it cannot
/// be as asked; [`RunError::Interrupted`] if `told` ends it.
pub fn survey<T: Task>(
    settings: Settings,
    request: &Request,
    make: impl FnOnce(Context) -> Result<T, RunError>,
    told: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Landscape, RunError> {
    let (checkpoint, state) = CheckpointState::named(&request.run, request.checkpoint)?;
    let node = settings
        .cluster
        .node
        .map_or(0, |node| node.saturating_sub(1));
    let Three(points) = match request.points {
        Some(points) => points,
        None => Choices::of(&state, u32::try_from(node).unwrap_or(u32::MAX))
            .three()
            .ok_or_else(|| RunError::Absent {
                path: checkpoint.clone(),
                why: String::from(
                    "a plane takes three points that are not on one line, and it has none; give three with \
                     --points, or train more workers",
                ),
            })?,
    };
    let (run, examples) = (&request.run, request.examples);
    let model = CheckpointModel::open(settings, examples, run, (checkpoint, state), make)?;
    let drawn = drawn(request, &model)?;
    if model.statistics_batches().is_some() && !model.agrees()? {
        let path = request.run.path().to_owned();
        return Err(LandscapeError::OtherData { path }.into());
    }
    let corners = [
        vector(&model, points[0])?,
        vector(&model, points[1])?,
        vector(&model, points[2])?,
    ];
    let plane = Plane::through([0, 1, 2].map(|corner: usize| corners[corner].parameters()));
    let plane = plane.map_err(|why| LandscapeError::Flat {
        path: model.path().to_owned(),
        points: Box::new(points.map(|point| point.to_string())),
        why,
    })?;
    let grid = Grid::around(plane.corners(), request.size);
    let others = others(&model, points);
    let of = points.len() + others.len() + request.size * request.size;
    let mut scoring = Scoring {
        run: request.run.path(),
        scorer: model.scorer(),
        examples: 0,
        progress: Progress { done: 0, of },
        told,
    };
    let mut placed = Vec::new();
    for (point, snapshot) in points.into_iter().zip(&corners) {
        placed.push(scoring.placed(&plane, (point, snapshot.clone()))?);
    }
    for point in others {
        match vector(&model, point) {
            Ok(snapshot) => placed.push(scoring.placed(&plane, (point, snapshot))?),
            // Not every checkpoint has all that a run could have, and what has diverged is nowhere.
            Err(RunError::Absent { .. }) => scoring.tell()?,
            Err(error) => return Err(error),
        }
    }
    let mut scores = Vec::new();
    for place in grid.places() {
        scores.push(scoring.at(&plane, &corners, place)?);
    }
    let examples = scoring.examples;
    Ok(Landscape {
        checkpoint: model.path().to_owned(),
        step: model.state().step,
        examples,
        statistics_batches: model.statistics_batches(),
        metrics: model.metrics().iter().map(MetricInfo::from).collect(),
        drawn,
        axes: plane.axes(),
        points: placed,
        grid,
        scores,
    })
}

/// The metric that contours are of.
fn drawn<T: Task>(request: &Request, model: &CheckpointModel<T>) -> Result<MetricInfo, RunError> {
    let metrics = model.metrics();
    let find = |name: &str| metrics.iter().find(|metric| metric.name == name);
    let found = match &request.metric {
        None => find("loss").or(metrics.first()),
        Some(name) if !metrics.is_empty() => Some(find(name).ok_or_else(|| {
            let known = |metric: &Metric| metric.name;
            let (metric, known) = (name.clone(), metrics.iter().map(known).collect());
            LandscapeError::NoMetric { metric, known }
        })?),
        Some(_) => None,
    };
    let found = found.ok_or_else(|| unscored(request.run.path()))?;
    Ok(MetricInfo::from(found))
}

fn unscored(run: &Path) -> RunError {
    RunError::Absent {
        path: run.to_owned(),
        why: String::from(
            "its task has no held-out examples or no metric of them; give data that has",
        ),
    }
}

/// A vector of the checkpoint, whose values are finite.
fn vector<T: Task>(model: &CheckpointModel<T>, point: Point) -> Result<Arc<Snapshot>, RunError> {
    let absent = |why: String| RunError::Absent {
        path: model.path().to_owned(),
        why,
    };
    let snapshot = match point {
        Point::Of(which) => model.values(which)?,
        Point::GlobalLeader => {
            let read = model.state().read_delivered(model.path(), model.layout())?;
            read.ok_or_else(|| {
                absent(format!(
                    "it has no {point}: nodes that follow a leader of all deliver one in their first \
                     exchange; give other points"
                ))
            })?
        }
    };
    match snapshot.check(model.layout()) {
        Ok(()) => Ok(snapshot),
        Err(why) => Err(absent(format!(
            "{point} has diverged: {why}; give other points"
        ))),
    }
}

/// The run's vectors that are not among the three: its workers, their mean and the leader of all nodes.
fn others<T: Task>(model: &CheckpointModel<T>, three: [Point; 3]) -> Vec<Point> {
    let state = model.state();
    let named = |point: Point| match (point, state.leader) {
        (Point::Of(Which::Leader), Some(leader)) => Point::Of(Which::Worker(leader)),
        _ => point,
    };
    let three = three.map(named);
    let workers = (0..state.workers).map(|worker| Point::Of(Which::Worker(worker)));
    // The mean of one worker is that worker.
    let mean = (state.workers > 1).then_some(Point::Of(Which::Mean));
    let global = state.delivered().map(|_| Point::GlobalLeader);
    let all = workers.chain(mean).chain(global);
    all.filter(|point| !three.contains(point)).collect()
}

/// Scores one after another, and tells of each.
struct Scoring<'a, T: Task> {
    run: &'a Path,
    scorer: Scorer<'a, T>,
    examples: u64,
    progress: Progress,
    told: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
}

impl<T: Task> Scoring<'_, T> {
    fn tell(&mut self) -> Result<(), RunError> {
        self.progress.done += 1;
        match (self.told)(self.progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(RunError::Interrupted),
        }
    }

    fn score(&mut self, snapshot: &Snapshot) -> Result<Score, RunError> {
        let scored = self.scorer.score(snapshot)?;
        let Scored { examples, score } = scored.ok_or_else(|| unscored(self.run))?;
        self.examples = examples;
        self.tell()?;
        Ok(score)
    }

    /// Where a vector is, and its score.
    fn placed(&mut self, plane: &Plane, (point, snapshot): Named) -> Result<Placed, RunError> {
        let (place, distance) = plane.nearest(snapshot.parameters());
        Ok(Placed {
            point,
            source: snapshot.source(),
            place,
            distance,
            score: self.score(&snapshot)?,
        })
    }

    /// The score at a place of the plane.
    fn at(
        &mut self,
        plane: &Plane,
        corners: &[Arc<Snapshot>; 3],
        place: Place,
    ) -> Result<Option<Score>, RunError> {
        let [a, b, c] = corners;
        let parameters = plane.at(place);
        // Where they are not estimated anew, they are between those of the corners too.
        let buffers = plane.mixed(place, [a.buffers(), b.buffers(), c.buffers()]);
        let source = Source::Mean { workers: 3 };
        let snapshot = Snapshot::new(a.layout().clone(), source, parameters, buffers);
        let snapshot = snapshot.map_err(|why| RunError::Unfit { why })?;
        match self.scorer.estimated(Arc::new(snapshot))? {
            Some(snapshot) => self.score(&snapshot).map(Some),
            None => self.tell().map(|()| None),
        }
    }
}
