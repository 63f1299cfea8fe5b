//! Test error against what was spent, as SVG: a row for each number of workers and period, a column
//! each for samples, bytes and seconds.

use std::error::Error;

use plotters::element::DashedPathElement;
use plotters::prelude::*;

use super::group::{ERRORS, Group, points};
use super::plan::{How, Plan};
use crate::error::TrainError;
use crate::words::count;

const PANEL: (u32, u32) = (420, 300);
/// Length of a dash.
const DASH: i32 = 6;
/// Colours that people who see few tell apart (Okabe and Ito), one a case.
const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(150, 150, 150),
];
/// Room for the names of the cases.
const LEGEND: u32 = 190;

/// Draws error number `which` of all cases.
///
/// # Errors
///
/// [`TrainError::Bench`] if it cannot be drawn.
pub fn draw(plan: &Plan, groups: &[Group], which: usize) -> Result<String, TrainError> {
    drawn(plan, |text| panels(plan, groups, which, text))
}

/// What `draw` draws, as text.
pub fn drawn(
    plan: &Plan,
    draw: impl for<'a> FnOnce(&'a mut String) -> Result<(), Box<dyn Error + 'a>>,
) -> Result<String, TrainError> {
    let mut text = String::new();
    let drawn = draw(&mut text).map_err(|error| error.to_string());
    drawn.map_err(|why| TrainError::Bench {
        path: plan.path(),
        why: format!("cannot be drawn: {why}"),
    })?;
    Ok(text)
}

fn panels<'a>(
    plan: &Plan,
    groups: &[Group],
    which: usize,
    text: &'a mut String,
) -> Result<(), Box<dyn Error + 'a>> {
    let mut rows: Vec<(u64, u64)> = Vec::new();
    for group in groups {
        let row = (group.case.workers, group.case.period);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let size = (3 * PANEL.0 + LEGEND, PANEL.1 * rows.len() as u32);
    let area = SVGBackend::with_string(text, size).into_drawing_area();
    area.fill(&WHITE)?;
    let seconds = match plan.how {
        How::Simulate => "virtual seconds",
        How::Train => "seconds of training",
    };
    for (row, (workers, period)) in rows.iter().enumerate() {
        let of_row =
            |group: &&Group| (group.case.workers, group.case.period) == (*workers, *period);
        let groups: Vec<&Group> = groups.iter().filter(of_row).collect();
        let top = row as u32 * PANEL.1;
        let (_, below) = area.split_vertically(top);
        let (line, _) = below.split_vertically(PANEL.1);
        let (first, rest) = line.split_horizontally(PANEL.0);
        let (second, rest) = rest.split_horizontally(PANEL.0);
        let (third, legend) = rest.split_horizontally(PANEL.0);
        let of = ERRORS[which].replace('_', " ");
        let workers = count(workers, "worker");
        let title = format!("{workers}, period {period}: test error (%), {of}");
        panel(&first, &groups, which, &title, "samples", |p| p.samples)?;
        panel(&second, &groups, which, "", "megabytes", |p| p.bytes / 1e6)?;
        panel(&third, &groups, which, "", seconds, |p| p.seconds)?;
        for (index, group) in groups.iter().enumerate() {
            let y = 30 + 18 * index as i32;
            let (line, style) = (vec![(10, y), (34, y)], color(index).stroke_width(2));
            match gap(index) {
                None => legend.draw(&PathElement::new(line, style))?,
                Some(gap) => legend.draw(&DashedPathElement::new(line, DASH, gap, style))?,
            }
            let label = group.case.label.clone();
            legend.draw(&Text::new(label, (40, y - 6), ("sans-serif", 13)))?;
        }
    }
    area.present()?;
    Ok(())
}

/// Between the dashes of case `index`, whose line is whole if the colour is its own.
fn gap(index: usize) -> Option<i32> {
    let before = index / COLORS.len();
    (before > 0).then_some(4 * before as i32)
}

/// The colour of case `index`.
pub fn color(index: usize) -> RGBColor {
    COLORS[index % COLORS.len()]
}

fn panel<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    groups: &[&Group],
    which: usize,
    title: &str,
    axis: &str,
    spent: fn(&super::curves::Point) -> f64,
) -> Result<(), Box<dyn Error + 'a>> {
    let curves: Vec<Vec<(f64, f64, f64)>> = groups
        .iter()
        .map(|group| {
            let points = points(group).into_iter();
            let point = points.map(|(point, errors)| (spent(&point), errors[which]));
            let there = point.filter(|(_, error)| error.mean.is_finite());
            there
                .map(|(x, error)| {
                    (
                        x,
                        error.mean,
                        if error.half.is_nan() { 0.0 } else { error.half },
                    )
                })
                .collect()
        })
        .collect();
    let all = || curves.iter().flatten();
    let right = all().map(|(x, ..)| *x).fold(1e-9, f64::max);
    let lowest = all().map(|(_, y, half)| y - half).fold(100.0, f64::min);
    let highest = all()
        .map(|(_, y, half)| y + half)
        .fold(lowest + 1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(40)
        .caption(title, ("sans-serif", 14))
        .build_cartesian_2d(0.0..right, lowest.max(0.0)..highest.min(100.0))?;
    chart
        .configure_mesh()
        .x_desc(axis)
        .x_labels(5)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .y_labels(8)
        .light_line_style(WHITE)
        .draw()?;
    for (index, curve) in curves.iter().enumerate() {
        let color = color(index);
        let band = curve.iter().map(|(x, y, half)| (*x, y + half));
        let back = curve.iter().rev().map(|(x, y, half)| (*x, y - half));
        let band: Vec<(f64, f64)> = band.chain(back).collect();
        chart.draw_series([Polygon::new(band, color.mix(0.12))])?;
        let line = curve.iter().map(|(x, y, _)| (*x, *y));
        let style = color.stroke_width(2);
        match gap(index) {
            None => chart.draw_series(LineSeries::new(line, style))?,
            Some(gap) => chart.draw_series(DashedLineSeries::new(line, DASH, gap, style))?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_cases_of_a_picture_look_the_same() {
        let looks: Vec<_> = (0..24).map(|index| (color(index), gap(index))).collect();
        for (index, look) in looks.iter().enumerate() {
            assert!(!looks[..index].contains(look), "case {index}");
        }
    }
}
