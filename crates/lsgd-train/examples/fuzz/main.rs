//! Fuzzes everything that decodes what comes from a network or a file: no input may panic, hang, or use more
//! memory than its decoder is allowed.
//!
//!     cargo run --release -p lsgd-train --example fuzz -- --inputs 2500 --csv scripts/results/fuzz.csv
//!     cargo run --release -p lsgd-train --example fuzz -- --decoder status --seed 7
//!
//! Inputs are valid ones changed at random, with their structure or without, and random bytes. Each is a
//! function of the decoder, the seed and its number, which a failure names; `--from NUMBER --inputs 1`
//! repeats it, and `--save FILE` writes it. `cargo test` gives every decoder a few.

mod changes;
mod decoders;
mod harness;
mod memory;
mod toy;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Parser;

use harness::{Current, Decoder, Harness, Tally};
use memory::Counting;

#[global_allocator]
static MEMORY: Counting = Counting::new();

/// Fuzzes the decoders.
#[derive(Debug, Parser)]
struct Arguments {
    /// Inputs of the slowest decoders, which are whole runs; the others get 10 to 1000 times as many
    #[arg(long, default_value_t = 100)]
    inputs: u64,

    /// Only decoders whose names begin with this
    #[arg(long, default_value = "")]
    decoder: String,

    /// The inputs are those of this seed
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Number of the first input, of as many as `--inputs` says
    #[arg(long)]
    from: Option<u64>,

    /// Longest that an input may take, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,

    /// Write the table to this file too
    #[arg(long)]
    csv: Option<PathBuf>,

    /// Write the first input to this file instead of decoding it
    #[arg(long)]
    save: Option<PathBuf>,

    /// Say the number of each input before it is decoded, for one that ends the process
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let decoders = decoders::all(folder.path(), &arguments.decoder);
    let mut harness = Harness::new(&MEMORY, arguments.seed);
    harness.traces = arguments.trace;
    if let (Some(file), Some(decoder)) = (&arguments.save, decoders.first()) {
        let input = harness.input(decoder, arguments.from.unwrap_or(0));
        std::fs::write(file, input).expect("the file can be written");
        return ExitCode::SUCCESS;
    }
    let (current, limit) = (harness.current(), Duration::from_secs(arguments.seconds));
    thread::spawn(move || watch(&current, limit));
    let mut table =
        String::from("decoder,inputs,accepted,refused,peak_bytes,allowed_bytes,slowest_ms\n");
    let mut failed = false;
    print!("{table}");
    for mut decoder in decoders {
        let numbers = match arguments.from {
            None => 0..arguments.inputs * decoder.share,
            Some(from) => from..from + arguments.inputs,
        };
        let tally = harness.run(&mut decoder, numbers);
        let line = line(&decoder, &tally);
        print!("{line}");
        table.push_str(&line);
        for (number, why) in &tally.failures {
            failed = true;
            eprintln!(
                "{} --seed {} --from {number}: {why}",
                decoder.name, arguments.seed
            );
        }
    }
    if let Some(file) = &arguments.csv {
        std::fs::write(file, table).expect("the table can be written");
    }
    match failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// A line of the table.
fn line(decoder: &Decoder, tally: &Tally) -> String {
    let mut line = String::new();
    let (accepted, refused) = (tally.accepted, tally.refused);
    let inputs = accepted + refused + tally.failures.len() as u64;
    let (peak, bound) = (tally.memory, tally.bound);
    let slowest = tally.slowest.as_secs_f64() * 1e3;
    let name = decoder.name;
    let _ = writeln!(
        line,
        "{name},{inputs},{accepted},{refused},{peak},{bound},{slowest:.1}"
    );
    line
}

/// Ends the process when an input takes longer than `limit`.
fn watch(current: &Mutex<Option<Current>>, limit: Duration) {
    loop {
        thread::sleep(limit / 20);
        let current = *current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Current {
            decoder,
            number,
            began,
        }) = current
            && began.elapsed() > limit
        {
            eprintln!("{decoder} --from {number}: has taken more than {limit:?}");
            std::process::exit(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    /// The only test here: memory and panics are counted for the whole process.
    #[test]
    fn every_decoder_withstands_what_it_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let decoders = decoders::all(folder.path(), "");
        let harness = Harness::new(&MEMORY, 1);
        let mut failures = Vec::new();
        for mut decoder in decoders {
            let (name, count) = (decoder.name, 2 * decoder.share);
            let tally = harness.run(&mut decoder, 0..count);
            failures.extend(
                tally
                    .failures
                    .iter()
                    .map(|(number, why)| format!("{name} {number}: {why}")),
            );
        }
        // The harness itself: a decoder that does all that is forbidden is caught at it.
        let mut wrong = Decoder {
            name: "wrong",
            form: changes::Form::Bytes,
            valid: vec![vec![0]],
            bound: harness::Bound {
                fixed: 1 << 10,
                per_byte: 0,
            },
            share: 1,
            read: Box::new(|bytes| match bytes.len() % 2 {
                0 => black_box(vec![1_u8; 1 << 20]).is_empty(),
                _ => bytes
                    .first()
                    .is_some_and(|first| *first == 0 || panic!("odd")),
            }),
        };
        let tally = harness.run(&mut wrong, 0..100);
        let caught = |part: &str| tally.failures.iter().any(|(_, why)| why.contains(part));
        let is_caught = caught("odd") && caught("bytes in use at once");
        drop(std::panic::take_hook());
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        assert!(is_caught, "{:?}", tally.failures);
    }
}
