//! Leaders over time: a bar for every term, in the row of the worker that leads.

use std::error::Error;

use plotters::prelude::*;

use super::case_runs::CaseRuns;
use super::leadership::Term;
use super::picture::{color, drawn};
use super::plan::Plan;
use crate::error::RunError;
use crate::words::count;

const WIDTH: u32 = 900;
/// Height of a worker's row, and of the space around the rows of a run.
const ROW: u32 = 16;
const AROUND: u32 = 64;

/// Draws the run with the first seed of every case that has leaders; nothing if none has.
///
/// # Errors
///
/// [`RunError::Report`] if it cannot be drawn.
pub fn draw(plan: &Plan, cases: &[CaseRuns]) -> Result<Option<String>, RunError> {
    let has_leaders = |runs: &&CaseRuns| {
        let first = runs.curves.first();
        first.is_some_and(|curve| curve.leadership.elections() > 0)
    };
    let cases: Vec<&CaseRuns> = cases.iter().filter(has_leaders).collect();
    if cases.is_empty() {
        return Ok(None);
    }
    drawn(plan, |text| panels(&cases, text)).map(Some)
}

fn panels<'a>(cases: &[&CaseRuns], text: &'a mut String) -> Result<(), Box<dyn Error + 'a>> {
    let height = |runs: &CaseRuns| AROUND + ROW * runs.case.workers as u32;
    let total = cases.iter().map(|runs| height(runs)).sum();
    let area = SVGBackend::with_string(text, (WIDTH, total)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut top = 0;
    for runs in cases {
        let (_, below) = area.split_vertically(top);
        let (panel_area, _) = below.split_vertically(height(runs));
        panel(&panel_area, runs)?;
        top += height(runs);
    }
    area.present()?;
    Ok(())
}

fn panel<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    runs: &CaseRuns,
) -> Result<(), Box<dyn Error + 'a>> {
    let Some(curve) = runs.curves.first() else {
        return Ok(());
    };
    let leadership = &curve.leadership;
    let per_node = (runs.case.workers / runs.case.nodes.max(1)).max(1);
    let row = |term: &Term| {
        let id = term.leader;
        u64::from(id.node) * per_node + u64::from(id.worker)
    };
    let all = leadership
        .local
        .values()
        .flatten()
        .chain(&leadership.global);
    let last = all.map(|term| term.to).max().unwrap_or(1);
    let case = &runs.case;
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
    let bar = |term: &Term, half: f64| {
        let row = row(term) as f64;
        let (from, to) = (term.from as f64, term.to as f64);
        [(from, row - half), (to, row + half)]
    };
    for (node, terms) in &leadership.local {
        let style = color(*node as usize).filled();
        let bars = terms
            .iter()
            .map(|term| Rectangle::new(bar(term, 0.35), style));
        chart.draw_series(bars)?;
    }
    // The global leader, drawn inside the bar of its node's leader.
    let global = leadership.global.iter();
    chart.draw_series(global.map(|term| Rectangle::new(bar(term, 0.1), BLACK.filled())))?;
    Ok(())
}
