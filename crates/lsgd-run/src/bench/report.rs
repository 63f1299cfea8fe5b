//! One report of all runs: tables as CSV, and curves.

use std::fmt::Write;
use std::path::PathBuf;

use lsgd_core::WorkerId;

use super::case_runs::{CaseRuns, Results, SCORED, points};
use super::curves::{Curve, Point};
use super::estimate::{Estimate, mean};
use super::leadership::Leadership;
use super::plan::{Case, Plan};
use super::{leadership_chart, picture};
use crate::error::RunError;
use crate::output::Output;
use crate::task::Better;

/// Writes the report of all runs, and returns its folder.
///
/// # Errors
///
/// [`RunError`] for a picture that cannot be drawn, or a file that cannot be written.
pub fn write(plan: &Plan, results: &Results) -> Result<PathBuf, RunError> {
    let Results { metric, cases } = results;
    let path = plan.path();
    // Written anew every time the bench is run.
    let file =
        |name: &str, text: String| Output::new(&path.join(name), true)?.write(text.as_bytes());
    file("runs.csv", runs(results))?;
    file("curves.csv", curves(cases))?;
    file("final.csv", finals(cases))?;
    let better = metric.as_ref().map(|metric| metric.better);
    file("targets.csv", reached(&plan.targets, better, cases))?;
    file("leaders.csv", leaders(cases))?;
    file("led.csv", term_counts(results))?;
    if let Some(picture) = leadership_chart::draw(plan, cases)? {
        file("leaders.svg", picture)?;
    }
    let Some(metric) = metric else {
        return Ok(path);
    };
    for (which, name) in SCORED.iter().enumerate() {
        let mut points = results.runs().flat_map(|(_, curve)| &curve.points);
        if points.any(|point| point.values[which].is_finite()) {
            let picture = picture::draw(plan, metric, cases, which)?;
            file(&format!("{name}.svg"), picture)?;
        }
    }
    Ok(path)
}

/// The last evaluation of every run.
fn runs(results: &Results) -> String {
    let mut text = String::from(
        "label,workers,period,seed,step,samples,bytes,seconds,leader,replica_mean,worker_mean,end\n",
    );
    for (of, curve) in results.runs() {
        let Some(last) = curve.points.last() else {
            continue;
        };
        let _ = write!(text, "{},{},", case(of), curve.seed);
        let _ = write!(text, "{}", spent(last));
        let _ = writeln!(text, ",{},{}", cells(&last.values), curve.end);
    }
    text
}

/// Every evaluation, mean and interval over seeds.
fn curves(cases: &[CaseRuns]) -> String {
    let mut text = header("step,samples,bytes,seconds");
    for runs in cases {
        for point in points(runs) {
            row(&mut text, runs, &point);
        }
    }
    text
}

/// The last evaluation, mean and interval over seeds.
fn finals(cases: &[CaseRuns]) -> String {
    let mut text = header("step,samples,bytes,seconds");
    for runs in cases {
        if let Some(last) = points(runs).last() {
            row(&mut text, runs, last);
        }
    }
    text
}

fn header(spent: &str) -> String {
    let values: Vec<String> = SCORED
        .iter()
        .map(|name| format!("{name},{name}_half_interval"))
        .collect();
    format!("label,workers,period,seeds,{spent},{}\n", values.join(","))
}

fn row(text: &mut String, runs: &CaseRuns, point: &(Point, [Estimate; 3])) {
    let (mean, values) = point;
    let values: Vec<f64> = values.iter().flat_map(|v| [v.mean, v.half]).collect();
    let seeds = runs.curves.len();
    let _ = write!(text, "{},{seeds},{}", case(&runs.case), spent(mean));
    let _ = writeln!(text, ",{}", cells(&values));
}

/// What it takes to reach each target: the first evaluation that is as good, mean over seeds; empty
/// if a run never reached it.
fn reached(targets: &[f64], better: Option<Better>, cases: &[CaseRuns]) -> String {
    let mut text = String::from("label,workers,period,seeds,target,of,samples,bytes,seconds\n");
    for runs in cases {
        for target in targets {
            for (which, name) in SCORED.iter().enumerate() {
                let reaches = |point: &&Point| {
                    better.is_some_and(|better| better.reaches(point.values[which], *target))
                };
                let first = |curve: &Curve| curve.points.iter().find(reaches).copied();
                let all: Option<Vec<Point>> = runs.curves.iter().map(first).collect();
                let spent = all.map(|all| {
                    let spent: [fn(&Point) -> f64; 3] = [|p| p.samples, |p| p.bytes, |p| p.seconds];
                    spent.map(|of| mean(&all.iter().map(of).collect::<Vec<_>>()))
                });
                let seeds = runs.curves.len();
                let _ = write!(text, "{},{seeds},{target},{name},", case(&runs.case));
                let _ = writeln!(text, "{}", cells(&spent.unwrap_or([f64::NAN; 3])));
            }
        }
    }
    text
}

/// Leaders: elections with a leader, the share of the most frequent leader, how often the leader
/// changed and the longest term, means over seeds.
fn leaders(cases: &[CaseRuns]) -> String {
    let mut text = String::from(
        "label,workers,period,seeds,elections,workers_that_led,largest_share,changes,longest_term\n",
    );
    for runs in cases {
        let of = |value: fn(&Leadership) -> f64| {
            mean(
                &runs
                    .curves
                    .iter()
                    .map(|c| value(&c.leadership))
                    .collect::<Vec<_>>(),
            )
        };
        let elections = |leadership: &Leadership| leadership.elections() as f64;
        if of(elections) == 0.0 {
            continue;
        }
        let most = |leadership: &Leadership| {
            let most = leadership
                .counts()
                .values()
                .map(|term_counts| term_counts.elections)
                .max();
            most.unwrap_or(0) as f64 / leadership.elections().max(1) as f64
        };
        let values = [
            of(elections),
            of(|leadership| leadership.counts().len() as f64),
            of(most),
            of(|leadership| leadership.changes() as f64),
            of(|leadership| leadership.longest() as f64),
        ];
        let seeds = runs.curves.len();
        let _ = writeln!(text, "{},{seeds},{}", case(&runs.case), cells(&values));
    }
    text
}

/// How often each worker of each run led its node, and for how long.
fn term_counts(results: &Results) -> String {
    let mut text =
        String::from("label,workers,period,seed,node,worker,elections,share,terms,longest_term\n");
    for (of, curve) in results.runs() {
        let all = curve.leadership.elections() as f64;
        for (id, term_counts) in curve.leadership.counts() {
            let WorkerId { node, worker } = id;
            let values = [
                term_counts.elections as f64,
                term_counts.elections as f64 / all,
                term_counts.terms as f64,
                term_counts.longest as f64,
            ];
            let (case, seed) = (case(of), curve.seed);
            let _ = writeln!(text, "{case},{seed},{node},{worker},{}", cells(&values));
        }
    }
    text
}

fn case(case: &Case) -> String {
    let Case {
        label,
        workers,
        period,
        ..
    } = case;
    format!("{label},{workers},{period}")
}

fn spent(point: &Point) -> String {
    cells(&[point.step, point.samples, point.bytes, point.seconds])
}

/// Numbers as CSV; missing values are empty.
fn cells(values: &[f64]) -> String {
    values
        .iter()
        .map(|value| cell(*value))
        .collect::<Vec<_>>()
        .join(",")
}

/// A number to four decimals; to five digits if it is smaller than one.
fn cell(value: f64) -> String {
    if value.is_nan() {
        return String::new();
    }
    let small = value != 0.0 && value.abs() < 1.0;
    let zeros = if small {
        -value.abs().log10().floor()
    } else {
        0.0
    };
    let decimals = 4 + zeros as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_keep_their_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (12.0, "12"),
            (640.0, "640"),
            (37.123456, "37.1235"),
            (-37.123456, "-37.1235"),
            (0.123456, "0.12346"),
            (1.234567e-6, "0.0000012346"),
            (1e-6, "0.000001"),
            (1e12, "1000000000000"),
            (f64::NAN, ""),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(cell(value), expected, "{value}");
        }
    }
}
