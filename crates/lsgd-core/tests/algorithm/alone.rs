//! A test in a process of its own.

use std::env;
use std::process::Command;

/// Set in that process.
const ALONE: &str = "LSGD_TEST_ALONE";

/// Runs the test `name`, which calls this, in a process of its own. There it is true, and the test goes on;
/// here it is false once the other has passed.
///
/// For tests that count events of `tracing`: whether an event is of interest is decided once for all
/// threads, when the first of them comes to it. If that is the thread of another test, which has no
/// subscriber, just while this one's is being set, the event is lost to all.
#[track_caller]
pub fn alone(name: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let program = env::current_exe().expect("this process has one");
    let ran = Command::new(program)
        .args(["--exact", name, "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .expect("it can be started once more");
    let said = String::from_utf8_lossy(&ran.stdout);
    let passed = ran.status.success() && said.contains("1 passed");
    assert!(passed, "{said}{}", String::from_utf8_lossy(&ran.stderr));
    false
}
