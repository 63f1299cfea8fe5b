//! The mean of several values and its confidence interval.

/// A mean and the half-width of its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// By Student's t; NaN for fewer than two values.
    pub half: f64,
}

/// The mean of some values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Quantiles 0.975 of Student's t for 1, 2, ... degrees of freedom.
const STUDENT: [f64; 10] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
];

/// The mean of some values and the half-width of its 95 % interval.
pub fn estimate(values: &[f64]) -> Estimate {
    let mean = mean(values);
    let free = values.len().saturating_sub(1);
    let half = match free {
        0 => f64::NAN,
        _ => {
            // Beyond the table: accurate to 0.4 %.
            let quantile = STUDENT.get(free - 1).copied();
            let quantile = quantile.unwrap_or(1.96 + 2.5 / free as f64);
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            quantile * (squares / free as f64 / values.len() as f64).sqrt()
        }
    };
    Estimate { mean, half }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against scipy.stats.t.interval(0.95, n - 1, mean, sem).
    #[test]
    fn intervals_are_students() {
        let close = |values: &[f64], mean: f64, half: f64| {
            let found = estimate(values);
            assert!((found.mean - mean).abs() < 1e-3, "{found:?}");
            assert!((found.half - half).abs() < 2e-3 * half, "{found:?}");
        };
        close(&[36.1, 37.2, 36.4], 36.5667, 1.4126);
        close(&[1.0, 2.0], 1.5, 6.3531);
        let twenty: Vec<f64> = (0..20).map(f64::from).collect();
        close(&twenty, 9.5, 2.7688);
        assert!(estimate(&[3.0]).half.is_nan());
    }
}
