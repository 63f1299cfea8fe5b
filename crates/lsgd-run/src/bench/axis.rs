//! How much of a picture's values its axes show, and with how many decimals.

use std::ops::Range;

use super::estimate::Estimate;
use crate::storage::MetricInfo;

/// Beyond it an axis would show nothing but this value.
const LARGEST: f64 = 1e100;
/// Under it all values are zero to an axis.
const SMALLEST: f64 = 1e-100;

/// A point of a curve: where it is, and half of its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    /// What had been spent.
    pub x: f64,
    /// The mean over seeds.
    pub y: f64,
    /// Zero if it is not known.
    pub half: f64,
}

impl Shown {
    /// Nothing for a value that is not finite, or too large to be drawn.
    pub fn new(x: f64, value: Estimate) -> Option<Self> {
        let Estimate { mean: y, half } = value;
        let half = if half < LARGEST { half } else { 0.0 };
        (y.abs() < LARGEST).then_some(Self { x, y, half })
    }
}

/// The values that the vertical axis shows: all means, and their intervals as far as the metric goes.
/// A percentage goes from 0 to 100, and what has no negative means from 0; on the other sides an
/// interval is cut that is wider than what all means span, as those over two seeds can be.
pub fn range<'a>(
    shown: impl Iterator<Item = &'a Shown> + Clone,
    metric: &MetricInfo,
) -> Range<f64> {
    let low = shown.clone().map(|s| s.y).fold(f64::INFINITY, f64::min);
    let high = shown.clone().map(|s| s.y).fold(f64::NEG_INFINITY, f64::max);
    let largest = low.abs().max(high.abs());
    if low > high || largest < SMALLEST {
        return 0.0..1.0;
    }
    let span = (high - low).max(0.05 * largest);
    let bounds = match metric.unit == "%" {
        true => 0.0..100.0,
        false if low >= 0.0 => (low - span).max(0.0)..high + span,
        false => low - span..high + span,
    };
    let bottom = shown.clone().map(|s| s.y - s.half).fold(low, f64::min);
    let top = shown.map(|s| s.y + s.half).fold(high, f64::max);
    let bottom = bottom.max(bounds.start).min(low);
    let top = top.min(bounds.end).max(high);
    match top - bottom > 1e-6 * largest {
        true => bottom..top,
        // One value, as far as labels can tell.
        false => bottom - span..bottom + span,
    }
}

/// Decimals that tell ten parts of `span` apart.
pub fn decimals(span: f64) -> usize {
    (1.0 - span.log10().floor()).clamp(0.0, 9.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Better;

    fn shown(unit: &str, values: &[(f64, f64)]) -> Range<f64> {
        let metric = MetricInfo {
            name: String::from("metric"),
            unit: String::from(unit),
            better: Better::Lower,
        };
        let estimates = values.iter().map(|&(mean, half)| Estimate { mean, half });
        let points: Vec<Shown> = estimates
            .filter_map(|value| Shown::new(1.0, value))
            .collect();
        range(points.iter(), &metric)
    }

    #[test]
    fn an_axis_shows_intervals_as_far_as_the_metric_goes() {
        assert_eq!(shown("%", &[(60.0, 5.0), (20.0, 2.0)]), 18.0..65.0);
        assert_eq!(shown("%", &[(60.0, 500.0), (20.0, 2.0)]), 0.0..100.0);
        assert_eq!(shown("", &[(3.0, 0.5), (1.0, 0.5)]), 0.5..3.5);
        assert_eq!(shown("", &[(3.0, 50.0), (1.0, 50.0)]), 0.0..5.0);
        assert_eq!(shown("nats", &[(-3.0, 50.0), (-1.0, 0.0)]), -5.0..1.0);
        // Not a metric of 0 to 100, though in %: all means are seen.
        assert_eq!(shown("%", &[(120.0, 10.0), (-5.0, 1.0)]), -5.0..120.0);
    }

    #[test]
    fn an_axis_of_one_value_or_none_has_a_length() {
        assert_eq!(shown("", &[]), 0.0..1.0);
        assert_eq!(shown("", &[(0.0, 0.0)]), 0.0..1.0);
        assert_eq!(shown("", &[(1e-300, 0.0)]), 0.0..1.0);
        assert_eq!(shown("", &[(20.0, 0.0)]), 19.0..21.0);
        let next = 20.0_f64.next_up();
        assert_eq!(shown("", &[(20.0, f64::NAN), (next, 0.0)]), 19.0..21.0);
    }

    #[test]
    fn what_cannot_be_drawn_takes_no_room() {
        let alone = shown("", &[(3.0, 0.5), (1.0, 0.5)]);
        for lost in [f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(shown("", &[(3.0, 0.5), (1.0, 0.5), (lost, 1.0)]), alone);
        }
        assert_eq!(shown("", &[(3.0, f64::INFINITY), (1.0, 0.5)]), 0.5..3.0);
    }

    #[test]
    fn labels_tell_parts_of_the_axis_apart() {
        for (span, expected) in [(640.0, 0), (12.0, 0), (9.0, 1), (0.5, 2), (0.003, 4)] {
            assert_eq!(decimals(span), expected, "{span}");
        }
        assert_eq!(decimals(0.0), 9);
    }
}
