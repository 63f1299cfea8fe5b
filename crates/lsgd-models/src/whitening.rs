//! Filters that whiten small patches of images (arXiv 2404.00498, section 3.2).
//!
//! Neighbouring pixels are alike, so that a first layer with random weights sees mostly brightness. These
//! filters are the eigenvectors of the patches' mean products, each divided by the root of its mean square.
//!
//! Plain arithmetic in a fixed order, so that every node of a run has the same filters to the bit; the
//! matrices have a dozen rows.

/// Height and width of a patch.
pub(crate) const SIDE: usize = 2;

/// Added to the mean squares, so that components that are hardly ever seen are not amplified without limit.
const EPSILON: f64 = 5e-4;

/// Sweeps over all pairs of rows at most; after about six, nothing is left to rotate.
const SWEEPS: usize = 64;

/// Number of filters for images of so many channels: each component and its negative.
pub(crate) const fn filters_of(channels: usize) -> usize {
    2 * channels * SIDE * SIDE
}

/// Filters for the first layer of [`CifarNet`](crate::CifarNet) that whiten the patches of images: over
/// these, the layer's outputs before the ReLU have mean squares of one and mean products of zero.
///
/// Each filter comes with its negative, so that the ReLU loses nothing. Without them the network needs about
/// twice the epochs (arXiv 2404.00498, section 3.2).
#[derive(Debug, Clone, PartialEq)]
pub struct Whitening {
    /// `[filters][channels][SIDE][SIDE]`: the components of the largest mean square first, then their negatives.
    filters: Vec<f32>,
}

impl Whitening {
    /// The filters for `images`, `[images][channels][height][width]`, normalised as in training; `shape` is
    /// that of one. Some thousand are enough.
    ///
    /// # Panics
    ///
    /// If `images` are not whole images of that shape.
    pub fn of(images: &[f32], shape: [usize; 3]) -> Self {
        let (components, squares) = eigenvectors(second_moments(images, shape));
        let mut order: Vec<usize> = (0..squares.len()).collect();
        order.sort_by(|&a, &b| squares[b].total_cmp(&squares[a]));
        let scaled = order.into_iter().flat_map(|index| {
            let scale = 1.0 / (squares[index].max(0.0) + EPSILON).sqrt();
            components[index].iter().map(move |value| value * scale)
        });
        let scaled: Vec<f32> = scaled.map(|value| value as f32).collect();
        let negatives: Vec<f32> = scaled.iter().map(|value| -value).collect();
        Self {
            filters: [scaled, negatives].concat(),
        }
    }

    pub(crate) fn filters(&self) -> &[f32] {
        &self.filters
    }
}

/// A symmetric matrix, by rows.
type Matrix = Vec<Vec<f64>>;

/// The mean products of the values of a patch, over all patches of all images.
fn second_moments(images: &[f32], [channels, height, width]: [usize; 3]) -> Matrix {
    let size = channels * SIDE * SIDE;
    let (mut sums, mut count) = (vec![vec![0.0; size]; size], 0u64);
    let image = channels * height * width;
    assert!(
        image > 0 && images.len().is_multiple_of(image),
        "whole images"
    );
    let mut patch = vec![0.0; size];
    for image in images.chunks_exact(image) {
        for row in 0..(height + 1).saturating_sub(SIDE) {
            for column in 0..(width + 1).saturating_sub(SIDE) {
                let values = patch.chunks_exact_mut(SIDE * SIDE);
                for (values, plane) in values.zip(image.chunks_exact(height * width)) {
                    for (k, value) in values.iter_mut().enumerate() {
                        *value = f64::from(plane[(row + k / SIDE) * width + column + k % SIDE]);
                    }
                }
                for (sums, a) in sums.iter_mut().zip(&patch) {
                    sums.iter_mut()
                        .zip(&patch)
                        .for_each(|(sum, b)| *sum += a * b);
                }
                count += 1;
            }
        }
    }
    let count = count.max(1) as f64;
    sums.iter_mut().flatten().for_each(|sum| *sum /= count);
    sums
}

/// The eigenvectors of a symmetric matrix and their eigenvalues, by Jacobi's rotations (Golub and Van Loan,
/// Matrix Computations, section 8.5).
fn eigenvectors(mut matrix: Matrix) -> (Matrix, Vec<f64>) {
    let size = matrix.len();
    let mut vectors: Matrix = (0..size)
        .map(|row| {
            (0..size)
                .map(|column| f64::from(u8::from(row == column)))
                .collect()
        })
        .collect();
    let whole: f64 = matrix.iter().flatten().map(|value| value * value).sum();
    for _ in 0..SWEEPS {
        let pairs = (0..size).flat_map(|p| (p + 1..size).map(move |q| (p, q)));
        let left: f64 = pairs.clone().map(|(p, q)| matrix[p][q].powi(2)).sum();
        if left <= whole * f64::EPSILON.powi(2) {
            break;
        }
        for (p, q) in pairs {
            if matrix[p][q] == 0.0 {
                continue;
            }
            // The smaller of the two angles that make the entry at (p, q) zero.
            let half = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
            let tangent = half.signum() / (half.abs() + (half * half + 1.0).sqrt());
            let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
            let sine = tangent * cosine;
            let turn = |a: f64, b: f64| (cosine * a - sine * b, sine * a + cosine * b);
            for row in &mut matrix {
                (row[p], row[q]) = turn(row[p], row[q]);
            }
            for rows in [&mut matrix, &mut vectors] {
                let (before, after) = rows.split_at_mut(q);
                for (a, b) in before[p].iter_mut().zip(&mut after[0]) {
                    (*a, *b) = turn(*a, *b);
                }
            }
        }
    }
    let squares = (0..size).map(|index| matrix[index][index]).collect();
    (vectors, squares)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Images in which neighbours are alike.
    fn images(count: usize, [channels, height, width]: [usize; 3]) -> Vec<f32> {
        let mut state = 1u64;
        let mut value = 0.0;
        (0..count * channels * height * width)
            .map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                value = 0.9 * value + (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
                value
            })
            .collect()
    }

    /// Outputs of the filters over all patches are uncorrelated, and of variance one but for epsilon.
    #[test]
    fn outputs_are_white() {
        let shape = [3, 6, 5];
        let images = images(40, shape);
        let filters = Whitening::of(&images, shape).filters;
        let size = 3 * SIDE * SIDE;
        assert_eq!(filters.len(), filters_of(3) * size);
        let (half, negatives) = filters.split_at(size * size);
        assert!(half.iter().zip(negatives).all(|(a, b)| *a == -*b));
        let moments = second_moments(&images, shape);
        let product = |a: &[f32], b: &[f32]| -> f64 {
            let of_row = |(a, row): (&f32, &Vec<f64>)| -> f64 {
                let of_row = row.iter().zip(b).map(|(m, b)| m * f64::from(*b));
                f64::from(*a) * of_row.sum::<f64>()
            };
            a.iter().zip(&moments).map(of_row).sum()
        };
        let all: Vec<&[f32]> = half.chunks_exact(size).collect();
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                let found = product(a, b);
                // Epsilon takes its share of the small ones: v / (v + epsilon).
                let expected = if i == j { found.clamp(0.9, 1.0) } else { 0.0 };
                assert!((found - expected).abs() < 1e-4, "{i} {j}: {found}");
            }
        }
    }

    /// Images of one colour have one component; the others stay finite.
    #[test]
    fn images_without_content_give_finite_filters() {
        for value in [0.0, 1.0] {
            let filters = Whitening::of(&vec![value; 2 * 3 * 4 * 4], [3, 4, 4]).filters;
            assert!(filters.iter().all(|value| value.is_finite()));
        }
    }

    proptest! {
        /// Eigenvectors are orthonormal, and put the matrix together again.
        #[test]
        fn a_matrix_is_the_sum_of_its_components(
            size in 1usize..9,
            values in prop::collection::vec(-1.0f64..1.0, 81),
        ) {
            let matrix: Matrix = (0..size)
                .map(|i| (0..size).map(|j| values[i.min(j) * 9 + i.max(j)]).collect())
                .collect();
            let (vectors, squares) = eigenvectors(matrix.clone());
            for i in 0..size {
                for j in 0..size {
                    let dot: f64 = vectors[i].iter().zip(&vectors[j]).map(|(a, b)| a * b).sum();
                    prop_assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12);
                    let sum: f64 = (0..size)
                        .map(|k| squares[k] * vectors[k][i] * vectors[k][j])
                        .sum();
                    prop_assert!((sum - matrix[i][j]).abs() < 1e-12);
                }
            }
        }
    }
}
