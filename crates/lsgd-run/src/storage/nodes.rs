//! The folders of a run of several nodes.

use std::fs;
use std::path::{Path, PathBuf};

use super::claim::node_name;
use crate::error::RunError;

/// The folders `node-J` in that of a run, with their numbers, from 1 and in order. What is in them is not
/// looked at.
///
/// # Errors
///
/// [`RunError::Read`].
pub fn node_folders(run: &Path) -> Result<Vec<(u32, PathBuf)>, RunError> {
    let mut nodes = Vec::new();
    for entry in fs::read_dir(run).map_err(RunError::read(run))? {
        let name = entry.map_err(RunError::read(run))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("node-"));
        if let Some(Ok(number)) = number.map(str::parse::<u32>)
            && *node_name(u64::from(number)) == *name
        {
            nodes.push((number, run.join(name)));
        }
    }
    nodes.sort();
    Ok(nodes)
}
