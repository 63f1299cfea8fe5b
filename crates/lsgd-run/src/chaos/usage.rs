//! Memory, open files and processor time of processes, as Linux tells them.

use std::fmt::Write;
use std::fs;

use serde::{Deserialize, Serialize};

/// Units of processor time in `/proc` a second: `USER_HZ`, which is 100 on every machine that Linux
/// runs on today.
const TICKS: f64 = 100.0;
/// The columns of the file with all samples.
const COLUMNS: &str = "seconds,node,process,resident_kib,open_files,cpu_seconds";

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Memory in RAM, in KiB.
    pub resident_kib: u64,
    /// Number of open files.
    pub open_files: u64,
    /// Processor time so far, in seconds.
    pub cpu_seconds: f64,
}

/// A line of the file with all samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Seconds since the launch began.
    pub at: f64,
    /// The node, from 1; 0 is chaos itself, with its proxies.
    pub node: u32,
    /// The process.
    pub process: u32,
    /// What it uses.
    pub usage: Usage,
}

/// What process `process` uses; `None` if it is gone, or the system does not tell.
pub fn usage(process: u32) -> Option<Usage> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).ok();
    let status = read("status")?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?;
    let open_files = fs::read_dir(format!("/proc/{process}/fd")).ok()?.count() as u64;
    Some(Usage {
        resident_kib: resident.trim().parse().ok()?,
        open_files,
        cpu_seconds: cpu_seconds(&read("stat")?)?,
    })
}

/// Processor time in a `/proc/PID/stat`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name, in brackets, may have spaces and brackets in it; 11 fields follow before the times in
    // user and in kernel mode.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

/// The text of a file with samples.
pub fn to_csv(samples: &[Sample]) -> String {
    let mut text = format!("{COLUMNS}\n");
    for sample in samples {
        let Sample {
            at,
            node,
            process,
            usage,
        } = sample;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{at:.3},{node},{process},{},{},{:.2}",
            usage.resident_kib, usage.open_files, usage.cpu_seconds
        );
    }
    text
}

/// Reads what [`to_csv`] has written. Returns the number of the first line that is none, if any.
pub fn from_csv(text: &str) -> Result<Vec<Sample>, usize> {
    let mut lines = (1..).zip(text.lines());
    match lines.next() {
        Some((_, COLUMNS)) => {}
        _ => return Err(1),
    }
    lines
        .map(|(number, line)| sample(line).ok_or(number))
        .collect()
}

fn sample(line: &str) -> Option<Sample> {
    let mut fields = line.split(',');
    let mut next = || fields.next();
    let sample = Sample {
        at: next()?.parse().ok()?,
        node: next()?.parse().ok()?,
        process: next()?.parse().ok()?,
        usage: Usage {
            resident_kib: next()?.parse().ok()?,
            open_files: next()?.parse().ok()?,
            cpu_seconds: next()?.parse().ok()?,
        },
    };
    next().is_none().then_some(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_as_they_are_written() {
        let sample = |at, node| Sample {
            at,
            node,
            process: 17,
            usage: Usage {
                resident_kib: 1024,
                open_files: 30,
                cpu_seconds: 1.25,
            },
        };
        let samples = [sample(0.5, 0), sample(1.125, 2)];
        assert_eq!(from_csv(&to_csv(&samples)), Ok(samples.into()));
        assert_eq!(from_csv(""), Err(1));
        assert_eq!(from_csv(&format!("{COLUMNS}\n1,2,3\n")), Err(2));
    }

    #[test]
    fn processor_time_stands_behind_the_name() {
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 7 8";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("12 (a"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_something() {
        let own = usage(std::process::id()).unwrap();
        assert!(own.resident_kib > 100 && own.open_files > 2, "{own:?}");
        assert_eq!(usage(0), None);
    }
}
