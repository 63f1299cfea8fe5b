//! One report of all runs: tables as CSV, and curves.

use std::fmt::Write;
use std::path::PathBuf;

use lsgd_core::Rank;

use super::curves::{Curve, Point};
use super::estimate::{Estimate, mean};
use super::group::{ERRORS, Group, points};
use super::leading::Leading;
use super::plan::{Case, Entry, Plan};
use super::{folder, picture, reigns};
use crate::error::TrainError;
use crate::output::Output;

/// Writes the report of all runs, and returns its folder.
///
/// # Errors
///
/// [`TrainError`] for a run that cannot be read, or a file that cannot be written.
pub fn write(plan: &Plan, entries: &[Entry]) -> Result<PathBuf, TrainError> {
    let mut groups: Vec<Group> = Vec::new();
    for entry in entries {
        let curve = Curve::read(&folder(entry))?;
        match groups.iter_mut().find(|group| group.case == entry.case) {
            Some(group) => group.curves.push(curve),
            None => groups.push(Group {
                case: entry.case.clone(),
                curves: vec![curve],
            }),
        }
    }
    let path = plan.path();
    // Made anew whenever the bench is.
    let file =
        |name: &str, text: String| Output::new(&path.join(name), true)?.write(text.as_bytes());
    file("runs.csv", runs(entries, &groups))?;
    file("curves.csv", curves(&groups))?;
    file("final.csv", finals(&groups))?;
    file("errors.csv", reached(plan, &groups))?;
    file("leaders.csv", leaders(&groups))?;
    file("led.csv", led(entries, &groups))?;
    if let Some(picture) = reigns::draw(plan, &groups)? {
        file("leaders.svg", picture)?;
    }
    for (which, name) in ERRORS.iter().enumerate() {
        let mut points = groups
            .iter()
            .flat_map(|group| &group.curves)
            .flat_map(|c| &c.points);
        if points.any(|point| point.errors[which].is_finite()) {
            file(&format!("{name}.svg"), picture::draw(plan, &groups, which)?)?;
        }
    }
    Ok(path)
}

/// The last evaluation of every run.
fn runs(entries: &[Entry], groups: &[Group]) -> String {
    let mut text = String::from(
        "label,workers,period,seed,step,samples,bytes,seconds,leader,replica_mean,worker_mean,end\n",
    );
    let curves = groups.iter().flat_map(|group| &group.curves);
    for (entry, curve) in entries.iter().zip(curves) {
        let Some(last) = curve.points.last() else {
            continue;
        };
        let _ = write!(text, "{},{},", case(&entry.case), entry.seed);
        let _ = write!(text, "{}", spent(last));
        let _ = writeln!(text, ",{},{}", cells(&last.errors), curve.end);
    }
    text
}

/// Every evaluation, mean and interval over seeds.
fn curves(groups: &[Group]) -> String {
    let mut text = header("step,samples,bytes,seconds");
    for group in groups {
        for point in points(group) {
            row(&mut text, group, &point);
        }
    }
    text
}

/// The last evaluation, mean and interval over seeds.
fn finals(groups: &[Group]) -> String {
    let mut text = header("step,samples,bytes,seconds");
    for group in groups {
        if let Some(last) = points(group).last() {
            row(&mut text, group, last);
        }
    }
    text
}

fn header(spent: &str) -> String {
    let errors: Vec<String> = ERRORS
        .iter()
        .map(|name| format!("{name},{name}_half_interval"))
        .collect();
    format!("label,workers,period,seeds,{spent},{}\n", errors.join(","))
}

fn row(text: &mut String, group: &Group, point: &(Point, [Estimate; 3])) {
    let (mean, errors) = point;
    let errors: Vec<f64> = errors.iter().flat_map(|e| [e.mean, e.half]).collect();
    let seeds = group.curves.len();
    let _ = write!(text, "{},{seeds},{}", case(&group.case), spent(mean));
    let _ = writeln!(text, ",{}", cells(&errors));
}

/// What it takes to come to each error asked for: the first evaluation at or below it, mean over
/// seeds; nothing if a run never came to it.
fn reached(plan: &Plan, groups: &[Group]) -> String {
    let mut text = String::from("label,workers,period,seeds,error,of,samples,bytes,seconds\n");
    for group in groups {
        for error in &plan.errors {
            for (which, name) in ERRORS.iter().enumerate() {
                let first = |curve: &Curve| {
                    let mut points = curve.points.iter();
                    points.find(|point| point.errors[which] <= *error).copied()
                };
                let all: Option<Vec<Point>> = group.curves.iter().map(first).collect();
                let spent = all.map(|all| {
                    let spent: [fn(&Point) -> f64; 3] = [|p| p.samples, |p| p.bytes, |p| p.seconds];
                    spent.map(|of| mean(&all.iter().map(of).collect::<Vec<_>>()))
                });
                let seeds = group.curves.len();
                let _ = write!(text, "{},{seeds},{error},{name},", case(&group.case));
                let _ = writeln!(text, "{}", cells(&spent.unwrap_or([f64::NAN; 3])));
            }
        }
    }
    text
}

/// Who led: elections with a leader, the share of the one that led most, how often the leader changed
/// and the longest reign, means over seeds.
fn leaders(groups: &[Group]) -> String {
    let mut text = String::from(
        "label,workers,period,seeds,elections,workers_that_led,largest_share,changes,longest_reign\n",
    );
    for group in groups {
        let of = |value: fn(&Leading) -> f64| {
            mean(
                &group
                    .curves
                    .iter()
                    .map(|c| value(&c.leading))
                    .collect::<Vec<_>>(),
            )
        };
        let elections = |leading: &Leading| leading.elections() as f64;
        if of(elections) == 0.0 {
            continue;
        }
        let most = |leading: &Leading| {
            let most = leading.led().values().map(|led| led.elections).max();
            most.unwrap_or(0) as f64 / leading.elections().max(1) as f64
        };
        let values = [
            of(elections),
            of(|leading| leading.led().len() as f64),
            of(most),
            of(|leading| leading.changes() as f64),
            of(|leading| leading.longest() as f64),
        ];
        let seeds = group.curves.len();
        let _ = writeln!(text, "{},{seeds},{}", case(&group.case), cells(&values));
    }
    text
}

/// How often each worker of each run led its node, and how long.
fn led(entries: &[Entry], groups: &[Group]) -> String {
    let mut text = String::from(
        "label,workers,period,seed,node,worker,elections,share,reigns,longest_reign\n",
    );
    let curves = groups.iter().flat_map(|group| &group.curves);
    for (entry, curve) in entries.iter().zip(curves) {
        let all = curve.leading.elections() as f64;
        for (rank, led) in curve.leading.led() {
            let Rank { node, worker } = rank;
            let values = [
                led.elections as f64,
                led.elections as f64 / all,
                led.reigns as f64,
                led.longest as f64,
            ];
            let (case, seed) = (case(&entry.case), entry.seed);
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

/// Numbers as CSV; what is not there is empty.
fn cells(values: &[f64]) -> String {
    let cell = |value: &f64| match value.is_nan() {
        true => String::new(),
        false => format!("{}", (value * 1e4).round() / 1e4),
    };
    values.iter().map(cell).collect::<Vec<_>>().join(",")
}
