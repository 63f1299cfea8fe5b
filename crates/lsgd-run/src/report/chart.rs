//! A chart, before it is drawn.

use super::palette;
use super::thinning::{Point, Spent};

/// What a chart can have on its horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum X {
    /// Seconds of training.
    Seconds,
    /// Seconds of a virtual clock.
    VirtualSeconds,
    /// Steps of a worker.
    Steps,
    /// Training examples seen by all workers.
    Samples,
    /// Payload of all exchanges.
    Bytes,
}

impl X {
    /// What the axis is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds of training",
            Self::VirtualSeconds => "virtual seconds",
            Self::Steps => "steps of a worker",
            Self::Samples => "samples of all workers",
            Self::Bytes => "bytes exchanged",
        }
    }

    /// Where a moment is on it.
    pub fn of(self, at: &Spent) -> f64 {
        match self {
            Self::Seconds | Self::VirtualSeconds => at.seconds,
            Self::Steps => at.steps,
            Self::Samples => at.samples,
            Self::Bytes => at.bytes,
        }
    }
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A line, interrupted where a value is not a number.
    Line,
    /// The same, so thick that it fills its row.
    Band,
    /// The same, within such a band.
    Core,
    /// A mark at each point.
    Dots,
}

/// A series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Which look it has, of [`palette`].
    pub look: usize,
    /// How it is drawn.
    pub shape: Shape,
    /// Its points, in order.
    pub points: Vec<Point>,
}

impl Series {
    /// A line.
    pub fn line(name: impl Into<String>, look: usize, points: Vec<Point>) -> Self {
        Self {
            name: name.into(),
            look,
            shape: Shape::Line,
            points,
        }
    }

    /// Whether it is in the foreground's colour.
    pub fn is_ink(&self) -> bool {
        palette::color(self.look) == (0, 0, 0)
    }
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Its heading.
    pub title: String,
    /// What has to be known to read it; may be empty.
    pub note: String,
    /// What the vertical axis shows; empty if that has rows.
    pub y: String,
    /// The rows of the vertical axis, from 0 at the bottom; empty if it has values.
    pub rows: Vec<String>,
    /// What the horizontal axis can show, the first at first.
    pub xs: Vec<X>,
    /// Its series.
    pub series: Vec<Series>,
}

impl Chart {
    /// A chart of values.
    pub fn new(title: impl Into<String>, y: impl Into<String>, xs: &[X]) -> Self {
        Self {
            title: title.into(),
            note: String::new(),
            y: y.into(),
            rows: Vec::new(),
            xs: xs.to_vec(),
            series: Vec::new(),
        }
    }

    /// With a series, unless it has no points.
    pub fn with(mut self, series: Series) -> Self {
        if !series.points.is_empty() {
            self.series.push(series);
        }
        self
    }

    /// With all of these that have points.
    pub fn with_all(self, series: impl IntoIterator<Item = Series>) -> Self {
        series.into_iter().fold(self, Self::with)
    }

    /// Whether there is a value to draw.
    pub fn has_values(&self) -> bool {
        let mut points = self.series.iter().flat_map(|series| &series.points);
        points.any(|point| point.y.is_finite())
    }
}
