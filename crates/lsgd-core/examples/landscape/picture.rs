//! The picture: a column for each method, with the workers' ways, their f, and who leads.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::methods::{ITERATIONS, Trace, WORKERS};
use crate::surface;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// The map reaches so far from the origin, along each axis.
const REACH: f64 = 23.0;
/// Width of a map's plotting area in pixels, and height too: the rings are round.
const MAP: u32 = 460;
const MARGIN: u32 = 14;
const LABELS: u32 = 44;
const TITLE: u32 = 30;
/// Height of each of the two charts below the map.
const CHART: u32 = 190;
/// Told apart by the colour-blind too (Okabe and Ito, 2008).
const COLOURS: [RGBColor; WORKERS] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

/// Draws `traces` to the file `path`.
pub fn draw(traces: &[Trace], path: &Path) -> Drawn {
    let column = MAP + LABELS + 2 * MARGIN;
    let map = MAP + LABELS + TITLE + 2 * MARGIN;
    let size = (column * traces.len() as u32, map + 2 * CHART);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, trace) in root.split_evenly((1, traces.len())).iter().zip(traces) {
        let (top, below) = area.split_vertically(map);
        let (middle, bottom) = below.split_vertically(CHART);
        draw_map(&top, trace)?;
        draw_values(&middle, trace)?;
        draw_leaders(&bottom, trace)?;
    }
    root.present()?;
    Ok(())
}

/// The troughs, the darker the deeper, and every worker's way from its circle to its dot.
fn draw_map(area: &Area, trace: &Trace) -> Drawn {
    let title = format!("{}: four workers, {ITERATIONS} iterations", trace.method);
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .x_label_area_size(LABELS)
        .y_label_area_size(LABELS)
        .caption(title, ("sans-serif", 18))
        .build_cartesian_2d(-REACH..REACH, -REACH..REACH)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_desc("x")
        .y_desc("y")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    let unit = f64::from(MAP) / (2.0 * REACH);
    for number in 1..=REACH as u32 {
        let bottom = surface::bottom(number);
        let depth = -surface::value([bottom, 0.0]);
        let shade = RGBColor(90, 110, 140).mix((depth * 4.0).min(1.0));
        // A trough is as wide as one unit.
        let style = shade.stroke_width(unit as u32);
        if bottom < REACH - 0.5 {
            let radius = (bottom * unit).round() as i32;
            chart.draw_series([Circle::new((0.0, 0.0), radius, style)])?;
            continue;
        }
        for arc in arcs(bottom) {
            chart.draw_series(LineSeries::new(arc, style))?;
        }
    }
    for (worker, colour) in COLOURS.into_iter().enumerate() {
        let way: Vec<(f64, f64)> = trace
            .moments
            .iter()
            .map(|moment| moment.at[worker].into())
            .collect();
        let ends = [way.first(), way.last()].map(|end| end.copied().unwrap_or_default());
        chart.draw_series([
            Circle::new(ends[0], 5, colour.stroke_width(2)),
            Circle::new(ends[1], 4, colour.filled()),
        ])?;
        chart.draw_series(LineSeries::new(way, colour.stroke_width(2)))?;
    }
    Ok(())
}

/// The parts of the circle of radius `r` that lie on the map.
fn arcs(r: f64) -> Vec<Vec<(f64, f64)>> {
    const STEPS: u32 = 180;
    let points = (0..=STEPS).map(|step| {
        let angle = std::f64::consts::TAU * f64::from(step) / f64::from(STEPS);
        (r * angle.cos(), r * angle.sin())
    });
    let points: Vec<(f64, f64)> = points.collect();
    let inside = |&(x, y): &(f64, f64)| x.abs().max(y.abs()) < REACH - 0.5;
    points
        .split(|point| !inside(point))
        .filter(|arc| arc.len() > 1)
        .map(<[_]>::to_vec)
        .collect()
}

/// f of every worker.
fn draw_values(area: &Area, trace: &Trace) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .x_label_area_size(LABELS)
        .y_label_area_size(LABELS)
        .build_cartesian_2d(0..ITERATIONS, -0.25..0.15)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("iteration")
        .y_desc("f")
        .y_labels(5)
        // Adding zero turns -0.0 into 0.0.
        .y_label_formatter(&|f: &f64| format!("{:.1}", (f * 10.0).round() / 10.0 + 0.0))
        .draw()?;
    for (worker, colour) in COLOURS.into_iter().enumerate() {
        let values = trace.moments.iter().enumerate();
        let values = values.map(|(i, moment)| (i as u64, surface::value(moment.at[worker])));
        chart.draw_series(LineSeries::new(values, colour.stroke_width(2)))?;
    }
    Ok(())
}

/// The worker with the lowest f: in LGD the leader, in EAGD one that no worker follows.
fn draw_leaders(area: &Area, trace: &Trace) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .x_label_area_size(LABELS)
        .y_label_area_size(LABELS)
        .build_cartesian_2d(0..ITERATIONS, -0.5..WORKERS as f64 - 0.5)?;
    let title = match trace.method {
        "LGD" => "leader",
        _ => "lowest f",
    };
    chart
        .configure_mesh()
        .disable_mesh()
        .x_desc("iteration")
        .y_desc(title)
        .y_labels(WORKERS)
        .y_label_formatter(&|worker| format!("{worker:.0}"))
        .draw()?;
    let marks = trace.moments.iter().enumerate().map(|(i, moment)| {
        let colour = COLOURS[moment.leader];
        Circle::new((i as u64, moment.leader as f64), 2, colour.filled())
    });
    chart.draw_series(marks)?;
    Ok(())
}
