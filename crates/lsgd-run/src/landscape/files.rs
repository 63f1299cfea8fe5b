//! A landscape as files: a table of the grid, and what is around it.

use std::fmt::Write;

use serde::Serialize;

use lsgd_core::Source;

use super::point::Point;
use super::survey::{Landscape, Placed};
use crate::error::RunError;
use crate::storage::{MetricInfo, Score};
use crate::words::csv_field;

/// The grid as CSV: `x`, `y` and each metric, row by row from the lowest `y`. What could not be scored is
/// `NaN`.
pub fn csv(landscape: &Landscape) -> String {
    let metrics = &landscape.metrics;
    let mut text = String::from("x,y");
    for metric in metrics {
        text.push(',');
        text.push_str(&csv_field(&metric.name));
    }
    text.push('\n');
    for (score, (x, y)) in landscape.scores.iter().zip(landscape.grid.places()) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{x},{y}");
        for metric in metrics {
            let value = score.as_ref().and_then(|score| score.get(&metric.name));
            let _ = write!(text, ",{}", value.unwrap_or(f64::NAN));
        }
        text.push('\n');
    }
    text
}

/// What is around the grid.
#[derive(Debug, Serialize)]
struct Json<'a> {
    run: &'a str,
    checkpoint: String,
    step: u64,
    /// Held-out examples that were scored.
    examples: u64,
    /// Training batches on which the running statistics of each point of the grid are estimated: the first,
    /// and the one after the last.
    statistics_batches: Option<[u64; 2]>,
    metrics: &'a [MetricInfo],
    /// The metric of the picture.
    contours: &'a str,
    /// Orthonormal, each the sum of the first three points multiplied by these.
    axes: Axes,
    grid: Lengths<'a>,
    /// The three that span the plane, the origin first, and then the run's others.
    points: Vec<JsonPoint<'a>>,
}

#[derive(Debug, Serialize)]
struct Axes {
    x: [f64; 3],
    y: [f64; 3],
}

#[derive(Debug, Serialize)]
struct Lengths<'a> {
    x: &'a [f64],
    y: &'a [f64],
}

#[derive(Debug, Serialize)]
struct JsonPoint<'a> {
    name: String,
    /// From 1, of the leader of all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u64>,
    spans: bool,
    x: f64,
    y: f64,
    /// From the plane.
    distance: f64,
    /// With its own running statistics.
    score: &'a Score,
}

impl<'a> JsonPoint<'a> {
    fn new(index: usize, placed: &'a Placed) -> Self {
        let of = match placed.source {
            Source::Worker { id, step } => Some((id, step)),
            _ => None,
        };
        let is_global = placed.point == Point::GlobalLeader;
        Self {
            name: placed.point.to_string(),
            node: of
                .filter(|_| is_global)
                .map(|(id, _)| u64::from(id.node) + 1),
            worker: of.map(|(id, _)| id.worker),
            step: of.map(|(_, step)| step),
            spans: index < 3,
            x: placed.place.0,
            y: placed.place.1,
            distance: placed.distance,
            score: &placed.score,
        }
    }
}

/// Everything else as JSON. What is not finite is null.
///
/// # Errors
///
/// [`RunError::Damaged`] if it cannot be JSON.
pub fn json(landscape: &Landscape, run: &str) -> Result<String, RunError> {
    let [x, y] = landscape.axes;
    let name = landscape.checkpoint.file_name();
    let points = landscape.points.iter().enumerate();
    let all = Json {
        run,
        checkpoint: name.map_or_else(String::new, |name| name.display().to_string()),
        step: landscape.step,
        examples: landscape.examples,
        statistics_batches: landscape
            .statistics_batches
            .as_ref()
            .map(|batches| [batches.start, batches.end]),
        metrics: &landscape.metrics,
        contours: &landscape.drawn.name,
        axes: Axes { x, y },
        grid: Lengths {
            x: &landscape.grid.xs,
            y: &landscape.grid.ys,
        },
        points: points
            .map(|(index, placed)| JsonPoint::new(index, placed))
            .collect(),
    };
    let text = serde_json::to_string_pretty(&all);
    let text = text.map_err(|why| RunError::damaged(&landscape.checkpoint, why))?;
    Ok(text + "\n")
}
