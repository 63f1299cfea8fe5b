//! How many connections a node lets in, so that strangers cannot take the open files that the run's
//! own checkpoints and data need.

use super::error::LinkError;

/// Open files that are the program's own: those of its network threads, the run's records, and
/// checkpoints and examples while they are written and read.
const OWN: u64 = 64;
/// Connections that have not said yet who they are, at least.
const LEAST_PENDING: u64 = 8;
/// Connections beyond those of the other nodes, at most: a node that comes back before its old
/// connection is given up, two that connect to each other at once, strangers.
const MOST_SPARE: u64 = 256;

/// How many connections of each kind there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Connections that have shaken hands.
    pub sessions: u64,
    /// Those that have not yet. One too many is closed at once; a node tries again.
    pub pending: u64,
}

impl Room {
    /// What a process that may have `limit` files open has room for, in a run of `nodes`.
    ///
    /// # Errors
    ///
    /// [`LinkError::OpenFiles`] where that is too few for the nodes alone.
    pub fn of(nodes: u32, limit: Option<u64>) -> Result<Self, LinkError> {
        let others = u64::from(nodes.saturating_sub(1));
        let needed = OWN + others + LEAST_PENDING;
        let limit = limit.unwrap_or(u64::MAX);
        if limit < needed {
            return Err(LinkError::OpenFiles {
                nodes,
                needed,
                limit,
            });
        }
        // Half of what is left for each.
        let spare = ((limit - needed) / 2).min(others + MOST_SPARE);
        Ok(Self {
            sessions: others + spare,
            pending: LEAST_PENDING + spare,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_connections_together_leave_the_programs_own_files_alone() {
        for nodes in [2, 3, 512, 4096] {
            for limit in [73, 100, 1024, 4168, 1 << 20] {
                match Room::of(nodes, Some(limit)) {
                    Ok(room) => {
                        assert!(room.sessions + room.pending + OWN <= limit);
                        assert!(room.sessions >= u64::from(nodes) - 1);
                        assert!(room.pending >= LEAST_PENDING);
                    }
                    Err(_) => assert!(limit < u64::from(nodes) + OWN + LEAST_PENDING),
                }
            }
        }
    }

    #[test]
    fn too_few_files_are_named_with_what_is_needed() {
        let error = Room::of(2, Some(24)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 nodes need 73 open files, and the limit is 24: raise it, as with ulimit -n 73"
        );
        assert!(Room::of(2, Some(73)).is_ok());
        assert!(Room::of(2, None).is_ok());
    }
}
