//! Long series, thinned while they are read: of every bucket of points the lowest and the highest stay.

/// What a run had spent at some moment. NaN for what its records do not say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spent {
    /// Seconds of training.
    pub seconds: f64,
    /// Steps of a worker.
    pub steps: f64,
    /// Training examples seen by all workers.
    pub samples: f64,
    /// Payload of all exchanges.
    pub bytes: f64,
}

impl Spent {
    /// A moment of which time and step are known.
    pub fn new(seconds: f64, step: u64) -> Self {
        Self {
            seconds,
            steps: step as f64,
            samples: f64::NAN,
            bytes: f64::NAN,
        }
    }
}

/// A point of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When.
    pub at: Spent,
    /// The value; NaN if it was not finite.
    pub y: f64,
}

/// Buckets of a series: an even number, so that pairs of them can be merged.
const BUCKETS: usize = 1000;

/// A series of any length in bounded memory: its first and last point, and of each of at most a fixed
/// number of buckets, which all cover equally many points, the lowest and the highest.
#[derive(Debug, Clone)]
pub struct Thinned {
    /// An even number.
    most: usize,
    /// Points of a bucket.
    width: u64,
    buckets: Vec<Bucket>,
    first: Option<Numbered>,
    last: Option<Numbered>,
}

/// A point, and how many came before it.
type Numbered = (u64, Point);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    low: Numbered,
    high: Numbered,
}

impl Bucket {
    /// Adds a point. One that is not finite stays only while there is no other.
    fn add(&mut self, new: Numbered) {
        let (_, point) = new;
        if point.y < self.low.1.y || self.low.1.y.is_nan() {
            self.low = new;
        }
        if point.y > self.high.1.y || self.high.1.y.is_nan() {
            self.high = new;
        }
    }
}

impl Default for Thinned {
    fn default() -> Self {
        Self::new(BUCKETS)
    }
}

impl Thinned {
    /// A series of which at most `2 * buckets + 2` points stay. An odd number is one less.
    pub fn new(buckets: usize) -> Self {
        Self {
            most: (buckets & !1).max(2),
            width: 1,
            buckets: Vec::new(),
            first: None,
            last: None,
        }
    }

    /// Those of `points` that stay.
    pub fn of(points: &[Point], buckets: usize) -> Vec<Point> {
        let mut thinned = Self::new(buckets);
        for point in points {
            thinned.add(*point);
        }
        thinned.points()
    }

    /// Adds the next point.
    pub fn add(&mut self, point: Point) {
        let number = self.last.map_or(0, |(last, _)| last + 1);
        let new = (number, point);
        self.first.get_or_insert(new);
        self.last = Some(new);
        if !number.is_multiple_of(self.width) {
            if let Some(bucket) = self.buckets.last_mut() {
                bucket.add(new);
            }
            return;
        }
        if self.buckets.len() == self.most {
            self.merge();
        }
        let (low, high) = (new, new);
        self.buckets.push(Bucket { low, high });
    }

    /// Makes one bucket of every two.
    fn merge(&mut self) {
        let pairs = self.buckets.chunks_exact(2).map(|pair| {
            let mut merged = pair[0];
            merged.add(pair[1].low);
            merged.add(pair[1].high);
            merged
        });
        self.buckets = pairs.collect();
        self.width *= 2;
    }

    /// The points that stay, in their order.
    pub fn points(&self) -> Vec<Point> {
        let of_buckets = self.buckets.iter().flat_map(|bucket| {
            let Bucket { low, high } = *bucket;
            match low.0 <= high.0 {
                true => [low, high],
                false => [high, low],
            }
        });
        let all = self.first.into_iter().chain(of_buckets).chain(self.last);
        let mut all: Vec<Numbered> = all.collect();
        all.dedup_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, point)| point).collect()
    }

    /// The last point.
    pub fn last(&self) -> Option<Point> {
        self.last.map(|(_, point)| point)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(x: usize, y: f64) -> Point {
        // Without NaN, which is equal to nothing.
        let at = Spent {
            samples: 0.0,
            bytes: 0.0,
            ..Spent::new(x as f64, x as u64)
        };
        Point { at, y }
    }

    fn series(values: &[f64]) -> Vec<Point> {
        values
            .iter()
            .enumerate()
            .map(|(x, y)| point(x, *y))
            .collect()
    }

    #[test]
    fn a_short_series_stays_as_it_is() {
        let points = series(&[3.0, 1.0, 2.0, 2.0]);
        assert_eq!(Thinned::of(&points, 4), points);
        assert_eq!(Thinned::of(&[], 4), []);
    }

    /// A spike of one point, either way, is what a chart is looked at for.
    #[test]
    fn a_spike_stays_wherever_it_is() {
        for at in 0..500 {
            for spike in [-1.0, 9.0] {
                let mut points = series(&[1.0; 500]);
                points[at].y = spike;
                let kept = Thinned::of(&points, 8);
                assert!(kept.contains(&points[at]), "{spike} at {at}: {kept:?}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_a_gap_only_where_nothing_else_is() {
        let mut values = vec![1.0; 40];
        values[3] = f64::NAN;
        values[20..].fill(f64::NAN);
        let kept = Thinned::of(&series(&values), 4);
        let gaps: Vec<f64> = kept
            .iter()
            .filter(|p| p.y.is_nan())
            .map(|p| p.at.seconds)
            .collect();
        assert!(
            !gaps.is_empty() && gaps.iter().all(|x| *x >= 20.0),
            "{gaps:?}"
        );
    }

    proptest! {
        #[test]
        fn first_last_and_extremes_stay_in_order_and_bounded(
            values in prop::collection::vec(-1e6..1e6_f64, 1..3000),
            buckets in 2..20_usize,
        ) {
            let points = series(&values);
            let kept = Thinned::of(&points, buckets);
            prop_assert!(kept.len() <= 2 * buckets + 2);
            prop_assert_eq!(kept.first(), points.first());
            prop_assert_eq!(kept.last(), points.last());
            prop_assert!(kept.windows(2).all(|pair| pair[0].at.seconds < pair[1].at.seconds));
            for extreme in [f64::min as fn(f64, f64) -> f64, f64::max] {
                let of = |points: &[Point]| points.iter().map(|p| p.y).reduce(extreme);
                prop_assert_eq!(of(&kept), of(&points));
            }
        }
    }
}
