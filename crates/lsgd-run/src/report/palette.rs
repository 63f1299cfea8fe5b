//! Colours of charts.

/// Colours that remain distinct with colour blindness (Okabe and Ito), in red, green and blue. The last
/// but one is the foreground's.
pub const COLORS: [(u8, u8, u8); 8] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (0, 0, 0),
    (150, 150, 150),
];

/// Length of a dash.
pub const DASH: i32 = 6;

/// The colour of series `index`.
pub fn color(index: usize) -> (u8, u8, u8) {
    COLORS[index % COLORS.len()]
}

/// Gap between the dashes of series `index`; none while the colour alone identifies it.
pub fn gap(index: usize) -> Option<i32> {
    let before = index / COLORS.len();
    (before > 0).then_some(4 * before as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_series_of_a_picture_look_the_same() {
        let looks: Vec<_> = (0..24).map(|index| (color(index), gap(index))).collect();
        for (index, look) in looks.iter().enumerate() {
            assert!(!looks[..index].contains(look), "series {index}");
        }
    }
}
