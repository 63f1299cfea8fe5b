//! Tells the program which commit it is built from, for `run.json`. Outside a checkout it is not
//! told.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let (Some(commit), Some(log)) = (
        git(&["rev-parse", "HEAD"]),
        // Grows with every commit and checkout.
        git(&["rev-parse", "--git-path", "logs/HEAD"]),
    ) else {
        return;
    };
    println!("cargo:rerun-if-changed={log}");
    println!("cargo:rustc-env=LSGD_COMMIT={commit}");
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
