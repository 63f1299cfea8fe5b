//! Limits on incoming connections, so that strangers cannot exhaust the open files that the run's
//! own checkpoints and data need.

use crate::error::LinkError;

/// Open files reserved for the program itself: those of its network threads, the run's records, and
/// checkpoints and examples while they are written and read.
const OWN: u64 = 64;
/// Least number of connections that have not identified themselves yet.
const MIN_PENDING: u64 = 8;
/// Most connections beyond those of the other nodes: a node that rejoins before its old connection
/// is dropped, two nodes that connect to each other at once, strangers.
const MAX_SPARE: u64 = 256;

/// The limits for each kind of connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// Connections that have completed the handshake.
    pub sessions: u64,
    /// Connections that have not. One too many is closed at once; a node tries again.
    pub pending: u64,
}

impl ConnectionLimits {
    /// The limits of a process that may have `limit` files open, in a run of `nodes`.
    ///
    /// # Errors
    ///
    /// [`LinkError::OpenFiles`] if `limit` is too low for the nodes alone.
    pub fn of(nodes: u32, limit: Option<u64>) -> Result<Self, LinkError> {
        let others = u64::from(nodes.saturating_sub(1));
        let needed = OWN + others + MIN_PENDING;
        let limit = limit.unwrap_or(u64::MAX);
        if limit < needed {
            return Err(LinkError::OpenFiles {
                nodes,
                needed,
                limit,
            });
        }
        // Half of the rest for each.
        let spare = ((limit - needed) / 2).min(others + MAX_SPARE);
        Ok(Self {
            sessions: others + spare,
            pending: MIN_PENDING + spare,
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
                match ConnectionLimits::of(nodes, Some(limit)) {
                    Ok(connection_limits) => {
                        assert!(
                            connection_limits.sessions + connection_limits.pending + OWN <= limit
                        );
                        assert!(connection_limits.sessions >= u64::from(nodes) - 1);
                        assert!(connection_limits.pending >= MIN_PENDING);
                    }
                    Err(_) => assert!(limit < u64::from(nodes) + OWN + MIN_PENDING),
                }
            }
        }
    }

    #[test]
    fn too_few_files_are_named_with_what_is_needed() {
        let error = ConnectionLimits::of(2, Some(24)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 nodes need 73 open files, and the limit is 24: raise it, as with ulimit -n 73"
        );
        assert!(ConnectionLimits::of(2, Some(73)).is_ok());
        assert!(ConnectionLimits::of(2, None).is_ok());
    }
}
