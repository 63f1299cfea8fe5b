//! The newest checkpoint of a run, for readers that only look: nothing is locked or put in order.

use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;

use super::files::read_json;
use super::records::Evaluation;
use super::steps::readable;
use crate::error::RunError;

/// What the `state.json` of a run's newest checkpoint says.
#[derive(Debug, Clone, Deserialize)]
pub struct NewestCheckpoint {
    /// Whether it is what an error has left.
    #[serde(default)]
    pub broken_off: bool,
    /// The evaluation at its step, if there was one.
    #[serde(default)]
    pub evaluation: Option<Evaluation>,
}

impl NewestCheckpoint {
    /// That of the run in `folder`; `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Damaged`].
    pub fn of(folder: &Path) -> Result<Option<Self>, RunError> {
        let read = || {
            let checkpoints = readable(&folder.join("checkpoints"))?;
            let newest = checkpoints.last_key_value();
            newest
                .map(|(_, path)| read_json(&path.join("state.json")))
                .transpose()
        };
        match read() {
            // A running process may have removed it meanwhile, or they are on a disk that is not there.
            Err(RunError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            newest => newest,
        }
    }
}
