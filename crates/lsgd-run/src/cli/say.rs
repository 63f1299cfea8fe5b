//! Lines for standard output.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use crate::error::RunError;

/// Writes a line to standard output. A closed reader, as with `| head -1`, is not an error; a full
/// disk is.
pub fn say(line: fmt::Arguments) -> Result<(), RunError> {
    match writeln!(io::stdout(), "{line}") {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => {
            let path = PathBuf::from("standard output");
            Err(RunError::Write { path, source })
        }
        _ => Ok(()),
    }
}
