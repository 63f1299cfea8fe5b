//! What ten instances have in common.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::methods::{Method, Moment};

/// F of one method over the iterations, for M of one rank.
#[derive(Debug)]
pub struct Curve {
    pub rank: usize,
    pub method: Method,
    /// Before the first iteration and after each.
    pub points: Vec<Point>,
}

/// F at one moment, over the instances.
#[derive(Debug)]
pub struct Point {
    /// Of the best worker.
    pub best: Spread,
    /// The mean over the workers.
    pub mean: Spread,
}

/// How a number is spread over the instances.
#[derive(Debug)]
pub struct Spread {
    pub lowest: f64,
    pub quartile: f64,
    pub median: f64,
    pub upper_quartile: f64,
    pub highest: f64,
}

impl Curve {
    /// Of the `runs` of `method`, one an instance.
    pub fn of(rank: usize, method: Method, runs: &[Vec<Moment>]) -> Self {
        let moments = runs.first().map_or(0, Vec::len);
        let points = (0..moments).map(|i| Point {
            best: Spread::of(runs.iter().map(|run| run[i].best)),
            mean: Spread::of(runs.iter().map(|run| run[i].mean)),
        });
        Self {
            rank,
            method,
            points: points.collect(),
        }
    }
}

impl Spread {
    /// Of at least one value; quartiles are interpolated between the two nearest.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len() - 1;
        let at = |share: f64| {
            let place = share * last as f64;
            let below = place as usize;
            let above = (below + 1).min(last);
            sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
        };
        Self {
            lowest: at(0.0),
            quartile: at(0.25),
            median: at(0.5),
            upper_quartile: at(0.75),
            highest: at(1.0),
        }
    }
}

/// A line for every rank, method and iteration.
pub fn write_csv(curves: &[Curve], path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let spread = ["lowest", "quartile", "median", "upper_quartile", "highest"];
    let best = spread.map(|name| format!("best_{name}")).join(",");
    writeln!(file, "rank,method,iteration,{best},mean_median")?;
    for curve in curves {
        let (rank, method) = (curve.rank, curve.method.name());
        for (iteration, point) in curve.points.iter().enumerate() {
            let Spread {
                lowest,
                quartile,
                median,
                upper_quartile,
                highest,
            } = point.best;
            let best = [lowest, quartile, median, upper_quartile, highest];
            let best = best.map(|value| format!("{value:.3e}")).join(",");
            let mean = point.mean.median;
            writeln!(file, "{rank},{method},{iteration},{best},{mean:.3e}")?;
        }
    }
    file.flush()
}
