//! Files that are written with a digest, by which a reader knows them again.

use std::collections::BTreeMap;
use std::path::Path;

use super::disk::{replace_file, write_file};
use crate::error::RunError;

/// The digest of a file's content.
pub(super) fn digest_of(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

/// The files of a folder that is being written.
pub(super) struct DigestedFiles<'a> {
    pub folder: &'a Path,
    pub digests: &'a mut BTreeMap<String, String>,
}

impl DigestedFiles<'_> {
    /// Writes a new file, and notes its digest.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn write(&mut self, path: &Path, content: &[u8]) -> Result<(), RunError> {
        write_file(path, content)?;
        self.note(path, content);
        Ok(())
    }

    /// The same for a file that may be there already.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`]; the file is then unchanged.
    pub fn replace(&mut self, path: &Path, content: &[u8]) -> Result<(), RunError> {
        replace_file(path, content)?;
        self.note(path, content);
        Ok(())
    }

    fn note(&mut self, path: &Path, content: &[u8]) {
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            self.digests.insert(name.to_owned(), digest_of(content));
        }
    }
}
