//! What a run says about a full disk, or too few open files: once, until there is room again.

/// Whether something cannot be written for now, as far as the run has noticed.
#[derive(Debug, Default)]
pub struct Shortage {
    /// Lines wait for room.
    lines: bool,
    /// The last checkpoint found none, or no open file.
    checkpoint: bool,
    /// The user knows.
    is_told: bool,
}

impl Shortage {
    /// Whether lines wait. Returns true if the user is to be told.
    #[must_use]
    pub fn lines_wait(&mut self, wait: bool) -> bool {
        self.lines = wait;
        self.tells()
    }

    /// Whether a checkpoint found no room. Returns true if the user is to be told.
    #[must_use]
    pub fn checkpoint_failed(&mut self, failed: bool) -> bool {
        self.checkpoint = failed;
        self.tells()
    }

    fn tells(&mut self) -> bool {
        let is_short = self.lines || self.checkpoint;
        let was_told = std::mem::replace(&mut self.is_told, is_short);
        is_short && !was_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_once_until_there_is_room() {
        let mut shortage = Shortage::default();
        assert!(!shortage.lines_wait(false));
        assert!(shortage.lines_wait(true));
        assert!(!shortage.lines_wait(true));
        assert!(!shortage.checkpoint_failed(true));
        // There is room for a line, but not for a checkpoint.
        assert!(!shortage.lines_wait(false));
        assert!(!shortage.lines_wait(true));
        assert!(!shortage.lines_wait(false));
        assert!(!shortage.checkpoint_failed(false));
        assert!(shortage.checkpoint_failed(true));
    }
}
