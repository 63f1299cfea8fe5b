//! Why a landscape cannot be made.

use std::path::PathBuf;

use super::plane::Flat;
use crate::words::list;

/// Why a landscape cannot be made as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LandscapeError {
    /// Three points span no plane.
    #[error("{}: {}", path.display(), flat(*why, points))]
    Flat {
        /// The checkpoint.
        path: PathBuf,
        /// Names of the points.
        points: Box<[String; 3]>,
        /// Why.
        why: Flat,
    },
    /// The task has no such metric.
    #[error(
        "--metric {metric}: the task has none of that name; give {}",
        list(known)
    )]
    NoMetric {
        /// What was asked for.
        metric: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// Statistics would be estimated on other examples than those that the run trained on.
    #[error(
        "{}: the data are not those that the run was trained on; give the run's own, as with --set \
         data.folder=DIR",
        path.display()
    )]
    OtherData {
        /// The run.
        path: PathBuf,
    },
}

fn flat(why: Flat, points: &[String; 3]) -> String {
    let [a, b, c] = points;
    match why {
        Flat::Same(one, other) => format!(
            "{} and {} are the same point; give three different ones with --points",
            points[one], points[other]
        ),
        Flat::Line => format!(
            "{a}, {b} and {c} are on one line, and a plane takes three points that are not; give others with \
             --points"
        ),
    }
}
