//! Data that differ from worker to worker: each has a shard of its own, whose mix of classes is drawn from a
//! Dirichlet distribution, in the manner of Hsu, Qi and Brown (arXiv 1909.06335).
//!
//! The shards are disjoint and hold every example; their sizes differ by one at most. Workers choose in turn:
//! the worker draws a class from its mix, restricted to the classes of which examples are left, and takes a
//! random one of them. All shares of a mix have the same concentration, and count times the size of their
//! class. The smaller the concentration, the fewer classes dominate a shard; large ones give every worker the
//! same mix. Since every example goes to somebody, the last choices of a worker are of what others left.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma};

use super::DataError;

/// Divides `examples`, each with its class, among `workers`. Each shard is in ascending
/// order.
///
/// # Errors
///
/// [`DataError::Split`] if there are fewer examples than workers, or for a concentration that is not over 0.
pub(crate) fn dirichlet(
    examples: &[(u32, usize)],
    workers: usize,
    concentration: f64,
    seed: u64,
) -> Result<Vec<Vec<u32>>, DataError> {
    let refused = || DataError::Split {
        concentration,
        examples: examples.len(),
        workers,
    };
    if workers == 0 || workers > examples.len() {
        return Err(refused());
    }
    // Of a shape over 1, from which the logarithm of a smaller one follows (Marsaglia and Tsang, 2000).
    let gamma = Gamma::new(concentration + 1.0, 1.0).map_err(|_| refused())?;
    let key = blake3::derive_key("lsgd-train v1 shards of workers", &seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    let mut of_classes: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (example, class) in examples {
        of_classes.entry(*class).or_default().push(*example);
    }
    let mut left: Vec<Vec<u32>> = of_classes.into_values().collect();
    for of_class in &mut left {
        of_class.shuffle(&mut rng);
    }
    // Logarithms of shares of a Dirichlet distribution, but for their sum, and times the size of the class, so
    // that workers together want as many of it as there are. The shares of a small concentration underflow.
    let mut mix = || {
        let shares = left.iter().map(|of_class| {
            let uniform: f64 = rng.random_range(f64::MIN_POSITIVE..1.0);
            let share = gamma.sample(&mut rng).ln() + uniform.ln() / concentration;
            share + (of_class.len() as f64).ln()
        });
        shares.collect()
    };
    let mixes: Vec<Vec<f64>> = (0..workers).map(|_| mix()).collect();
    let mut shards = vec![Vec::new(); workers];
    for turn in 0..examples.len() {
        let worker = turn % workers;
        let class = draw_class(&mixes[worker], &left, &mut rng);
        shards[worker].extend(left[class].pop());
    }
    for shard in &mut shards {
        shard.sort_unstable();
    }
    Ok(shards)
}

/// A class of which examples are left, drawn by `mix`, the logarithms of weights.
fn draw_class(mix: &[f64], left: &[Vec<u32>], rng: &mut ChaCha8Rng) -> usize {
    let classes = mix.iter().zip(left).enumerate();
    let some_left = classes.filter(|(_, (_, of_class))| !of_class.is_empty());
    let some_left: Vec<(usize, f64)> = some_left.map(|(class, (log, _))| (class, *log)).collect();
    let highest = some_left.iter().map(|(_, log)| *log);
    let highest = highest.fold(f64::NEG_INFINITY, f64::max);
    let weights = some_left
        .iter()
        .map(|(class, log)| (*class, (log - highest).exp()));
    let sum: f64 = weights.clone().map(|(_, weight)| weight).sum();
    let mut place = rng.random_range(0.0..1.0) * sum;
    let mut drawn = 0;
    for (class, weight) in weights.filter(|(_, weight)| *weight > 0.0) {
        drawn = class;
        if place < weight {
            break;
        }
        place -= weight;
    }
    drawn
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const CLASSES: usize = 10;

    /// 4,000 examples of ten classes, class c of (c + 1) in 55.
    fn examples() -> Vec<(u32, usize)> {
        let of = |example: u32| {
            let place = example * 55 / 4000;
            let class = (0..CLASSES as u32).find(|class| place < (class + 1) * (class + 2) / 2);
            (example, class.expect("fewer than 55") as usize)
        };
        (0..4000).map(of).collect()
    }

    fn shards(workers: usize, concentration: f64, seed: u64) -> Vec<Vec<u32>> {
        dirichlet(&examples(), workers, concentration, seed).expect("can be divided")
    }

    /// The total variation distance of a shard's classes from those of all.
    fn distance(shard: &[u32]) -> f64 {
        let all = examples();
        let mut shares = [0.0; CLASSES];
        for (_, class) in &all {
            shares[*class] -= 1.0 / all.len() as f64;
        }
        for example in shard {
            shares[all[*example as usize].1] += 1.0 / shard.len() as f64;
        }
        shares.iter().map(|share| share.abs()).sum::<f64>() / 2.0
    }

    #[test]
    fn every_example_is_in_one_shard_and_shards_are_equal() {
        for (workers, concentration) in [(1, 0.3), (4, 0.001), (7, 0.3), (16, 1.0), (4000, 1.0)] {
            let shards = shards(workers, concentration, 1);
            let sizes: BTreeSet<usize> = shards.iter().map(Vec::len).collect();
            let (least, most) = (sizes.first(), sizes.last());
            assert!(
                most.zip(least)
                    .is_some_and(|(most, least)| most - least <= 1)
            );
            assert!(shards.iter().all(|shard| shard.is_sorted()));
            let all: BTreeSet<u32> = shards.concat().into_iter().collect();
            assert_eq!((all.len(), shards.concat().len()), (4000, 4000));
        }
    }

    /// By the concentration alone: nearly one class, or the classes of all.
    #[test]
    fn the_concentration_says_how_much_shards_differ() {
        let mean = |concentration| {
            let of_seed = |seed| {
                let shards = shards(8, concentration, seed);
                shards.iter().map(|shard| distance(shard)).sum::<f64>() / 8.0
            };
            (0..5).map(of_seed).sum::<f64>() / 5.0
        };
        let [least, small, middle, large] = [1e-6, 0.01, 0.5, 1000.0].map(mean);
        assert!(least > 0.6 && small > 0.6, "{least} {small}");
        assert!((0.2..0.6).contains(&middle), "{middle}");
        assert!(large < 0.08, "{large}");
    }

    #[test]
    fn a_seed_gives_the_same_shards() {
        assert_eq!(shards(4, 0.3, 1), shards(4, 0.3, 1));
        assert_ne!(shards(4, 0.3, 1), shards(4, 0.3, 2));
    }

    #[test]
    fn what_cannot_be_divided_is_refused() {
        let few = &examples()[..3];
        let error = dirichlet(few, 4, 0.3, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "data.split {dirichlet = 0.3} of 3 training examples among 4 workers; each needs one"
        );
    }
}
