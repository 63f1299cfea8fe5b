//! Four workers on a landscape of rings: LGD against EAGD, as arXiv 1905.10395 draws it.
//!
//!     cargo run --release -p lsgd-core --example landscape [FOLDER]
//!
//! Writes `landscape.svg`, `landscape-lgd.csv` and `landscape-eagd.csv` to FOLDER, by default
//! `docs/experiments`, and prints where each method ends. Nothing is random: the same numbers come
//! out every time.

#[path = "../simulated/memory.rs"]
mod memory;
mod methods;
mod picture;
mod surface;

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use methods::Trace;

/// Of the repository, from wherever the example is started.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/experiments");

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).unwrap_or(FOLDER.into());
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder)?;
    let traces = [methods::leader()?, methods::elastic()];
    for trace in &traces {
        let name = format!("landscape-{}.csv", trace.method.to_lowercase());
        write_csv(trace, &folder.join(name))?;
        print_end(trace);
    }
    picture::draw(&traces, &folder.join("landscape.svg"))
}

fn write_csv(trace: &Trace, path: &Path) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(fs::File::create(path)?);
    writeln!(file, "iteration,worker,x,y,f,leader")?;
    for (iteration, moment) in trace.moments.iter().enumerate() {
        for (worker, place) in moment.at.iter().enumerate() {
            let ([x, y], f) = (place, surface::value(*place));
            let leader = moment.leader;
            writeln!(file, "{iteration},{worker},{x:.6},{y:.6},{f:.6},{leader}")?;
        }
    }
    file.flush()
}

fn print_end(trace: &Trace) {
    let Some(end) = trace.moments.last() else {
        return;
    };
    println!("{} after {} iterations", trace.method, methods::ITERATIONS);
    for (worker, place) in end.at.iter().enumerate() {
        let [x, y] = place;
        let (r, f) = (x.hypot(*y), surface::value(*place));
        let ring = match surface::trough(*place) {
            Some(number) => {
                let bottom = surface::bottom(number);
                let lowest = surface::value([bottom, 0.0]);
                format!("in trough {number}, whose bottom is {lowest:.4} at r {bottom:.4}")
            }
            None => "on a crest".to_owned(),
        };
        println!("  worker {worker}  x {x:8.4}  y {y:8.4}  r {r:.4}  f {f:.4}  {ring}");
    }
}
