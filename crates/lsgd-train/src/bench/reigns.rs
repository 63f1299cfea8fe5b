//! Who leads, over time: a bar for every reign, in the row of the worker that leads.

use std::error::Error;

use plotters::prelude::*;

use super::group::Group;
use super::leading::Reign;
use super::picture::{color, drawn};
use super::plan::Plan;
use crate::error::TrainError;
use crate::words::count;

const WIDTH: u32 = 900;
/// Height of a worker's row, and of what is around the rows of a run.
const ROW: u32 = 16;
const AROUND: u32 = 64;

/// Draws the first seed's run of every case that has leaders; nothing if none has.
///
/// # Errors
///
/// [`TrainError::Bench`] if it cannot be drawn.
pub fn draw(plan: &Plan, groups: &[Group]) -> Result<Option<String>, TrainError> {
    let led = |group: &&Group| {
        let first = group.curves.first();
        first.is_some_and(|curve| curve.leading.elections() > 0)
    };
    let groups: Vec<&Group> = groups.iter().filter(led).collect();
    if groups.is_empty() {
        return Ok(None);
    }
    drawn(plan, |text| panels(&groups, text)).map(Some)
}

fn panels<'a>(groups: &[&Group], text: &'a mut String) -> Result<(), Box<dyn Error + 'a>> {
    let height = |group: &Group| AROUND + ROW * group.case.workers as u32;
    let total = groups.iter().map(|group| height(group)).sum();
    let area = SVGBackend::with_string(text, (WIDTH, total)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut top = 0;
    for group in groups {
        let (_, below) = area.split_vertically(top);
        let (panel_area, _) = below.split_vertically(height(group));
        panel(&panel_area, group)?;
        top += height(group);
    }
    area.present()?;
    Ok(())
}

fn panel<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    group: &Group,
) -> Result<(), Box<dyn Error + 'a>> {
    let Some(curve) = group.curves.first() else {
        return Ok(());
    };
    let leading = &curve.leading;
    let per_node = (group.case.workers / group.case.nodes.max(1)).max(1);
    let row = |reign: &Reign| {
        let rank = reign.leader;
        u64::from(rank.node) * per_node + u64::from(rank.worker)
    };
    let all = leading.local.values().flatten().chain(&leading.global);
    let last = all.map(|reign| reign.to).max().unwrap_or(1);
    let case = &group.case;
    let title = format!(
        "{}, {}, period {}: who leads",
        case.label,
        count(case.workers, "worker"),
        case.period
    );
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(32)
        .y_label_area_size(48)
        .caption(title, ("sans-serif", 14))
        .build_cartesian_2d(0.0..last as f64, -0.5..case.workers as f64 - 0.5)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .x_desc("steps of a worker")
        .y_desc("worker")
        .x_labels(8)
        .y_labels(case.workers.min(16) as usize)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|row| format!("{row:.0}"))
        .label_style(("sans-serif", 11))
        .light_line_style(WHITE)
        .draw()?;
    let bar = |reign: &Reign, half: f64| {
        let row = row(reign) as f64;
        let (from, to) = (reign.from as f64, reign.to as f64);
        [(from, row - half), (to, row + half)]
    };
    for (node, reigns) in &leading.local {
        let style = color(*node as usize).filled();
        let bars = reigns
            .iter()
            .map(|reign| Rectangle::new(bar(reign, 0.35), style));
        chart.draw_series(bars)?;
    }
    // The leader of all nodes, within the bar of its node's.
    let global = leading.global.iter();
    chart.draw_series(global.map(|reign| Rectangle::new(bar(reign, 0.1), BLACK.filled())))?;
    Ok(())
}
