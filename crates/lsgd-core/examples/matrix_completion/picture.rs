//! The picture: for every rank, the best worker's F over the iterations.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::methods::{ITERATIONS, Method};
use crate::summary::{Curve, Point};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// F below this is rounding and is drawn here.
const FLOOR: f64 = 1e-8;
const CEILING: f64 = 1e9;
const SIZE: (u32, u32) = (1040, 760);

/// Draws `curves`, a panel for every rank, to the file `path`.
pub fn draw(curves: &[Curve], path: &Path) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let ranks = curves.chunk_by(|a, b| a.rank == b.rank);
    for (area, curves) in root.split_evenly((2, 2)).iter().zip(ranks) {
        draw_rank(area, curves)?;
    }
    root.present()?;
    Ok(())
}

/// Medians over the instances as lines, from the lowest to the highest as areas.
fn draw_rank(area: &Area, curves: &[Curve]) -> Drawn {
    let rank = curves.first().map_or(0, |curve| curve.rank);
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .caption(format!("rank {rank}"), ("sans-serif", 18))
        .build_cartesian_2d(0..ITERATIONS, (FLOOR..CEILING).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("iteration")
        .y_desc("F of the best worker")
        .y_labels(9)
        .y_label_formatter(&|f| format!("{f:.0e}"))
        .draw()?;
    for curve in curves {
        let colour = colour(curve.method);
        let line = |of: fn(&Point) -> f64| {
            let values = curve.points.iter().map(of).enumerate();
            values.map(|(i, f)| (i, f.clamp(FLOOR, CEILING)))
        };
        let lowest = line(|point| point.best.lowest);
        let highest = line(|point| point.best.highest);
        let outline: Vec<(usize, f64)> = lowest
            .chain(highest.collect::<Vec<_>>().into_iter().rev())
            .collect();
        chart.draw_series([Polygon::new(outline, colour.mix(0.2))])?;
        let median = line(|point| point.best.median);
        // The last is dashed: where two lines are one, both are seen.
        let style = colour.stroke_width(2);
        match curve.method {
            Method::Gd => chart.draw_series(DashedLineSeries::new(median, 6, 6, style))?,
            Method::Lgd | Method::Eagd => chart.draw_series(LineSeries::new(median, style))?,
        }
        .label(curve.method.name())
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK)
        .label_font(("sans-serif", 14))
        .draw()?;
    Ok(())
}

/// Told apart by the colour-blind too (Okabe and Ito, 2008).
fn colour(method: Method) -> RGBColor {
    match method {
        Method::Lgd => RGBColor(0, 114, 178),
        Method::Eagd => RGBColor(213, 94, 0),
        Method::Gd => RGBColor(60, 60, 60),
    }
}
