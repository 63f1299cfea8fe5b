use super::*;
use crate::pace::patience;
use crate::session::LEASE;

/// Nodes that make a mean, whose answers take no time: what they have asked for, and have had.
struct Circle {
    now: Instant,
    nodes: Vec<SharedMean>,
    /// Requests that have no answer yet, with who asks.
    open: Vec<(usize, Ask)>,
    /// Answers that each has had: chunks of sums, and of the mean.
    had: Vec<[usize; 2]>,
}

impl Circle {
    fn new(nodes: usize, chunks: usize) -> Self {
        let now = Instant::now();
        let node = |own| SharedMean::new(chunks, nodes - 1, own, LEASE, now);
        Self {
            now,
            nodes: (0..nodes).map(node).collect(),
            open: Vec::new(),
            had: vec![[0; 2]; nodes],
        }
    }

    /// Whom a request is for.
    fn asked(asker: usize, ask: Ask) -> usize {
        ask.of + usize::from(ask.of >= asker)
    }

    /// Answers all that can be answered, except by those that hang, until nothing is left to ask for.
    fn run(&mut self, hangs: impl Fn(usize, What) -> bool) {
        loop {
            for (asker, node) in self.nodes.iter_mut().enumerate() {
                let asks = node.next(self.now);
                self.open.extend(asks.into_iter().map(|ask| (asker, ask)));
            }
            let answered = self.open.iter().position(|(asker, ask)| {
                let asked = Self::asked(*asker, *ask);
                let has = ask.what == What::Sum || self.nodes[asked].here[ask.chunk];
                has && !hangs(asked, ask.what)
            });
            let Some(place) = answered else {
                return;
            };
            let (asker, ask) = self.open.remove(place);
            self.had[asker][usize::from(ask.what == What::Mean)] += 1;
            if self.nodes[asker].arrived(ask, self.now) {
                self.nodes[asker].made(ask.chunk);
            }
        }
    }

    fn complete(&self) -> Vec<bool> {
        self.nodes.iter().map(SharedMean::is_complete).collect()
    }
}

/// Each has `chunks / n` chunks of `n - 1` sums, and the other chunks of the mean: `2 (n - 1) / n` vectors.
#[test]
fn each_makes_its_share_and_has_the_others_from_those_who_make_them() {
    for (nodes, chunks) in [(3, 3), (4, 40), (5, 41), (16, 1000)] {
        let mut circle = Circle::new(nodes, chunks);
        circle.run(|_, _| false);
        assert_eq!(circle.complete(), vec![true; nodes], "{nodes} {chunks}");
        assert!(circle.open.is_empty());
        for (node, [sums, means]) in circle.had.iter().enumerate() {
            let own = (node..chunks).step_by(nodes).count();
            assert_eq!(
                (*sums, *means),
                (own * (nodes - 1), chunks - own),
                "{nodes} {node}"
            );
        }
    }
}

#[test]
fn no_more_is_under_way_to_a_node_than_keeps_its_link_busy() {
    let mut mean = SharedMean::new(400, 3, 1, LEASE, Instant::now());
    let asks = mean.next(Instant::now());
    assert_eq!(asks.len(), 3 * WINDOW);
    for of in 0..3 {
        assert_eq!(asks.iter().filter(|ask| ask.of == of).count(), WINDOW);
    }
    assert!(
        asks.iter()
            .all(|ask| ask.chunk % 4 == 1 && ask.what == What::Sum)
    );
    assert!(mean.next(Instant::now()).is_empty());
}

/// It has not begun yet.
#[test]
fn a_node_that_refuses_is_asked_again_soon() {
    let mut mean = SharedMean::new(2, 1, 0, LEASE, Instant::now());
    let now = Instant::now();
    let asks = mean.next(now);
    let [sum, of_mean] = asks[..] else {
        panic!("{asks:?}");
    };
    assert!(mean.arrived(sum, now));
    mean.made(0);
    mean.refused(of_mean, now);
    assert!(mean.next(now).is_empty());
    assert_eq!(mean.wait(now), SOON);
    let later = now + SOON;
    assert_eq!(mean.next(later), [of_mean]);
    mean.refused(of_mean, later);
    assert_eq!(mean.wait(later), 2 * SOON);
    assert_eq!(mean.next(later + 2 * SOON), [of_mean]);
    assert!(!mean.arrived(of_mean, later + 2 * SOON));
    assert!(mean.is_complete());
}

/// It makes another mean, as when it has lost a node that the others have not.
#[test]
fn what_a_node_does_not_make_is_made_by_each_that_needs_it() {
    let mut circle = Circle::new(4, 8);
    circle.run(|asked, what| asked == 2 && what == What::Mean);
    assert_eq!(circle.complete(), [false, false, true, false]);
    for _ in 0..=REFUSALS {
        for (asker, ask) in std::mem::take(&mut circle.open) {
            circle.nodes[asker].refused(ask, circle.now);
            // One of many answers; the others come in the meantime.
            let asks = circle.nodes[asker].next(circle.now);
            circle.open.extend(asks.into_iter().map(|ask| (asker, ask)));
        }
        circle.now += SOON * (1 << REFUSALS);
        circle.run(|asked, what| asked == 2 && what == What::Mean);
    }
    assert_eq!(circle.complete(), [true; 4]);
    // Two chunks of its own, and two of the other's, of three sums each.
    assert_eq!(circle.had[0], [12, 4]);
}

/// Its sum may be needed by all, so that no chunk of the mean can be made.
#[test]
fn a_node_that_gives_nothing_is_named_and_before_that_asked_again() {
    let mut circle = Circle::new(3, 6);
    circle.run(|asked, _| asked == 1);
    let node = &mut circle.nodes[2];
    assert!(!node.is_complete());
    let wait = node.wait(circle.now);
    let now = circle.now + wait;
    // The oldest of each, since node 0 cannot make its chunks either.
    let again = node.waited(now).unwrap();
    let of: Vec<(usize, What)> = again.iter().map(|ask| (ask.of, ask.what)).collect();
    assert_eq!(of, [(0, What::Mean), (1, What::Sum)]);
    assert!(node.next(now).is_empty());
    let over = circle.now + patience(LEASE);
    assert_eq!(node.waited(over), Err((1, 5)));
}

/// However often its answers are lost, as when the queries' own time has run out.
#[test]
fn a_node_whose_answers_are_all_lost_is_named_as_soon() {
    let began = Instant::now();
    let mut mean = SharedMean::new(2, 1, 0, LEASE, began);
    let asks = mean.next(began);
    assert!(
        !mean.arrived(asks[1], began),
        "the mean, of which nothing is to be made here"
    );
    let mut now = began;
    loop {
        mean.lost(asks[0], now);
        assert!(mean.next(now).is_empty(), "not at once");
        let wait = mean.wait(now);
        assert!(wait > Duration::ZERO, "it does not spin");
        now += wait;
        match mean.waited(now) {
            Ok(again) => assert!(again.is_empty()),
            Err(named) => {
                assert_eq!(named, (0, 0));
                break;
            }
        }
        mean.next(now);
    }
    assert_eq!(now, began + patience(LEASE));
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_and_one_that_comes_twice_changes_nothing() {
    let mut mean = SharedMean::new(2, 1, 0, LEASE, Instant::now());
    let now = Instant::now();
    let asks = mean.next(now);
    mean.lost(asks[0], now);
    let now = now + LEASE.mul_f64(LOST);
    assert_eq!(mean.next(now), [asks[0]]);
    assert!(mean.needs(asks[0]));
    assert!(mean.arrived(asks[0], now));
    assert!(!mean.needs(asks[0]));
    assert!(!mean.arrived(asks[0], now));
    mean.made(0);
    mean.lost(asks[0], now);
    assert!(mean.next(now + LEASE).is_empty());
}
