//! The grid of points that are scored.

use std::ops::RangeInclusive;

use super::plane::Place;

/// Sizes of a grid: with fewer points, moving it onto the first point could leave another outside.
pub const SIZES: RangeInclusive<u64> = 5..=501;

/// Room around the three points, as a share of the longer side of the box that they fill.
const MARGIN: f64 = 0.25;

/// Equally spaced points over the box that three points fill, with a margin. One of them is the first of
/// the three: (0, 0).
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Columns, ascending.
    pub xs: Vec<f64>,
    /// Rows, ascending.
    pub ys: Vec<f64>,
}

impl Grid {
    /// `size` by `size` points around three points of which the first is at (0, 0).
    pub fn around(corners: [Place; 3], size: usize) -> Self {
        let (xs, ys) = (corners.map(|(x, _)| x), corners.map(|(_, y)| y));
        let margin = MARGIN * span(xs).max(span(ys));
        Self {
            xs: axis(xs, margin, size),
            ys: axis(ys, margin, size),
        }
    }

    /// All places, row by row.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        let row = |y: f64| self.xs.iter().map(move |x| (*x, y));
        self.ys.iter().flat_map(move |y| row(*y))
    }

    /// Whether a place is within it.
    pub fn contains(&self, (x, y): Place) -> bool {
        let within = |at: f64, axis: &[f64]| {
            let (first, last) = (axis.first(), axis.last());
            first.is_some_and(|first| at >= *first) && last.is_some_and(|last| at <= *last)
        };
        within(x, &self.xs) && within(y, &self.ys)
    }
}

fn span(values: [f64; 3]) -> f64 {
    largest(values) - smallest(values)
}

fn smallest(values: [f64; 3]) -> f64 {
    values.into_iter().fold(f64::INFINITY, f64::min)
}

fn largest(values: [f64; 3]) -> f64 {
    values.into_iter().fold(f64::NEG_INFINITY, f64::max)
}

/// Points of one axis, moved by at most half a step so that one of them is 0.
fn axis(values: [f64; 3], margin: f64, size: usize) -> Vec<f64> {
    let step = (span(values) + 2.0 * margin) / (size.max(2) - 1) as f64;
    let before = ((margin - smallest(values)) / step).round();
    (0..size)
        .map(|index| (index as f64 - before) * step)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_grid_by_hand() {
        // 4 wide and 2 high, with a margin of 1: 6 by 4.
        let grid = Grid::around([(0.0, 0.0), (4.0, 0.0), (1.0, 2.0)], 7);
        assert_eq!(grid.xs, [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let step = 4.0 / 6.0;
        let ys: Vec<f64> = (-2..5).map(|row| f64::from(row) * step).collect();
        assert_eq!(grid.ys, ys);
        let places: Vec<Place> = grid.places().collect();
        assert_eq!(places.len(), 49);
        assert_eq!(places[8], (0.0, -step));
        assert!(grid.contains((4.9, 0.0)) && !grid.contains((5.1, 0.0)));
        assert!(!grid.contains((0.0, f64::NAN)));
    }

    proptest! {
        #[test]
        fn it_holds_the_three_points_and_the_first_is_one_of_it(
            d in 0.01f64..100.0, p in -100.0f64..100.0, h in 0.01f64..100.0,
            size in *SIZES.start() as usize..60,
        ) {
            let corners = [(0.0, 0.0), (d, 0.0), (p, h)];
            let grid = Grid::around(corners, size);
            prop_assert_eq!(grid.xs.len(), size);
            prop_assert_eq!(grid.ys.len(), size);
            prop_assert!(grid.places().any(|place| place == (0.0, 0.0)));
            for corner in corners {
                prop_assert!(grid.contains(corner), "{:?} {:?}", corner, grid);
            }
            let ascends = |axis: &[f64]| axis.windows(2).all(|pair| pair[0] < pair[1]);
            prop_assert!(ascends(&grid.xs) && ascends(&grid.ys));
        }
    }
}
