//! A table of text on a terminal: cut where that is too narrow, never wrapped.

/// Blanks between two columns.
const GAP: usize = 2;

/// Fewest characters that a first column is cut to.
const NARROWEST: usize = 12;

/// A line of a table. All cells are ASCII without control characters.
pub(super) enum Row<const N: usize> {
    /// A cell for each column.
    Whole([String; N]),
    /// Cells of the first columns, and a text in place of the others, which widens none.
    Cut(Vec<String>, String),
}

impl<const N: usize> Row<N> {
    fn cells(&self) -> &[String] {
        match self {
            Self::Whole(cells) => cells,
            Self::Cut(cells, _) => cells,
        }
    }
}

/// The lines of a table, at most `width` characters long if that is given: the first column is made
/// narrower first, down to a third of the width, then what is too far right is left out.
pub(super) fn table<const N: usize>(
    head: &[&str; N],
    rows: &[Row<N>],
    width: Option<usize>,
) -> String {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row.cells()) {
            *width = cell.len().max(*width);
        }
    }
    let whole: usize = widths.iter().map(|width| width + GAP).sum::<usize>() - GAP;
    if let Some(width) = width
        && whole > width
    {
        let least = NARROWEST.max(width / 3);
        widths[0] = widths[0].min(least.max(widths[0].saturating_sub(whole - width)));
    }
    let mut text = line(&widths, width, head, "");
    for row in rows {
        text += &match row {
            Row::Whole(cells) => line(&widths, width, cells, ""),
            Row::Cut(cells, rest) => line(&widths, width, cells, rest),
        };
    }
    text
}

/// A line of cells of these widths, and the rest of it, at most `most` characters long.
fn line(widths: &[usize], most: Option<usize>, cells: &[impl AsRef<str>], rest: &str) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        line += &format!("{:width$}  ", cut(cell.as_ref(), *width));
    }
    line += rest;
    let line = cut(line.trim_end(), most.unwrap_or(usize::MAX));
    line.trim_end().to_owned() + "\n"
}

/// A text of at most so many characters, with two dots in place of what is left out.
pub(super) fn cut(text: &str, width: usize) -> String {
    match text.len() > width {
        true if width > 2 => format!("{}..", &text[..width - 2]),
        true => text[..width].to_owned(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row<3>> {
        let whole = |cells: [&str; 3]| Row::Whole(cells.map(String::from));
        let cells = vec![String::from("bad"), String::from("no")];
        vec![
            whole(["a-name-that-is-long", "running", "12"]),
            whole(["b", "ended", "345"]),
            Row::Cut(cells, String::from("a long text of its own")),
        ]
    }

    const HEAD: [&str; 3] = ["RUN", "STATE", "STEPS"];

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let expected = "\
RUN                  STATE    STEPS
a-name-that-is-long  running  12
b                    ended    345
bad                  no       a long text of its own
";
        assert_eq!(table(&HEAD, &rows(), None), expected);
        assert_eq!(table(&HEAD, &rows(), Some(200)), expected);
    }

    #[test]
    fn a_narrow_terminal_cuts_names_and_then_columns() {
        let expected = "\
RUN             STATE    STEPS
a-name-that-..  running  12
b               ended    345
bad             no       a l..
";
        assert_eq!(table(&HEAD, &rows(), Some(30)), expected);
        let expected = "\
RUN           STATE..
a-name-tha..  runni..
b             ended..
bad           no   ..
";
        assert_eq!(table(&HEAD, &rows(), Some(21)), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 0..60 {
            for line in table(&HEAD, &rows(), Some(width)).lines() {
                assert!(line.len() <= width, "{width}: {line:?}");
            }
        }
    }
}
