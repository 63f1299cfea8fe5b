//! A node's connection to the `launch` that started it: its standard input is a pipe, which is
//! closed when the launcher ends, for whatever reason.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread::Builder;

use crate::train::Requests;

/// Set in the environment of a node that `launch` starts.
pub(crate) const LAUNCHED: &str = "LSGD_TRAIN_LAUNCHED";
/// The byte that the launcher writes when another node has ended early.
pub(crate) const STOP_WAITING: u8 = b'v';

/// In a node that `launch` has started: requests the run's end once the launcher is gone, and
/// passes on to `requests` what the launcher writes.
///
/// # Errors
///
/// If the system starts no thread to listen with.
pub fn heed(requests: Arc<Requests>) -> io::Result<()> {
    if std::env::var_os(LAUNCHED).is_none() {
        return Ok(());
    }
    let listen = move || {
        let mut byte = [0];
        loop {
            match io::stdin().read(&mut byte) {
                Ok(1..) if byte == [STOP_WAITING] => requests.stop_waiting(),
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        // If the output cannot be written, the run's folder has the record.
        let _ = writeln!(
            io::stderr(),
            "the launch that started this node is gone; stopping after this step"
        );
        requests.end();
    };
    Builder::new()
        .name(String::from("launcher"))
        .spawn(listen)
        .map(drop)
}
