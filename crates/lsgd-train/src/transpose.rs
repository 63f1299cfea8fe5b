//! Matrices, which Burn and PyTorch store in different orders.

/// The values of a matrix of so many rows and columns, as those of the transposed one.
pub fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| row * columns + column))
        .filter_map(|index| values.get(index).copied())
        .collect()
}
