use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const CHUNK: usize = ChunkRequest::MAX_VALUES;

/// A plan for all of a vector, with one node to ask.
fn alone(values: usize) -> Plan {
    Plan::new(values, vec![false; chunks_of(values)], 0, 0)
}

/// A plan for all of a vector of so many chunks, as the third of four that fetch it.
fn third_of_four(chunks: usize) -> Plan {
    Plan::new(chunks * CHUNK, vec![false; chunks], 3, 2)
}

/// Whom each request asks, and for which chunk.
fn asked(requests: &[Request]) -> Vec<(usize, usize)> {
    let asked = |request: &Request| (request.from, request.chunk());
    requests.iter().map(asked).collect()
}

fn numbers(requests: &[Request]) -> Vec<(usize, u64)> {
    let chunk = |request: &Request| (request.chunk(), request.number);
    requests.iter().map(chunk).collect()
}

#[test]
fn chunks_are_requested_once_each_where_nothing_is_lost() {
    let mut plan = alone(20 * CHUNK + 5);
    let mut requests = VecDeque::from(plan.next());
    assert_eq!(requests.len(), WINDOW);
    let mut made = WINDOW;
    let mut arrived = Vec::new();
    while let Some(request) = requests.pop_front() {
        assert!(!plan.is_complete());
        assert!(plan.arrived(&request).is_empty());
        arrived.push(request.range);
        let next = plan.next();
        made += next.len();
        requests.extend(next);
    }
    assert!(plan.is_complete());
    assert_eq!(made, 21);
    assert_eq!(arrived[20], 20 * CHUNK..20 * CHUNK + 5);
    assert!(alone(0).is_complete());
}

#[test]
fn overtaken_chunks_are_requested_again() {
    let mut plan = alone(4 * CHUNK);
    let requests = plan.next();
    // Nothing comes; then the answer to the second request for the first chunk.
    let again = plan.oldest_again().unwrap();
    assert_eq!(numbers(std::slice::from_ref(&again)), [(0, 4)]);
    assert!(!plan.needs(&requests[0]), "its failure no longer matters");
    assert!(plan.needs(&again));
    let lost = plan.arrived(&again);
    assert_eq!(numbers(&lost), [(1, 5), (2, 6), (3, 7)]);
    // The first answer comes after all: the chunk is there already, and nothing is overtaken.
    assert!(plan.arrived(&requests[0]).is_empty());
    // An answer to an earlier request serves as well, and overtakes none of the later ones.
    assert!(plan.arrived(&requests[2]).is_empty());
    assert_eq!(plan.first_missing(), CHUNK);
    assert!(plan.arrived(&lost[0]).is_empty());
    assert!(plan.arrived(&lost[2]).is_empty());
    assert!(plan.is_complete());
}

/// Of nine chunks the third of four fetches 2 and 6 from the holder, and the others from those whose
/// they are.
#[test]
fn each_has_a_share_of_its_own() {
    let mut plan = third_of_four(9);
    let requests = plan.next();
    let expected = [
        (0, 2),
        (0, 6),
        (1, 0),
        (1, 4),
        (2, 1),
        (2, 5),
        (3, 3),
        (3, 7),
    ];
    assert_eq!(asked(&requests), expected, "two from each partner at first");
    plan.arrived(&requests[2]);
    assert_eq!(asked(&plan.next()), [(1, 8)]);
}

/// Together the four request each chunk from the holder once.
#[test]
fn the_shares_are_disjoint_and_complete() {
    for chunks in 1..20 {
        let from_holder = (0..4).flat_map(|own| {
            let plan = Plan::new(chunks * CHUNK, vec![false; chunks], 3, own);
            plan.shares[HOLDER].waiting.clone()
        });
        let mut from_holder: Vec<usize> = from_holder.collect();
        from_holder.sort_unstable();
        assert_eq!(from_holder, Vec::from_iter(0..chunks));
    }
}

/// A partner that does not fetch the vector yet is asked again when chunks have arrived, ever more rarely,
/// for one chunk at a time.
#[test]
fn a_partner_that_refuses_is_asked_again_later() {
    let mut plan = third_of_four(40);
    let requests = plan.next();
    assert_eq!(asked(&requests)[8..10], [(1, 0), (1, 4)]);
    plan.refused(&requests[8]);
    plan.refused(&requests[9]);
    plan.refused(&requests[9]);
    let mut arrivals = requests[..8].iter();
    for (pause, chunk) in [(2, 4), (4, 4)] {
        for _ in 1..pause {
            plan.arrived(arrivals.next().unwrap());
            let next = asked(&plan.next());
            assert!(next.iter().all(|&(from, _)| from == HOLDER), "{next:?}");
        }
        plan.arrived(arrivals.next().unwrap());
        let next = plan.next();
        let again = next.iter().find(|request| request.from == 1).unwrap();
        assert_eq!(again.chunk(), chunk);
        plan.refused(again);
    }
    // Once it delivers, it is asked for more.
    for request in arrivals {
        plan.arrived(request);
    }
    let (from, pause) = (1, plan.shares[1].pause);
    assert_eq!(pause, 8 - 2);
    plan.shares[from].pause = 0;
    let next = plan.next();
    let again = next.iter().find(|request| request.from == from).unwrap();
    plan.arrived(again);
    assert_eq!(plan.shares[from].window, FIRST_WINDOW);
    assert_eq!(plan.shares[from].refusals, 0);
}

/// What partners have not been asked for is requested from the holder once it has nothing left of the own
/// share, from the end of the partner that has most left.
#[test]
fn the_holder_does_what_partners_were_not_asked_for() {
    let mut plan = third_of_four(16);
    let requests = plan.next();
    let own = asked(&requests)[..4].to_vec();
    assert_eq!(own, [(0, 2), (0, 6), (0, 10), (0, 14)]);
    for request in &requests[..3] {
        plan.arrived(request);
        assert!(plan.next().is_empty(), "the holder is still busy");
    }
    plan.arrived(&requests[3]);
    let more = asked(&plan.next());
    let expected = [(0, 15), (0, 13), (0, 12), (0, 11), (0, 9), (0, 8)];
    assert_eq!(more, expected);
}

/// Of a large share, while two chunks are still under way, so that the link does not fall idle.
#[test]
fn the_holder_is_asked_for_more_before_it_is_idle() {
    let mut plan = third_of_four(64);
    let mut under_way: VecDeque<Request> = plan.next().into();
    let mut own = 0;
    loop {
        let request = under_way.pop_front().unwrap();
        if request.from != HOLDER {
            continue;
        }
        plan.arrived(&request);
        own += 1;
        let next = plan.next();
        if next
            .iter()
            .any(|request| request.chunk() % 4 != 2 && request.from == HOLDER)
        {
            break;
        }
        under_way.extend(next);
    }
    assert_eq!(own, 16 - 2);
}

/// What was under way comes from the holder then, and a late answer is as good.
#[test]
fn a_partner_that_is_given_up_is_not_needed() {
    let mut plan = third_of_four(8);
    let requests = plan.next();
    for request in &requests[..2] {
        plan.arrived(request);
    }
    assert!(plan.next().is_empty() && plan.is_idle(HOLDER));
    assert_eq!(Vec::from_iter(plan.busy_partners()), [1, 2, 3]);
    (1..=3).for_each(|from| plan.give_up(from));
    let late = &requests[2];
    assert_eq!(asked(std::slice::from_ref(late)), [(1, 0)]);
    assert!(plan.arrived(late).is_empty());
    let expected = [(0, 4), (0, 1), (0, 5), (0, 3), (0, 7)];
    assert_eq!(asked(&plan.next()), expected);
    // Its refusal afterwards means nothing.
    plan.refused(&requests[3]);
    assert!(plan.next().is_empty());
}

/// One that delivers less than half of what the holder does has two chunks under way at most, so that
/// little is lost when it is given up.
#[test]
fn a_slow_partner_is_not_asked_for_many() {
    let mut plan = third_of_four(80);
    let mut of_holder = VecDeque::new();
    let mut of_partner = VecDeque::new();
    for turn in 0..6 {
        for request in plan.next() {
            match request.from {
                HOLDER => of_holder.push_back(request),
                1 => of_partner.push_back(request),
                _ => {}
            }
        }
        for _ in 0..if turn == 0 { 1 } else { 3 } {
            plan.arrived(&of_holder.pop_front().unwrap());
        }
        plan.arrived(&of_partner.pop_front().unwrap());
    }
    assert_eq!(plan.shares[HOLDER].delivered, 16);
    assert_eq!(plan.shares[1].delivered, 6);
    assert_eq!(plan.shares[1].window, FIRST_WINDOW);
}

/// What an earlier holder delivered is not requested again.
#[test]
fn what_is_here_is_not_requested() {
    let mut arrived = vec![true; 9];
    arrived[1] = false;
    arrived[6] = false;
    let mut plan = Plan::new(9 * CHUNK, arrived, 3, 2);
    assert_eq!(plan.first_missing(), CHUNK);
    assert_eq!(asked(&plan.next()), [(0, 6), (2, 1)]);
}

proptest! {
    /// Over a link that loses anything but keeps the order: each chunk arrives, and one that
    /// was not lost is requested once.
    #[test]
    fn every_chunk_arrives_however_many_are_lost(
        values in 0usize..40 * CHUNK,
        fates in prop::collection::vec(prop::bool::weighted(0.7), 400),
    ) {
        let mut fates = fates.into_iter();
        let mut plan = alone(values);
        let mut on_the_way = VecDeque::new();
        let mut arrived = BTreeSet::new();
        let mut lost = 0;
        let mut made = 0;
        while !plan.is_complete() {
            let mut requests = plan.next();
            if requests.is_empty() && on_the_way.is_empty() {
                requests.extend(plan.oldest_again());
            }
            made += requests.len();
            on_the_way.extend(requests);
            let Some(request) = on_the_way.pop_front() else {
                continue;
            };
            if fates.next().unwrap_or(true) {
                let again = plan.arrived(&request);
                made += again.len();
                on_the_way.extend(again);
                prop_assert!(arrived.insert(request.range.start), "twice");
            } else {
                lost += 1;
            }
        }
        let count = chunks_of(values);
        prop_assert_eq!(arrived.len(), count);
        prop_assert_eq!(made, count + lost);
    }

    /// Whatever partners do, every chunk arrives as long as the holder answers.
    #[test]
    fn every_chunk_arrives_whatever_partners_do(
        chunks in 0usize..60,
        partners in 0usize..6,
        place in 0usize..6,
        fates in prop::collection::vec((0u8..4, 0usize..100), 600),
    ) {
        let mut plan = Plan::new(chunks * CHUNK, vec![false; chunks], partners, place.min(partners));
        let mut fates = fates.into_iter();
        let mut on_the_way: Vec<Request> = Vec::new();
        while !plan.is_complete() {
            on_the_way.extend(plan.next());
            let (fate, which) = fates.next().unwrap_or((0, 0));
            // The holder answers in order, each partner as it likes.
            let first_of_holder = on_the_way.iter().position(|request| request.from == HOLDER);
            let of_partners: Vec<usize> = (0..on_the_way.len())
                .filter(|&index| on_the_way[index].from != HOLDER)
                .collect();
            let picked = of_partners.get(which % of_partners.len().max(1)).copied();
            match (fate, first_of_holder, picked) {
                (0, Some(index), _) => {
                    let request = on_the_way.remove(index);
                    let again = plan.arrived(&request);
                    prop_assert!(again.is_empty(), "it lost nothing");
                }
                (1, _, Some(index)) => {
                    let request = on_the_way.remove(index);
                    prop_assert!(plan.arrived(&request).is_empty());
                }
                (2, _, Some(index)) => plan.refused(&on_the_way.remove(index)),
                (_, None, _) => {
                    let busy: Vec<usize> = plan.busy_partners().collect();
                    busy.into_iter().for_each(|from| plan.give_up(from));
                }
                _ => {}
            }
        }
        prop_assert!(plan.next().is_empty());
    }
}
