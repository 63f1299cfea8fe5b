//! What a node hears of the `launch` that started it: its standard input is a pipe from there, which
//! ends with the launcher, however that ends.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread::Builder;

use crate::train::Requests;

/// Set in the environment of a node that `launch` starts.
pub(crate) const LAUNCHED: &str = "LSGD_TRAIN_LAUNCHED";
/// What the launcher writes when another node has ended before its time.
pub(crate) const IN_VAIN: u8 = b'v';

/// In a node that `launch` has started: asks for the run's end once the launcher is gone, and tells
/// `requests` what the launcher says.
///
/// # Errors
///
/// If the machine gives no thread to listen with.
pub fn heed(requests: Arc<Requests>) -> io::Result<()> {
    if std::env::var_os(LAUNCHED).is_none() {
        return Ok(());
    }
    let listen = move || {
        let mut byte = [0];
        loop {
            match io::stdin().read(&mut byte) {
                Ok(1..) if byte == [IN_VAIN] => requests.not_to_wait(),
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        // If nobody reads it, the run's folder has the record.
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
