//! The main metric against what was spent, as SVG: a row for each number of workers and period, and a
//! column each for samples, bytes and seconds.

use std::error::Error;

use plotters::element::DashedPathElement;
use plotters::prelude::*;

use super::axis::{self, Shown, decimals};
use super::case_runs::{CaseRuns, SCORED, points};
use super::curves::Point;
use super::plan::{How, Plan};
use crate::error::RunError;
use crate::report::ReportError;
use crate::report::palette::{self, DASH, gap};
use crate::storage::MetricInfo;
use crate::words::count;

const PANEL: (u32, u32) = (420, 300);
/// Space for the names of the cases.
const LEGEND: u32 = 190;

/// Draws value number `which` of all cases, of a metric.
///
/// # Errors
///
/// [`ReportError::Drawing`].
pub fn draw(
    plan: &Plan,
    metric: &MetricInfo,
    cases: &[CaseRuns],
    which: usize,
) -> Result<String, RunError> {
    let graph = Graph {
        which,
        metric,
        seconds: match plan.how {
            How::Simulate => "virtual seconds",
            How::Train => "seconds of training",
        },
    };
    drawn(plan, |text| panels(&graph, cases, text))
}

/// What `draw` draws, as SVG text.
pub fn drawn(
    plan: &Plan,
    draw: impl for<'a> FnOnce(&'a mut String) -> Result<(), Box<dyn Error + 'a>>,
) -> Result<String, RunError> {
    let mut text = String::new();
    let drawn = draw(&mut text).map_err(|error| error.to_string());
    drawn.map_err(|reason| ReportError::Drawing {
        what: plan.path().display().to_string(),
        reason,
    })?;
    Ok(text)
}

/// What all panels of a picture show.
struct Graph<'a> {
    /// The number of the value.
    which: usize,
    metric: &'a MetricInfo,
    /// What seconds are called.
    seconds: &'static str,
}

impl Graph<'_> {
    fn title(&self, workers: u64, period: u64) -> String {
        let MetricInfo { name, unit, .. } = self.metric;
        let unit = match unit.as_str() {
            "" => String::new(),
            unit => format!(" ({unit})"),
        };
        let of = SCORED[self.which].replace('_', " ");
        let workers = count(workers, "worker");
        format!("{workers}, period {period}: test {name}{unit}, {of}")
    }
}

fn panels<'a>(
    graph: &Graph,
    cases: &[CaseRuns],
    text: &'a mut String,
) -> Result<(), Box<dyn Error + 'a>> {
    let mut rows: Vec<(u64, u64)> = Vec::new();
    for runs in cases {
        let row = (runs.case.workers, runs.case.period);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let size = (3 * PANEL.0 + LEGEND, PANEL.1 * rows.len() as u32);
    let area = SVGBackend::with_string(text, size).into_drawing_area();
    area.fill(&WHITE)?;
    for (row, (workers, period)) in rows.iter().enumerate() {
        let of_row =
            |runs: &&CaseRuns| (runs.case.workers, runs.case.period) == (*workers, *period);
        let cases: Vec<&CaseRuns> = cases.iter().filter(of_row).collect();
        let top = row as u32 * PANEL.1;
        let (_, below) = area.split_vertically(top);
        let (line, _) = below.split_vertically(PANEL.1);
        let (first, rest) = line.split_horizontally(PANEL.0);
        let (second, rest) = rest.split_horizontally(PANEL.0);
        let (third, legend) = rest.split_horizontally(PANEL.0);
        let title = graph.title(*workers, *period);
        let axes = [
            Axis::new(&title, "samples", |p| p.samples),
            Axis::new("", "megabytes", |p| p.bytes / 1e6),
            Axis::new("", graph.seconds, |p| p.seconds),
        ];
        for (area, axis) in [first, second, third].iter().zip(axes) {
            panel(area, graph, &cases, &axis)?;
        }
        for (index, runs) in cases.iter().enumerate() {
            let y = 30 + 18 * index as i32;
            let (line, style) = (vec![(10, y), (34, y)], color(index).stroke_width(2));
            match gap(index) {
                None => legend.draw(&PathElement::new(line, style))?,
                Some(gap) => legend.draw(&DashedPathElement::new(line, DASH, gap, style))?,
            }
            let label = runs.case.label.clone();
            legend.draw(&Text::new(label, (40, y - 6), ("sans-serif", 13)))?;
        }
    }
    area.present()?;
    Ok(())
}

/// The colour of case `index`.
pub fn color(index: usize) -> RGBColor {
    let (red, green, blue) = palette::color(index);
    RGBColor(red, green, blue)
}

/// The title of a panel, and its horizontal axis.
struct Axis<'a> {
    title: &'a str,
    name: &'a str,
    spent: fn(&Point) -> f64,
}

impl<'a> Axis<'a> {
    fn new(title: &'a str, name: &'a str, spent: fn(&Point) -> f64) -> Self {
        Self { title, name, spent }
    }
}

fn panel<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    graph: &Graph,
    cases: &[&CaseRuns],
    axis: &Axis,
) -> Result<(), Box<dyn Error + 'a>> {
    let curves: Vec<Vec<Shown>> = cases
        .iter()
        .map(|runs| {
            let shown = points(runs).into_iter();
            shown
                .filter_map(|(point, values)| Shown::new((axis.spent)(&point), values[graph.which]))
                .collect()
        })
        .collect();
    let all = || curves.iter().flatten();
    let right = all().map(|shown| shown.x).fold(1e-9, f64::max);
    let range = axis::range(all(), graph.metric);
    let (x_decimals, y_decimals) = (decimals(right), decimals(range.end - range.start));
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(40)
        .caption(axis.title, ("sans-serif", 14))
        .build_cartesian_2d(0.0..right, range)?;
    chart
        .configure_mesh()
        .x_desc(axis.name)
        .x_labels(5)
        .x_label_formatter(&|x| format!("{x:.x_decimals$}"))
        .y_label_formatter(&|y| format!("{y:.y_decimals$}"))
        .y_labels(8)
        .light_line_style(WHITE)
        .draw()?;
    for (index, curve) in curves.iter().enumerate() {
        let color = color(index);
        let band = curve.iter().map(|shown| (shown.x, shown.y + shown.half));
        let back = curve
            .iter()
            .rev()
            .map(|shown| (shown.x, shown.y - shown.half));
        let band: Vec<(f64, f64)> = band.chain(back).collect();
        chart.draw_series([Polygon::new(band, color.mix(0.12))])?;
        let line = curve.iter().map(|shown| (shown.x, shown.y));
        let style = color.stroke_width(2);
        match gap(index) {
            None => chart.draw_series(LineSeries::new(line, style))?,
            Some(gap) => chart.draw_series(DashedLineSeries::new(line, DASH, gap, style))?,
        };
    }
    Ok(())
}
