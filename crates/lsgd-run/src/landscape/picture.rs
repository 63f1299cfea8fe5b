//! The picture of a landscape: contours with their levels, and the run's vectors with their names. It is
//! legible in black and white, and its two colours stay distinct with colour blindness.

use plotters::prelude::*;

use super::contours::Field;
use super::labels::{Area, Labels};
use super::levels::Levels;
use super::marks::{Drawn, INK, LINE, Name, Pixel, Root, TEXT, boxed, mark, width, write};
use super::plane::Place;
use super::survey::{Landscape, Placed};
use crate::error::RunError;
use crate::report::{ReportError, axis_label, palette};
use crate::storage::Score;
use crate::words::{count, printable};

/// Length of the longer side of the plane, in pixels. Both axes have the same scale.
const PLANE: f64 = 560.0;
/// Room around the plane: above it, below it for its axis, for a line of explanation, right and left of it.
const TOP: u32 = 56;
const AXIS: u32 = 46;
const BOTTOM: u32 = 32;
const RIGHT: u32 = 24;
const LEFT: u32 = 76;
/// The part of it that stays empty.
const MARGIN: u32 = 12;
/// Least width, for the texts above and below the plane.
const WIDTH: u32 = 640;
/// Shortest line that has its level written on it, in pixels, unless no line of that level is longer.
const LABELLED: f64 = 80.0;

/// Draws a landscape of the run of this name.
///
/// # Errors
///
/// [`ReportError::Drawing`].
pub fn draw(landscape: &Landscape, run: &str) -> Result<String, RunError> {
    let mut text = String::new();
    let drawn = picture(landscape, &printable(run), &mut text).map_err(|why| why.to_string());
    drawn.map_err(|reason| ReportError::Drawing {
        what: String::from("the landscape"),
        reason,
    })?;
    Ok(text)
}

fn picture<'a>(landscape: &Landscape, run: &str, text: &'a mut String) -> Drawn<'a, ()> {
    let Landscape { grid, points, .. } = landscape;
    let ends = |axis: &[f64]| {
        let (first, last) = (axis.first(), axis.last());
        (first.copied().unwrap_or(0.0), last.copied().unwrap_or(1.0))
    };
    let ((left, right), (bottom, top)) = (ends(&grid.xs), ends(&grid.ys));
    let scale = PLANE / (right - left).max(top - bottom);
    let pixels = |length: f64| (scale * length).round() as u32;
    let (width, height) = (pixels(right - left), pixels(top - bottom));
    let below = TOP + height + AXIS;
    let lines = 1 + u32::from(beyond(landscape).is_some());
    let whole = ((LEFT + width + RIGHT).max(WIDTH), below + lines * BOTTOM);
    let root = SVGBackend::with_string(text, whole).into_drawing_area();
    root.fill(&WHITE)?;
    titles(&root, landscape, (run, below))?;
    let (above, _) = root.split_vertically(below);
    let (plane, _) = above.split_horizontally(LEFT + width + RIGHT);
    let [a, b, c] = [0, 1, 2].map(|corner: usize| {
        let name = points.get(corner).map(|placed| placed.point.to_string());
        name.unwrap_or_default()
    });
    let mut chart = ChartBuilder::on(&plane)
        .margin_top(TOP)
        .margin_right(RIGHT)
        .margin_left(MARGIN)
        .x_label_area_size(AXIS)
        .y_label_area_size(LEFT - MARGIN)
        .build_cartesian_2d(left..right, bottom..top)?;
    let ticks = |length: u32| (length / 70).max(2) as usize;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_desc(format!(
            "distance from {a} toward {b} (Euclidean, in parameter space)"
        ))
        .y_desc(format!("distance across, toward {c}"))
        .x_labels(ticks(width))
        .y_labels(ticks(height))
        .x_label_formatter(&|x| axis_label(*x, right - left))
        .y_label_formatter(&|y| axis_label(*y, top - bottom))
        .label_style(("sans-serif", TEXT).into_font().color(&INK))
        .axis_desc_style(("sans-serif", TEXT).into_font().color(&INK))
        .axis_style(INK.mix(0.6))
        .draw()?;
    let pixel = |place: &Place| chart.backend_coord(place);
    let (corner, opposite) = (pixel(&(left, top)), pixel(&(right, bottom)));
    root.draw(&Rectangle::new([corner, opposite], INK.mix(0.4)))?;
    let mut labels = Labels::new(Area {
        left: corner.0,
        top: corner.1,
        width: opposite.0 - corner.0,
        height: opposite.1 - corner.1,
    });
    let visible: Vec<(usize, &Placed)> = points
        .iter()
        .enumerate()
        .filter(|(_, placed)| grid.contains(placed.place))
        .collect();
    for (_, placed) in &visible {
        labels.take(Area::around(pixel(&placed.place), 14, 14));
    }
    let names: Vec<Name> = visible
        .iter()
        .filter_map(|(index, placed)| Name::new(*index, placed, pixel(&placed.place), &mut labels))
        .collect();
    contours(&root, landscape, &pixel, &mut labels)?;
    for name in &names {
        boxed(&root, name.area, &name.text)?;
    }
    for (index, placed) in &visible {
        mark(&root, pixel(&placed.place), *index < 3)?;
    }
    root.present()?;
    drop(chart);
    Ok(())
}

/// What is drawn of this run, and, from this height on, how to read it.
fn titles<'a>(root: &Root<'a>, landscape: &Landscape, (run, below): (&str, u32)) -> Drawn<'a, ()> {
    let Landscape {
        points,
        examples,
        step,
        ..
    } = landscape;
    let metric = &landscape.drawn;
    let unit = match metric.unit.as_str() {
        "" => String::new(),
        unit => format!(" ({unit})"),
    };
    let names: Vec<String> = points.iter().take(3).map(|p| p.point.to_string()).collect();
    let title = format!(
        "{}{unit} in the plane through {}",
        metric.name.replace('_', " "),
        names.join(", ")
    );
    let of = format!(
        "{run}, step {step}, {}",
        count(examples, "held-out example")
    );
    write(root, (LEFT as i32, 8), &title, TEXT + 4)?;
    write(root, (LEFT as i32, 32), &of, TEXT)?;
    let mut at = (LEFT as i32 + 6, below as i32 + BOTTOM as i32 / 2);
    for (is_corner, meaning) in [
        (true, "spans the plane"),
        (false, "projected onto it, with its distance"),
    ] {
        mark(root, at, is_corner)?;
        write(root, (at.0 + 12, at.1 - 7), meaning, TEXT)?;
        at.0 += 30 + width(meaning);
    }
    if let Some(beyond) = beyond(landscape) {
        write(
            root,
            (LEFT as i32, (below + BOTTOM) as i32 - 4),
            &beyond,
            TEXT,
        )?;
    }
    Ok(())
}

/// Which vectors are not in the picture, if there are any.
fn beyond(landscape: &Landscape) -> Option<String> {
    let points = landscape.points.iter();
    let mut beyond = points.filter(|placed| !landscape.grid.contains(placed.place));
    let first = beyond.next()?.point;
    Some(match beyond.count() {
        0 => format!("beyond the picture: {first}"),
        more => format!("beyond the picture: {first} and {more} more"),
    })
}

/// Lines of equal value, each with its level.
fn contours<'a>(
    root: &Root<'a>,
    landscape: &Landscape,
    pixel: &dyn Fn(&Place) -> Pixel,
    labels: &mut Labels,
) -> Drawn<'a, ()> {
    let name = landscape.drawn.name.as_str();
    let value = |score: &Option<Score>| {
        let value = score.as_ref().and_then(|score| score.get(name));
        value.unwrap_or(f64::NAN)
    };
    let values: Vec<f64> = landscape.scores.iter().map(value).collect();
    let levels = Levels::of(&values);
    let Levels {
        values: at,
        is_logarithmic,
    } = &levels;
    let scaled = |value: f64| match *is_logarithmic {
        true => value.ln(),
        false => value,
    };
    let values: Vec<f64> = values.into_iter().map(scaled).collect();
    let field = Field {
        grid: &landscape.grid,
        values: &values,
    };
    if at.is_empty() {
        let (x, y) = labels.within().centre();
        let what = "no contours: all values are the same, or none is finite";
        write(root, (x - width(what) / 2, y), what, TEXT)?;
    }
    let mut texts = Vec::new();
    for (index, (level, text)) in at.iter().zip(levels.labels()).enumerate() {
        let color = shade(index, at.len());
        let lines = field.lines(scaled(*level)).into_iter();
        let mut lines: Vec<Vec<Pixel>> =
            lines.map(|line| line.iter().map(pixel).collect()).collect();
        lines.sort_by(|one, other| length(other).total_cmp(&length(one)));
        for (number, line) in lines.iter().enumerate() {
            root.draw(&PathElement::new(line.clone(), color.stroke_width(2)))?;
            if number == 0 || length(line) >= LABELLED {
                let size = (width(&text) + 4, LINE);
                let along = from_the_middle(line);
                let areas = along.map(|place| Area::around(place, size.0, size.1));
                texts.extend(labels.place(areas).map(|area| (area, text.clone())));
            }
        }
    }
    for (area, text) in texts {
        boxed(root, area, &text)?;
    }
    Ok(())
}

/// The places of a line, those in the middle first.
fn from_the_middle(line: &[Pixel]) -> impl Iterator<Item = Pixel> {
    let (before, after) = line.split_at(line.len() / 2);
    let mut places: Vec<(usize, Pixel)> = before.iter().rev().copied().enumerate().collect();
    places.extend(after.iter().copied().enumerate());
    places.sort_by_key(|(distance, _)| *distance);
    places.into_iter().map(|(_, place)| place)
}

fn length(line: &[Pixel]) -> f64 {
    let piece = |pair: &[Pixel]| match pair {
        [(x, y), (z, w)] => f64::from(x - z).hypot(f64::from(y - w)),
        _ => 0.0,
    };
    line.windows(2).map(piece).sum()
}

/// The colour of level `index` of so many: from blue, the lowest, to vermilion.
fn shade(index: usize, levels: usize) -> RGBColor {
    let share = index as f64 / levels.saturating_sub(1).max(1) as f64;
    let mix = |low: u8, high: u8| {
        (f64::from(low) + share * (f64::from(high) - f64::from(low))).round() as u8
    };
    let (low, high) = (palette::color(0), palette::color(1));
    RGBColor(mix(low.0, high.0), mix(low.1, high.1), mix(low.2, high.2))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lsgd_core::{Source, WorkerId};

    use super::super::grid::Grid;
    use super::super::point::Point;
    use super::*;
    use crate::storage::{MetricInfo, Which};
    use crate::task::Better;

    fn score(loss: f64) -> Score {
        Score::new(BTreeMap::from([(String::from("loss"), loss)]))
    }

    /// A landscape with this loss, and so many workers beside the three.
    fn landscape(loss: impl Fn(Place) -> Option<f64>, workers: u32) -> Landscape {
        let corners = [(0.0, 0.0), (4.0, 0.0), (1.0, 2.0)];
        let worker = |worker: u32, place: Place| Placed {
            point: Point::Of(Which::Worker(worker as usize)),
            source: Source::Worker {
                id: WorkerId::new(0, worker),
                step: 8,
            },
            place,
            distance: 0.25 * f64::from(worker),
            score: score(1.0),
        };
        let mut points: Vec<Placed> = (0..).zip(corners).map(|(k, at)| worker(k, at)).collect();
        points[2].point = Point::Of(Which::Leader);
        points.extend((3..3 + workers).map(|k| worker(k, (0.1 * f64::from(k), 0.5))));
        let grid = Grid::around(corners, 9);
        let metric = MetricInfo {
            name: String::from("loss"),
            unit: String::new(),
            better: Better::Lower,
        };
        Landscape {
            checkpoint: "checkpoints/step-8".into(),
            step: 8,
            examples: 100,
            statistics_batches: None,
            metrics: vec![metric.clone()],
            drawn: metric,
            axes: [[0.0; 3]; 2],
            points,
            scores: grid.places().map(|at| loss(at).map(score)).collect(),
            grid,
        }
    }

    fn bowl((x, y): Place) -> Option<f64> {
        Some(0.05 + (x - 1.0).powi(2) + (y - 1.0).powi(2))
    }

    #[test]
    fn levels_and_names_are_written() {
        let text = draw(&landscape(bowl, 1), "runs/<first> & last").unwrap();
        for line in [
            "\n0.5\n",
            "\n1\n",
            "\nworker-0\n",
            "\nleader (worker-2)\n",
            "\nworker-3, 0.75\n",
        ] {
            assert!(text.contains(line), "{line} not in {text}");
        }
        assert!(text.contains("runs/&lt;first&gt; &amp; last, step 8, 100 held-out examples"));
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }

    /// Wherever the loss is known, and whatever it is.
    #[test]
    fn whatever_the_values_there_is_a_picture() {
        let none = "no contours: all values are the same, or none is finite";
        for (loss, is_drawn) in [
            (&(|_| None) as &dyn Fn(Place) -> Option<f64>, false),
            (&|_| Some(2.0), false),
            (&|_| Some(f64::NAN), false),
            (
                &|(x, _)| Some(if x > 1.0 { f64::INFINITY } else { x }),
                true,
            ),
            (&|(x, y)| Some(1e300 * x * y), true),
            (&|(x, _)| (x < 1.0).then_some(x), true),
        ] {
            let text = draw(&landscape(loss, 0), "run").unwrap();
            assert_eq!(text.contains(none), !is_drawn, "{text}");
            assert!(!text.contains("NaN") && !text.contains("\ninf"), "{text}");
        }
    }

    #[test]
    fn of_many_workers_the_three_have_names() {
        let landscape = landscape(bowl, 60);
        let text = draw(&landscape, "run").unwrap();
        for line in ["\nworker-0\n", "\nworker-1\n", "\nleader (worker-2)\n"] {
            assert!(text.contains(line), "{line} not in {text}");
        }
        // Those that are not in the picture are told of.
        let beyond: Vec<&Placed> = landscape
            .points
            .iter()
            .filter(|placed| !landscape.grid.contains(placed.place))
            .collect();
        assert!(!beyond.is_empty());
        assert!(text.contains(&format!("beyond the picture: {}", beyond[0].point)));
    }
}
