//! Along a layout while a visitor or mapper walks along a module.

use std::ops::Range;

use crate::layout::{Entry, Path};
use crate::{Layout, SnapshotError};

/// Which of the two vectors a tensor belongs to, and where.
pub(super) enum Place {
    Parameter(Range<usize>),
    Buffer(Range<usize>),
}

/// Where a visitor or mapper is in a layout.
pub(super) struct Walk<'a> {
    pub path: Path,
    parameters: Cursor<'a>,
    buffers: Cursor<'a>,
}

struct Cursor<'a> {
    entries: std::slice::Iter<'a, Entry>,
    offset: usize,
}

impl Cursor<'_> {
    fn take(&mut self, path: &str, shape: &[usize]) -> Option<Range<usize>> {
        let entry = self.entries.as_slice().first()?;
        if entry.path != path || entry.shape != shape {
            return None;
        }
        let range = self.offset..self.offset + entry.len();
        self.entries.next();
        self.offset = range.end;
        Some(range)
    }
}

impl<'a> Walk<'a> {
    pub fn new(layout: &'a Layout) -> Self {
        let cursor = |entries: &'a [Entry]| Cursor {
            entries: entries.iter(),
            offset: 0,
        };
        Self {
            path: Path::default(),
            parameters: cursor(layout.parameters()),
            buffers: cursor(layout.buffers()),
        }
    }

    /// Where the tensor at the current path belongs; `None` for a frozen parameter.
    pub fn place(&mut self, shape: &[usize]) -> Option<Place> {
        let path = self.path.joined();
        let parameter = self.parameters.take(&path, shape).map(Place::Parameter);
        parameter.or_else(|| self.buffers.take(&path, shape).map(Place::Buffer))
    }

    /// Where the parameter at the current path belongs; `None` for any other tensor.
    pub fn parameter(&mut self, shape: &[usize]) -> Option<Range<usize>> {
        match self.place(shape)? {
            Place::Parameter(range) => Some(range),
            Place::Buffer(_) => None,
        }
    }

    /// Whether every tensor of the layout was visited.
    pub fn complete(&self, layout: &Layout) -> Result<(), SnapshotError> {
        for (expected, found) in [
            (layout.parameter_len(), self.parameters.offset),
            (layout.buffer_len(), self.buffers.offset),
        ] {
            if expected != found {
                return Err(SnapshotError::Length { expected, found });
            }
        }
        Ok(())
    }
}
