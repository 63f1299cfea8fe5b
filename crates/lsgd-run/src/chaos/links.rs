//! The links between nodes, each way, and what is wrong with them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a link does to bytes besides passing them on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    /// It holds them, until it is healed.
    Cut,
    /// They come this much later.
    Delay(Duration),
    /// It loses this share of packets, from 0 to 1.
    Loss(f64),
}

/// The links between some nodes, from 0. Several troubles of one link add up.
#[derive(Debug)]
pub struct Links {
    nodes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// By sender and receiver.
    troubles: Vec<Vec<Trouble>>,
    closed: bool,
}

/// How bytes that are read now pass a link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Passage {
    /// How much later they come.
    pub delay: Duration,
    /// The share of packets that is lost.
    pub loss: f64,
}

impl Links {
    /// Sound links between all of `nodes` nodes.
    pub fn new(nodes: usize) -> Self {
        Self {
            nodes,
            state: Mutex::new(State {
                troubles: vec![Vec::new(); nodes * nodes],
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Adds a trouble to the link from one node to another.
    pub fn trouble(&self, from: usize, to: usize, trouble: Trouble) {
        let index = self.index(from, to);
        self.lock().troubles[index].push(trouble);
        self.changed.notify_all();
    }

    /// Takes away one such trouble, if there is one.
    pub fn heal(&self, from: usize, to: usize, trouble: Trouble) {
        let index = self.index(from, to);
        let mut state = self.lock();
        let troubles = &mut state.troubles[index];
        if let Some(which) = troubles.iter().position(|one| *one == trouble) {
            troubles.remove(which);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Nothing passes any more: whoever waits is told.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// How bytes pass that come now.
    pub fn passage(&self, from: usize, to: usize) -> Passage {
        let state = self.lock();
        let troubles = &state.troubles[self.index(from, to)];
        let delay = troubles.iter().map(|trouble| match trouble {
            Trouble::Delay(delay) => *delay,
            _ => Duration::ZERO,
        });
        let arrives = troubles.iter().map(|trouble| match trouble {
            Trouble::Loss(loss) => 1.0 - loss,
            _ => 1.0,
        });
        Passage {
            delay: delay.sum(),
            loss: 1.0 - arrives.product::<f64>(),
        }
    }

    /// Waits until `due`, and then until the link is not cut. False if the links are closed.
    pub fn wait(&self, from: usize, to: usize, due: Instant) -> bool {
        self.wait_for(due, |state| !state.is_cut(self.index(from, to)))
    }

    /// Waits until neither way between two nodes is cut. False if the links are closed.
    pub fn wait_for_both(&self, one: usize, other: usize) -> bool {
        let ways = [self.index(one, other), self.index(other, one)];
        self.wait_for(Instant::now(), |state| {
            !ways.iter().any(|way| state.is_cut(*way))
        })
    }

    fn wait_for(&self, due: Instant, is_open: impl Fn(&State) -> bool) -> bool {
        let mut state = self.lock();
        loop {
            if state.closed {
                return false;
            }
            let rest = due.saturating_duration_since(Instant::now());
            state = match rest.is_zero() {
                true if is_open(&state) => return true,
                true => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                false => {
                    let waited = self.changed.wait_timeout(state, rest);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn index(&self, from: usize, to: usize) -> usize {
        from * self.nodes + to
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_cut(&self, index: usize) -> bool {
        self.troubles[index].contains(&Trouble::Cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_add_up_and_are_healed_one_by_one() {
        let links = Links::new(3);
        let millis = Duration::from_millis;
        for delay in [20, 30, 30] {
            links.trouble(0, 2, Trouble::Delay(millis(delay)));
        }
        links.trouble(0, 2, Trouble::Loss(0.5));
        links.trouble(0, 2, Trouble::Loss(0.5));
        let passage = links.passage(0, 2);
        assert_eq!((passage.delay, passage.loss), (millis(80), 0.75));
        links.heal(0, 2, Trouble::Delay(millis(30)));
        links.heal(0, 2, Trouble::Loss(0.5));
        links.heal(0, 2, Trouble::Cut);
        let passage = links.passage(0, 2);
        assert_eq!((passage.delay, passage.loss), (millis(50), 0.5));
        for (from, to) in [(2, 0), (0, 1), (1, 2)] {
            let sound = Passage {
                delay: Duration::ZERO,
                loss: 0.0,
            };
            assert_eq!(links.passage(from, to), sound);
        }
    }

    #[test]
    fn a_link_is_open_again_once_all_that_cut_it_are_healed() {
        let links = Links::new(2);
        let now = Instant::now();
        assert!(links.wait(0, 1, now) && links.wait_for_both(1, 0));
        links.trouble(0, 1, Trouble::Cut);
        links.trouble(0, 1, Trouble::Cut);
        assert!(links.wait(1, 0, now));
        std::thread::scope(|scope| {
            let one_way = scope.spawn(|| links.wait(0, 1, now));
            let both = scope.spawn(|| links.wait_for_both(1, 0));
            links.heal(0, 1, Trouble::Cut);
            links.heal(0, 1, Trouble::Cut);
            assert!(one_way.join().unwrap() && both.join().unwrap());
        });
        links.trouble(1, 0, Trouble::Cut);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| links.wait(1, 0, now));
            links.close();
            assert!(!waits.join().unwrap());
        });
        assert!(!links.wait(0, 1, now));
    }
}
