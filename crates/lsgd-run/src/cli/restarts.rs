//! Which nodes of a launch are started again after they died, and when.

use std::time::Duration;

use crate::exit::{EXIT_INTERRUPTED, EXIT_SUCCESS, EXIT_USAGE};

/// The delay before a node's first restart. It doubles with each further one, so that a node that
/// dies at once every time takes no time from the others.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A node that has run this long did not die of what it started with: the next delay is the first again.
const SOUND: Duration = Duration::from_secs(10);

/// What a node does whose process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Its process is started again.
    Restart {
        /// Which restart of the node this is, from 1.
        number: u32,
        /// Time until then.
        after: Duration,
    },
    /// It stays ended.
    Stay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// Between its end and its restart.
    Pending,
    Ended,
}

#[derive(Debug, Clone)]
struct Node {
    state: State,
    /// How often it was started again.
    restarts: u32,
    /// How often of these one soon after the other.
    in_a_row: u32,
}

/// The nodes of a launch, from 0, and the restarts they have left. Without I/O and without a clock.
#[derive(Debug, Clone)]
pub(super) struct Restarts {
    nodes: Vec<Node>,
    /// Most restarts of a node.
    most: u32,
    stopping: bool,
}

impl Restarts {
    /// `nodes` nodes that have been started, each with `most` restarts.
    pub fn new(nodes: usize, most: u32) -> Self {
        let node = Node {
            state: State::Running,
            restarts: 0,
            in_a_row: 0,
        };
        Self {
            nodes: vec![node; nodes],
            most,
            stopping: false,
        }
    }

    /// A node's process has ended after it had run for `lived`, with this exit code or else by a signal.
    ///
    /// It stays ended if it has finished, was asked to stop, or was refused: the same command would
    /// be refused again.
    pub fn on_exit(&mut self, node: usize, code: Option<u8>, lived: Duration) -> Decision {
        let most = self.most;
        let has_died = !matches!(code, Some(EXIT_SUCCESS | EXIT_USAGE | EXIT_INTERRUPTED));
        let restarts = has_died && !self.stopping;
        let node = &mut self.nodes[node];
        if !restarts || node.restarts >= most {
            node.state = State::Ended;
            return Decision::Stay;
        }
        node.state = State::Pending;
        node.restarts += 1;
        node.in_a_row = match lived >= SOUND {
            true => 1,
            false => node.in_a_row + 1,
        };
        Decision::Restart {
            number: node.restarts,
            after: delay(node.in_a_row),
        }
    }

    /// The delay before a restart is over. Returns whether to start the node now.
    pub fn on_due(&mut self, node: usize) -> bool {
        let is_pending = self.nodes[node].state == State::Pending;
        let starts = is_pending && !self.stopping;
        if is_pending {
            self.nodes[node].state = match starts {
                true => State::Running,
                false => State::Ended,
            };
        }
        starts
    }

    /// A node's process could not be started.
    pub fn give_up(&mut self, node: usize) {
        self.nodes[node].state = State::Ended;
    }

    /// The launch was asked to stop: nothing is started from now on.
    pub fn on_stop(&mut self) {
        self.stopping = true;
        for node in &mut self.nodes {
            if node.state == State::Pending {
                node.state = State::Ended;
            }
        }
    }

    /// Whether the launch was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether any node runs or is to be started again. If none does, the launch is over.
    pub fn any_left(&self) -> bool {
        self.nodes.iter().any(|node| node.state != State::Ended)
    }

    /// The nodes that should not wait for others any longer, now that one of them stays ended with
    /// `code`.
    ///
    /// A node that still waits for the start waits in vain once another has failed. One that was
    /// started again does not need that one: it joins those that train, until none is left.
    pub fn wait_in_vain(&self, code: u8) -> Vec<usize> {
        let pending = self.nodes.iter().any(|node| node.state == State::Pending);
        let is_last = !pending && self.running().count() == 1;
        let in_vain = |node: &usize| match self.nodes[*node].restarts {
            0 => code != EXIT_SUCCESS,
            _ => is_last,
        };
        self.running().filter(in_vain).collect()
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter_map(|(index, node)| (node.state == State::Running).then_some(index))
    }
}

/// The delay before restart `number`, from 1.
fn delay(number: u32) -> Duration {
    let factor = 1u32.checked_shl(number.saturating_sub(1));
    let delay = factor.and_then(|factor| FIRST_DELAY.checked_mul(factor));
    delay.unwrap_or(LONGEST_DELAY).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::{EXIT_FAILED, EXIT_RETRY};

    const KILLED: Option<u8> = None;
    const AT_ONCE: Duration = Duration::from_secs(9);

    fn restart(number: u32, millis: u64) -> Decision {
        Decision::Restart {
            number,
            after: Duration::from_millis(millis),
        }
    }

    /// The delay doubles up to its limit, and each node has its own restarts.
    #[test]
    fn a_node_that_dies_is_started_again_so_many_times() {
        let mut restarts = Restarts::new(2, 9);
        let delays = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000];
        for (number, millis) in (1..).zip(delays) {
            assert_eq!(
                restarts.on_exit(1, KILLED, AT_ONCE),
                restart(number, millis)
            );
            assert!(restarts.on_due(1));
            assert!(!restarts.on_due(1), "it runs already");
        }
        assert_eq!(restarts.on_exit(1, KILLED, AT_ONCE), Decision::Stay);
        assert!(restarts.any_left() && !restarts.on_due(1));
        assert_eq!(delay(u32::MAX), LONGEST_DELAY);
        let mut restarts = Restarts::new(2, 1);
        assert_eq!(restarts.on_exit(0, KILLED, AT_ONCE), restart(1, 500));
        assert!(restarts.on_due(0));
        assert_eq!(restarts.on_exit(1, KILLED, AT_ONCE), restart(1, 500));
    }

    /// Deaths that are far apart are not of one cause.
    #[test]
    fn the_delay_starts_anew_once_a_node_has_run_for_a_while() {
        let mut restarts = Restarts::new(1, 9);
        let lives = [1, 1, 10, 1, 60, 60].map(Duration::from_secs);
        let delays = [500, 1000, 500, 1000, 500, 500];
        for ((number, lived), millis) in (1..).zip(lives).zip(delays) {
            assert_eq!(
                restarts.on_exit(0, KILLED, lived),
                restart(number, millis),
                "{number}"
            );
            assert!(restarts.on_due(0));
        }
    }

    #[test]
    fn none_is_by_default() {
        let mut restarts = Restarts::new(3, 0);
        assert_eq!(restarts.on_exit(0, KILLED, AT_ONCE), Decision::Stay);
        assert_eq!(restarts.wait_in_vain(EXIT_FAILED), [1, 2]);
    }

    #[test]
    fn only_deaths_are_mended() {
        for (code, again) in [
            (EXIT_SUCCESS, false),
            (EXIT_USAGE, false),
            (EXIT_INTERRUPTED, false),
            (EXIT_FAILED, true),
            (EXIT_RETRY, true),
            // A panic of the main thread.
            (101, true),
        ] {
            let decision = Restarts::new(2, 1).on_exit(0, Some(code), AT_ONCE);
            assert_eq!(decision != Decision::Stay, again, "{code}");
        }
    }

    #[test]
    fn a_node_that_cannot_be_started_stays_ended() {
        let mut restarts = Restarts::new(3, 5);
        assert_eq!(restarts.on_exit(0, KILLED, AT_ONCE), restart(1, 500));
        assert!(restarts.on_due(0));
        restarts.give_up(0);
        assert!(!restarts.on_due(0));
        assert_eq!(restarts.wait_in_vain(EXIT_FAILED), [1, 2]);
    }

    #[test]
    fn nothing_is_started_once_the_launch_stops() {
        let mut restarts = Restarts::new(3, 5);
        assert_eq!(restarts.on_exit(0, KILLED, AT_ONCE), restart(1, 500));
        restarts.on_stop();
        assert!(!restarts.on_due(0));
        assert_eq!(restarts.on_exit(1, KILLED, AT_ONCE), Decision::Stay);
        assert_eq!(
            restarts.on_exit(2, Some(EXIT_INTERRUPTED), AT_ONCE),
            Decision::Stay
        );
        assert!(!restarts.any_left());
    }

    /// All of them, too: they continue together.
    #[test]
    fn nodes_that_all_die_are_started_again() {
        let mut restarts = Restarts::new(2, 1);
        assert_eq!(restarts.on_exit(0, KILLED, AT_ONCE), restart(1, 500));
        assert_eq!(restarts.on_exit(1, KILLED, AT_ONCE), restart(1, 500));
        assert!(restarts.any_left());
        assert!(restarts.on_due(0) && restarts.on_due(1));
        assert_eq!(restarts.on_exit(0, KILLED, AT_ONCE), Decision::Stay);
        assert_eq!(restarts.on_exit(1, KILLED, AT_ONCE), Decision::Stay);
        assert!(!restarts.any_left());
        assert_eq!(
            Restarts::new(1, 5).on_exit(0, KILLED, AT_ONCE),
            restart(1, 500)
        );
    }

    /// Of nodes that wait for the start, those that were not started again end when one fails for
    /// good; a node that comes back, only when no other is left.
    #[test]
    fn waiting_ends_when_it_is_in_vain() {
        let mut restarts = Restarts::new(4, 1);
        assert_eq!(restarts.on_exit(1, KILLED, AT_ONCE), restart(1, 500));
        assert!(restarts.on_due(1));
        assert_eq!(
            restarts.on_exit(0, Some(EXIT_USAGE), AT_ONCE),
            Decision::Stay
        );
        assert_eq!(restarts.wait_in_vain(EXIT_USAGE), [2, 3]);
        assert_eq!(
            restarts.on_exit(2, Some(EXIT_SUCCESS), AT_ONCE),
            Decision::Stay
        );
        assert!(restarts.wait_in_vain(EXIT_SUCCESS).is_empty());
        // It may come back.
        assert_eq!(restarts.on_exit(3, KILLED, AT_ONCE), restart(1, 500));
        assert!(restarts.wait_in_vain(EXIT_SUCCESS).is_empty());
        assert!(restarts.on_due(3));
        assert_eq!(
            restarts.on_exit(3, Some(EXIT_SUCCESS), AT_ONCE),
            Decision::Stay
        );
        assert_eq!(restarts.wait_in_vain(EXIT_SUCCESS), [1]);
    }
}
