//! The loss around the workers of a run: the plane through three of its vectors, scored point by point
//! without training, and drawn with contours (arXiv 1802.10026; the paper's figures, arXiv 1905.10395).

mod contours;
mod error;
mod files;
mod grid;
mod labels;
mod levels;
mod marks;
mod picture;
mod plane;
mod point;
mod survey;

use std::path::Path;

use crate::error::RunError;

pub use error::LandscapeError;
pub use grid::{Grid, SIZES};
pub use plane::{Flat, Place, Plane};
pub use point::{Point, Three, ThreeError};
pub use survey::{Landscape, Placed, Progress, Request, survey};

impl Landscape {
    /// What its files hold, under their names: the grid as `landscape.csv`, what is around it as
    /// `landscape.json`, and the picture. `run` is the name of the run.
    ///
    /// # Errors
    ///
    /// [`RunError::Report`].
    pub fn files(&self, run: &Path) -> Result<[(&'static str, String); 3], RunError> {
        let run = run.display().to_string();
        let [table, rest, picture] = FILES;
        Ok([
            (table, files::csv(self)),
            (rest, files::json(self, &run)?),
            (picture, picture::draw(self, &run)?),
        ])
    }
}

/// The names of a landscape's files: a table of the grid, what is around it, the picture.
pub const FILES: [&str; 3] = ["landscape.csv", "landscape.json", "landscape.svg"];
