//! The answers of workers to the main thread's requests.

use super::checkpoint_writer::CheckpointWriter;
use super::inbox::Inbox;
use super::journal::Journal;
use super::messages::{FromCluster, FromWorker, ToMain};
use crate::error::RunError;

/// The answers of workers to requests. Events that arrive in the meantime, and checkpoints that are
/// written, are recorded at once, however long the answers take.
pub(super) struct Answers<'a> {
    pub inbox: &'a mut Inbox,
    pub journal: &'a mut Journal,
    pub writer: &'a mut CheckpointWriter,
    /// Training time of the run, which stands still until the workers resume.
    pub seconds: f64,
}

impl Answers<'_> {
    /// The next answer. Requests of other nodes are kept for [`Inbox::next`].
    ///
    /// # Errors
    ///
    /// [`RunError`] of a worker that has failed, or of a record that cannot be written.
    pub fn next(&mut self) -> Result<FromWorker, RunError> {
        loop {
            match self.inbox.receive()? {
                ToMain::Worker(FromWorker::Event(event, seconds)) => {
                    self.journal.event(&event, seconds)?;
                }
                ToMain::Cluster(FromCluster::Event(event)) => {
                    self.journal.event(&event, self.seconds)?;
                }
                ToMain::Cluster(FromCluster::Notice(line)) => self.journal.observer.notice(&line),
                ToMain::Cluster(FromCluster::Traffic(traffic)) => {
                    self.journal.traffic(&traffic, self.seconds)?;
                }
                ToMain::Saved => self.writer.record(self.journal)?,
                ToMain::Worker(answer) => return Ok(answer),
                ToMain::Cluster(wanted) => self.inbox.defer([wanted]),
            }
        }
    }
}
