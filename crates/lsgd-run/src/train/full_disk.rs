//! What a run says about a full disk: once, until there is room again.

/// Whether the disk is full, as far as the run has noticed.
#[derive(Debug, Default)]
pub struct FullDisk {
    /// Lines wait for room.
    lines: bool,
    /// The last checkpoint found none.
    checkpoint: bool,
    /// The user knows.
    is_told: bool,
}

impl FullDisk {
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
        let is_full = self.lines || self.checkpoint;
        let was_told = std::mem::replace(&mut self.is_told, is_full);
        is_full && !was_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_once_until_there_is_room() {
        let mut disk = FullDisk::default();
        assert!(!disk.lines_wait(false));
        assert!(disk.lines_wait(true));
        assert!(!disk.lines_wait(true));
        assert!(!disk.checkpoint_failed(true));
        // There is room for a line, but not for a checkpoint.
        assert!(!disk.lines_wait(false));
        assert!(!disk.lines_wait(true));
        assert!(!disk.lines_wait(false));
        assert!(!disk.checkpoint_failed(false));
        assert!(disk.checkpoint_failed(true));
    }
}
