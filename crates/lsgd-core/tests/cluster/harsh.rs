//! Runs in which anything may go wrong, under the eyes of auditors. `cargo run --release -p lsgd-core
//! --example harsh` runs as many of them as there is time for.

use lsgd_core::Mode;

use crate::auditors::Finding;
use crate::cluster_run::ClusterRun;
use crate::network::Planted;
use crate::scenario::{Scenario, methods};
use crate::setting::{lsgd, setting};

/// What the auditors find in one run.
fn finding(seed: u64, planted: Option<Planted>) -> Option<Finding> {
    let layout = setting(2, Mode::Sync, lsgd(), 0).layout;
    let methods = methods().expect("methods");
    let scenario = Scenario::of(seed, &layout, &methods, planted);
    ClusterRun::new(scenario).run().finding
}

#[test]
fn auditors_find_nothing_in_the_first_seeds() {
    for seed in 0..60 {
        assert_eq!(finding(seed, None), None, "seed {seed}");
    }
}

/// Silence means something: whatever the network itself does wrong is found by the auditor whose
/// business it is, within a few seeds.
#[test]
fn planted_faults_are_caught() {
    let planted = [
        (Planted::NotANumber, "finite"),
        (Planted::Bit, "formula"),
        (Planted::Stray, "formula"),
        (Planted::Forged, "elections"),
        (Planted::Uncounted, "bytes"),
        (Planted::Deaf, "progress"),
    ];
    for (fault, auditor) in planted {
        let found = (0..20).filter_map(|seed| finding(seed, Some(fault)));
        let found: Vec<Finding> = found.take(5).collect();
        let by_it = found.iter().any(|finding| finding.auditor == auditor);
        assert!(by_it, "{fault:?}: {found:?}");
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let layout = setting(2, Mode::Sync, lsgd(), 0).layout;
    let methods = methods().expect("methods");
    for seed in 0..5 {
        let history = || {
            let mut run = ClusterRun::new(Scenario::of(seed, &layout, &methods, None));
            let outcome = run.run();
            (
                run.network.history,
                outcome.time,
                outcome.exchanges,
                outcome.splits,
            )
        };
        assert_eq!(history(), history(), "seed {seed}");
    }
}
