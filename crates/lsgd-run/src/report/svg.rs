//! A chart as a picture that needs no script, in the page's own colours.

use std::error::Error;
use std::ops::Range;

use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::chart::{Chart, Series, Shape};
use super::palette;
use super::thinning::Thinned;
use crate::error::RunError;
use crate::report::ReportError;

const WIDTH: u32 = 760;
const HEIGHT: u32 = 280;
/// Height of a row, and of what is around the rows.
const ROW: u32 = 24;
const AROUND: u32 = 64;
/// Buckets of a series: more than can be told apart at this width.
const BUCKETS: usize = 180;
/// Stands for the foreground's colour until the picture is drawn; nothing else has it.
const INK: RGBColor = RGBColor(1, 2, 3);
const INK_TEXT: &str = "#010203";
/// Beyond it an axis would show nothing but this value.
const LARGEST: f64 = 1e100;

/// Draws a chart.
///
/// # Errors
///
/// [`ReportError::Drawing`].
pub fn draw(chart: &Chart) -> Result<String, RunError> {
    let mut text = String::new();
    let drawn = panel(chart, &mut text).map_err(|why| why.to_string());
    drawn.map_err(|reason| ReportError::Drawing {
        what: chart.title.clone(),
        reason,
    })?;
    let text = text.replace(INK_TEXT, "currentColor");
    // Inside a page it needs no namespace, and the style sheet gives it its size.
    let text = text.replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
    Ok(text.trim_end().to_owned())
}

/// A series as it is drawn: pieces without a gap, of places on both axes.
struct Drawn<'a> {
    series: &'a Series,
    pieces: Vec<Vec<(f64, f64)>>,
}

impl<'a> Drawn<'a> {
    fn new(chart: &Chart, series: &'a Series) -> Self {
        let points = match series.shape {
            Shape::Line => Thinned::of(&series.points, BUCKETS),
            _ => series.points.clone(),
        };
        let x = |at| chart.xs.first().map_or(f64::NAN, |x| x.of(at));
        let places = points.iter().map(|point| (x(&point.at), point.y));
        let places: Vec<(f64, f64)> = places.collect();
        let fits = |(x, y): &(f64, f64)| x.abs() < LARGEST && y.abs() < LARGEST;
        let pieces = places.split(|place| !fits(place));
        let pieces = pieces.filter(|piece| !piece.is_empty());
        Self {
            series,
            pieces: pieces.map(<[_]>::to_vec).collect(),
        }
    }

    fn places(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.pieces.iter().flatten()
    }

    fn color(&self) -> RGBColor {
        let (red, green, blue) = palette::color(self.series.look);
        match self.series.is_ink() {
            true => INK,
            false => RGBColor(red, green, blue),
        }
    }
}

/// From the lowest to the highest of some values, with some room at both ends.
fn range<'a>(values: impl Iterator<Item = &'a f64> + Clone) -> Range<f64> {
    let low = values.clone().copied().fold(f64::INFINITY, f64::min);
    let high = values.copied().fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return 0.0..1.0;
    }
    let span = high - low;
    let room = match span > 1e-6 * low.abs().max(high.abs()) {
        true => 0.04 * span,
        false => (0.05 * high.abs()).max(1e-9),
    };
    let bottom = match low >= 0.0 {
        true => (low - room).max(0.0),
        false => low - room,
    };
    bottom..high + room
}

/// A value as the label of an axis of this length.
pub fn label(value: f64, span: f64) -> String {
    let (scale, unit) = match span.abs() {
        span if span >= 1e9 => (1e9, "G"),
        span if span >= 1e6 => (1e6, "M"),
        span if span >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let span = span / scale;
    if span > 0.0 && span < 1e-3 {
        return format!("{value:.1e}");
    }
    let decimals = (1.0 - span.log10().floor()).clamp(0.0, 5.0) as usize;
    format!("{:.decimals$}{unit}", value / scale)
}

fn panel<'a>(chart: &Chart, text: &'a mut String) -> Result<(), Box<dyn Error + 'a>> {
    let drawn: Vec<Drawn> = chart.series.iter().map(|s| Drawn::new(chart, s)).collect();
    let places: Vec<(f64, f64)> = drawn.iter().flat_map(Drawn::places).copied().collect();
    let (xs, ys): (Vec<f64>, Vec<f64>) = places.into_iter().unzip();
    let right = xs.iter().copied().fold(1e-9, f64::max);
    let rows = chart.rows.len();
    let (y, height) = match rows {
        0 => (range(ys.iter()), HEIGHT),
        rows => (-0.6..rows as f64 - 0.4, AROUND + ROW * rows as u32),
    };
    let (x_span, y_span) = (right, y.end - y.start);
    let area = SVGBackend::with_string(text, (WIDTH, height)).into_drawing_area();
    let mut plot = ChartBuilder::on(&area)
        .margin_top(8)
        .margin_right(16)
        .x_label_area_size(46)
        .y_label_area_size(if rows == 0 { 76 } else { 132 })
        .build_cartesian_2d(0.0..right * 1.005, y)?;
    let style = ("sans-serif", 15).into_font().color(&INK);
    let row = |y: &f64| {
        let is_row = (y - y.round()).abs() < 1e-6 && y.round() >= 0.0;
        let name = is_row.then(|| chart.rows.get(y.round() as usize)).flatten();
        name.cloned().unwrap_or_default()
    };
    let value = |y: &f64| label(*y, y_span);
    let y_label: &dyn Fn(&f64) -> String = if rows == 0 { &value } else { &row };
    let x_name = chart.xs.first().map_or("", |x| x.name());
    plot.configure_mesh()
        .x_desc(x_name)
        .y_desc(chart.y.as_str())
        .x_labels(8)
        .y_labels(if rows == 0 { 6 } else { 2 * rows + 1 })
        .x_label_formatter(&|x| label(*x, x_span))
        .y_label_formatter(y_label)
        .label_style(style.clone())
        .axis_desc_style(style)
        .axis_style(INK.mix(0.5))
        .bold_line_style(INK.mix(0.12))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for drawn in &drawn {
        let color = drawn.color();
        for piece in &drawn.pieces {
            let style = color.stroke_width(match drawn.series.shape {
                Shape::Band => 13,
                Shape::Core => 4,
                // It stays visible under the worker's that it is the same as.
                Shape::Line if drawn.series.is_ink() => 3,
                Shape::Line | Shape::Dots => 2,
            });
            let line = piece.iter().copied();
            match (drawn.series.shape, palette::gap(drawn.series.look)) {
                (Shape::Dots, _) => {
                    let dot = |place| Circle::new(place, 4, color.mix(0.8).filled());
                    plot.draw_series(line.map(dot))?;
                }
                (Shape::Line, _) if piece.len() == 1 => {
                    let dot = |place| Circle::new(place, 3, color.filled());
                    plot.draw_series(line.map(dot))?;
                }
                (Shape::Line, Some(gap)) => {
                    let line = DashedPathElement::new(line, palette::DASH, gap, style);
                    plot.draw_series([line])?;
                }
                _ => drop(plot.draw_series([PathElement::new(piece.clone(), style)])?),
            }
        }
    }
    if drawn.iter().all(|drawn| drawn.pieces.is_empty()) {
        let place = (WIDTH as i32 / 2, height as i32 / 2);
        let style = ("sans-serif", 13).into_font().color(&INK);
        let style = style.pos(Pos::new(HPos::Center, VPos::Center));
        area.draw(&Text::new("no finite value", place, style))?;
    }
    area.present()?;
    drop(plot);
    drop(area);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::chart::X;
    use super::super::thinning::{Point, Spent};
    use super::*;

    fn chart(values: &[f64]) -> Chart {
        let point = |(x, y): (usize, &f64)| Point {
            at: Spent::new(x as f64, x as u64),
            y: *y,
        };
        let points = values.iter().enumerate().map(point).collect();
        Chart::new("loss", "nats", &[X::Seconds]).with(Series::line("a", 0, points))
    }

    #[test]
    fn whatever_the_values_there_is_a_picture() {
        for values in [
            &[][..],
            &[1.0],
            &[f64::NAN, f64::NAN],
            &[0.0, 0.0],
            &[1.0, f64::NAN, 2.0],
            &[f64::MAX, f64::MIN, 1.0],
            &[1e-300, 1e300],
            &[f64::INFINITY, 3.0],
        ] {
            let text = draw(&chart(values)).unwrap();
            assert!(
                text.starts_with("<svg") && text.ends_with("</svg>"),
                "{text}"
            );
            assert!(!text.contains("NaN") && !text.contains("http"), "{text}");
        }
    }

    #[test]
    fn labels_are_short() {
        for (value, span, expected) in [
            (0.25, 1.0, "0.2"),
            (150.0, 300.0, "150"),
            (40_000.0, 100_000.0, "40k"),
            (2.5e6, 5e6, "2.5M"),
            (3e9, 6e9, "3.0G"),
            (2e-5, 4e-5, "2.0e-5"),
        ] {
            assert_eq!(label(value, span), expected);
        }
    }
}
