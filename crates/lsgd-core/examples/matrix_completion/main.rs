//! Low-rank matrix completion by twelve workers: LGD against EAGD, as in arXiv 1905.10395.
//!
//!     cargo run --release -p lsgd-core --example matrix_completion [FOLDER]
//!
//! Writes `matrix-completion.svg` and `matrix-completion.csv` to FOLDER, by default
//! `docs/experiments`, and prints the result of each method. Takes about two minutes on one core;
//! the seed is fixed, so the output is the same every time.

mod completion;
mod methods;
mod picture;
mod summary;

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use completion::{Completion, normal};
use methods::{ITERATIONS, Method, Moment, WORKERS, run};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use summary::{Curve, write_csv};

/// Of the repository, from wherever the example is started.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/experiments");
const SEED: u64 = 0;
const ROWS: usize = 1000;
const RANKS: [usize; 4] = [1, 10, 50, 100];
const INSTANCES: usize = 10;
const RATE: f64 = 5e-4;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).unwrap_or(FOLDER.into());
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder)?;
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut curves = Vec::new();
    for rank in RANKS {
        let shape = (ROWS, rank);
        let mut runs: [Vec<Vec<Moment>>; 3] = Default::default();
        let mut rounding = 0.0_f64;
        for _ in 0..INSTANCES {
            let problem = Completion::new(normal(shape, &mut random));
            rounding = rounding.max(problem.rounding());
            let starts: Vec<_> = (0..WORKERS).map(|_| normal(shape, &mut random)).collect();
            for (method, runs) in Method::ALL.into_iter().zip(&mut runs) {
                runs.push(run(method, &problem, &starts, RATE));
            }
        }
        println!("rank {rank}, {ITERATIONS} iterations: F is rounded to about {rounding:.0e}");
        for (method, runs) in Method::ALL.into_iter().zip(runs) {
            let curve = Curve::of(rank, method, &runs);
            print_end(&curve);
            curves.push(curve);
        }
    }
    write_csv(&curves, &folder.join("matrix-completion.csv"))?;
    picture::draw(&curves, &folder.join("matrix-completion.svg"))
}

fn print_end(curve: &Curve) {
    if let Some(end) = curve.points.last() {
        let method = curve.method.name();
        let best = &end.best;
        println!(
            "  {method:4}  F of the best worker {:.2e} ({:.2e} to {:.2e}), of all {:.2e}",
            best.median, best.lowest, best.highest, end.mean.median
        );
    }
}
