//! At which values contours are drawn.

/// Least ratio of the highest to the lowest value for which levels are spaced by factors.
const WIDE: f64 = 10.0;

/// Most levels.
const MOST: usize = 12;

/// Levels that are spaced evenly: at least about as many.
const EVEN: f64 = 8.0;

/// Values at which contours are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    /// The values, ascending.
    pub values: Vec<f64>,
    /// Whether they are spaced by factors, which asks for interpolation of logarithms.
    pub is_logarithmic: bool,
}

impl Levels {
    /// Round values between the lowest and the highest of these, those that are not finite left out. None if
    /// they are all the same.
    pub fn of(values: &[f64]) -> Self {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let low = finite().fold(f64::INFINITY, f64::min);
        let high = finite().fold(f64::NEG_INFINITY, f64::max);
        let is_logarithmic = low > 0.0 && high / low > WIDE;
        let values = match is_logarithmic {
            true => by_factors(low, high),
            false => evenly(low, high),
        };
        Self {
            values,
            is_logarithmic,
        }
    }

    /// How each is written beside its lines: levels that are spaced evenly with equally many decimals.
    pub fn labels(&self) -> Vec<String> {
        let labels: Vec<String> = self.values.iter().map(|level| label(*level)).collect();
        if self.is_logarithmic || labels.iter().any(|label| label.contains('e')) {
            return labels;
        }
        let decimals = |label: &String| label.split_once('.').map_or(0, |(_, after)| after.len());
        let most = labels.iter().map(decimals).max().unwrap_or(0);
        let values = self.values.iter();
        values.map(|level| format!("{level:.most$}")).collect()
    }
}

/// 1, 2 and 5 times powers of ten; of a wide range only the powers, or every so many of them.
fn by_factors(low: f64, high: f64) -> Vec<f64> {
    let exponents = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let between = |factors: &[i64], every: i32| -> Vec<f64> {
        let exponents = exponents.clone().filter(|exponent| exponent % every == 0);
        let levels =
            exponents.flat_map(|exponent| factors.iter().map(move |f| round(*f, exponent)));
        levels
            .filter(|level| *level > low && *level < high)
            .collect()
    };
    let all = between(&[1, 2, 5], 1);
    if all.len() <= MOST {
        return all;
    }
    let widest = exponents.end() - exponents.start() + 1;
    let mut powers = (1..=widest).map(|every| between(&[1], every));
    powers
        .find(|levels| levels.len() <= MOST)
        .unwrap_or_default()
}

fn evenly(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    // Less than that is rounding.
    if !span.is_finite() || span <= 1e-9 * low.abs().max(high.abs()) {
        return Vec::new();
    }
    let least = span / EVEN;
    let exponent = least.log10().floor() as i32;
    let factor = [5, 2, 1]
        .into_iter()
        .find(|factor| round(*factor, exponent) <= least);
    let factor = factor.unwrap_or(1);
    let step = round(factor, exponent);
    let first = (low / step).floor() as i64;
    let multiples = (0..).map(|index| round((first + index) * factor, exponent));
    let below = multiples.take_while(|level| *level < high);
    below.filter(|level| *level > low).collect()
}

/// `factor` times ten to the `exponent`, correctly rounded: the number that is written so.
fn round(factor: i64, exponent: i32) -> f64 {
    format!("{factor}e{exponent}").parse().unwrap_or(f64::NAN)
}

/// A level with as few digits as it has.
fn label(level: f64) -> String {
    match level.abs() {
        0.0 => String::from("0"),
        size if !(1e-3..1e5).contains(&size) => format!("{level:e}"),
        _ => level.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn levels_are_round() {
        for (values, expected, is_logarithmic) in [
            (&[0.04, 3.0][..], &[0.05, 0.1, 0.2, 0.5, 1.0, 2.0][..], true),
            (
                &[1.0, 1.9],
                &[1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8],
                false,
            ),
            (
                &[0.0, 100.0],
                &[10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0],
                false,
            ),
            (
                &[-1.0, 1.0],
                &[-0.8, -0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6, 0.8],
                false,
            ),
            (
                &[f64::NAN, 1.0, f64::INFINITY, 1.9],
                &[1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8],
                false,
            ),
            (&[2.0, 2.0], &[], false),
            (&[], &[], false),
            (&[f64::NAN], &[], false),
        ] {
            let levels = Levels::of(values);
            assert_eq!(levels.values, expected, "{values:?}");
            assert_eq!(levels.is_logarithmic, is_logarithmic, "{values:?}");
        }
        let wide = Levels::of(&[0.5, 2e6]).values;
        assert_eq!(wide, [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6]);
    }

    #[test]
    fn labels_are_short() {
        for (level, expected) in [
            (0.05, "0.05"),
            (-0.0, "0"),
            (2.0, "2"),
            (50_000.0, "50000"),
            (1e5, "1e5"),
            (2e-4, "2e-4"),
            (-0.2, "-0.2"),
        ] {
            assert_eq!(label(level), expected);
        }
        let labels = |values: &[f64]| Levels::of(values).labels();
        let even = [
            "1.90", "1.92", "1.94", "1.96", "1.98", "2.00", "2.02", "2.04",
        ];
        assert_eq!(labels(&[1.89, 2.055]), even);
        assert_eq!(labels(&[0.4, 6.0]), ["0.5", "1", "2", "5"]);
    }

    proptest! {
        #[test]
        fn levels_ascend_between_the_values(
            low in -1e6f64..1e6, exponent in -9i32..300, share in 0.1f64..1.0,
        ) {
            for low in [low, low.abs() + 1e-9] {
                let high = low + share * 10f64.powi(exponent);
                let Levels { values, .. } = Levels::of(&[low, high]);
                prop_assert!(values.len() <= 24, "{:?}", values);
                prop_assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", values);
                prop_assert!(values.iter().all(|level| *level > low && *level < high));
            }
        }
    }
}
