//! Lines of equal value through a grid: marching squares.

use std::collections::{BTreeMap, BTreeSet};

use super::grid::Grid;
use super::plane::Place;

/// An edge between two neighbouring points of a grid: from the point of this column and row to the next one
/// in its row, or in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    column: usize,
    row: usize,
    is_upward: bool,
}

impl Edge {
    fn along(column: usize, row: usize) -> Self {
        Self {
            column,
            row,
            is_upward: false,
        }
    }

    fn upward(column: usize, row: usize) -> Self {
        Self {
            is_upward: true,
            ..Self::along(column, row)
        }
    }
}

/// Values at the points of a grid, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// The grid.
    pub grid: &'a Grid,
    /// The values.
    pub values: &'a [f64],
}

impl Field<'_> {
    fn value(&self, column: usize, row: usize) -> f64 {
        let index = row * self.grid.xs.len() + column;
        self.values.get(index).copied().unwrap_or(f64::NAN)
    }

    /// Where the value is `level`, as lines that end at the rim or beside a value that is not finite, or
    /// return to where they began. Between two points of the grid values are interpolated linearly.
    pub fn lines(&self, level: f64) -> Vec<Vec<Place>> {
        let mut neighbours: BTreeMap<Edge, Vec<Edge>> = BTreeMap::new();
        let (columns, rows) = (self.grid.xs.len(), self.grid.ys.len());
        for row in 0..rows.saturating_sub(1) {
            for column in 0..columns.saturating_sub(1) {
                for (one, other) in self.crossings(column, row, level) {
                    neighbours.entry(one).or_default().push(other);
                    neighbours.entry(other).or_default().push(one);
                }
            }
        }
        let ends = neighbours.iter().filter(|(_, next)| next.len() == 1);
        // Lines with ends first; what is left are loops.
        let starts: Vec<Edge> = ends.chain(&neighbours).map(|(edge, _)| *edge).collect();
        let mut seen = BTreeSet::new();
        let mut lines = Vec::new();
        for start in starts {
            let mut line = Vec::new();
            let mut at = Some(start);
            let mut last = start;
            while let Some(edge) = at.filter(|edge| seen.insert(*edge)) {
                line.push(self.crossing(edge, level));
                last = edge;
                let next = neighbours.get(&edge).into_iter().flatten();
                at = next.copied().find(|next| !seen.contains(next));
            }
            let closes = |next: &Vec<Edge>| line.len() > 2 && next.contains(&start);
            if neighbours.get(&last).is_some_and(closes) {
                line.push(self.crossing(start, level));
            }
            if line.len() > 1 {
                lines.push(line);
            }
        }
        lines
    }

    /// The pieces of lines in the cell to the upper right of a point: pairs of edges.
    fn crossings(&self, column: usize, row: usize, level: f64) -> Vec<(Edge, Edge)> {
        let corners = [
            self.value(column, row),
            self.value(column + 1, row),
            self.value(column + 1, row + 1),
            self.value(column, row + 1),
        ];
        if !corners.iter().all(|value| value.is_finite()) {
            return Vec::new();
        }
        // Edge k is between corner k and the next one.
        let edges = [
            Edge::along(column, row),
            Edge::upward(column + 1, row),
            Edge::along(column, row + 1),
            Edge::upward(column, row),
        ];
        let above = corners.map(|value| value >= level);
        let crossed = (0..4).filter(|k| above[*k] != above[(k + 1) % 4]);
        let crossed: Vec<usize> = crossed.collect();
        let pair = |one: usize, other: usize| (edges[one], edges[other]);
        match *crossed.as_slice() {
            [one, other] => vec![pair(one, other)],
            // A saddle: the corners that are like its centre are connected.
            [_, _, _, _] => {
                let centre = corners.iter().sum::<f64>() / 4.0 >= level;
                match centre == above[0] {
                    true => vec![pair(0, 1), pair(2, 3)],
                    false => vec![pair(3, 0), pair(1, 2)],
                }
            }
            _ => Vec::new(),
        }
    }

    /// Where the line crosses an edge.
    fn crossing(&self, edge: Edge, level: f64) -> Place {
        let Edge {
            column,
            row,
            is_upward,
        } = edge;
        let (next_column, next_row) = match is_upward {
            true => (column, row + 1),
            false => (column + 1, row),
        };
        let (from, to) = (self.value(column, row), self.value(next_column, next_row));
        let share = ((level - from) / (to - from)).clamp(0.0, 1.0);
        let between = |axis: &[f64], from: usize, to: usize| {
            let at = |index: usize| axis.get(index).copied().unwrap_or(f64::NAN);
            at(from) + share * (at(to) - at(from))
        };
        (
            between(&self.grid.xs, column, next_column),
            between(&self.grid.ys, row, next_row),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(size: i32, step: f64) -> Grid {
        let axis = || (-size..=size).map(|index| f64::from(index) * step);
        Grid {
            xs: axis().collect(),
            ys: axis().collect(),
        }
    }

    fn lines(grid: &Grid, of: impl Fn(Place) -> f64, level: f64) -> Vec<Vec<Place>> {
        let values: Vec<f64> = grid.places().map(of).collect();
        let values = &values;
        Field { grid, values }.lines(level)
    }

    #[test]
    fn a_slope_has_one_straight_line_from_rim_to_rim() {
        let grid = grid(5, 0.5);
        let found = lines(&grid, |(x, y)| 2.0 * x + y, 0.7);
        assert_eq!(found.len(), 1);
        for (x, y) in &found[0] {
            assert!((2.0 * x + y - 0.7).abs() < 1e-12, "{x} {y}");
        }
        let ends = [found[0][0], found[0][found[0].len() - 1]];
        for (_, y) in ends {
            assert!((y.abs() - 2.5).abs() < 1e-12, "{ends:?}");
        }
    }

    #[test]
    fn a_bowl_has_closed_circles() {
        let grid = grid(40, 0.05);
        let found = lines(&grid, |(x, y)| x * x + y * y, 1.0);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].first(), found[0].last());
        assert!(found[0].len() > 100);
        for (x, y) in &found[0] {
            assert!((x.hypot(*y) - 1.0).abs() < 1e-3, "{x} {y}");
        }
        // It goes around once: neighbours are near each other, and the angles add up to a full turn.
        let turn = |pair: &[Place]| {
            let [(x, y), (z, w)] = [pair[0], pair[1]];
            (x * w - y * z).atan2(x * z + y * w)
        };
        let turned: f64 = found[0].windows(2).map(turn).sum();
        assert!((turned.abs() - std::f64::consts::TAU).abs() < 1e-9);
    }

    #[test]
    fn two_hills_have_two_circles_and_a_level_beyond_all_values_has_none() {
        let grid = grid(20, 0.1);
        let hills = |(x, y): Place| {
            let hill = |at: f64| (-8.0 * ((x - at).powi(2) + y * y)).exp();
            hill(-1.0) + hill(1.0)
        };
        assert_eq!(lines(&grid, hills, 0.5).len(), 2);
        assert!(lines(&grid, hills, 2.0).is_empty());
        assert!(lines(&grid, hills, -1.0).is_empty());
        assert!(lines(&grid, |_| 1.0, 1.0).is_empty());
    }

    #[test]
    fn a_saddle_connects_what_is_like_its_centre() {
        let grid = Grid {
            xs: vec![0.0, 1.0],
            ys: vec![0.0, 1.0],
        };
        // Row by row: high corners are at the lower left and the upper right. A piece of line is around the
        // lower right corner, or around the lower left one.
        for (values, expected) in [
            ([3.0, 0.0, 0.0, 3.0], [(1.0, 1.0 / 3.0), (2.0 / 3.0, 0.0)]),
            ([1.5, 0.0, 0.0, 1.5], [(0.0, 1.0 / 3.0), (1.0 / 3.0, 0.0)]),
        ] {
            let (grid, values) = (&grid, &values[..]);
            let found = Field { grid, values }.lines(1.0);
            assert_eq!(found.len(), 2, "{found:?}");
            let has = |line: &[Place], (x, y): Place| {
                let near = |place: &Place| (place.0 - x).abs() + (place.1 - y).abs() < 1e-12;
                line.iter().any(near)
            };
            let [one, other] = expected;
            let is_there = found.iter().any(|line| has(line, one) && has(line, other));
            assert!(is_there, "{found:?}");
        }
    }

    #[test]
    fn lines_end_beside_what_is_not_finite() {
        let grid = grid(5, 1.0);
        let slope = |(x, y): Place| match x == 0.0 && y == 0.0 {
            true => f64::NAN,
            false => y + 0.5,
        };
        let found = lines(&grid, slope, 0.25);
        assert_eq!(found.len(), 2);
        for (x, _) in found.iter().flatten() {
            assert!(x.abs() >= 1.0);
        }
        let infinite = |(x, _): Place| if x > 0.0 { f64::INFINITY } else { x };
        for line in lines(&grid, infinite, -0.5) {
            assert!(line.iter().all(|(x, y)| x.is_finite() && y.is_finite()));
        }
    }
}
