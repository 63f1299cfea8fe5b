//! Marks and texts of a picture.

use std::error::Error;

use lsgd_core::Source;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::labels::{Area, Labels};
use super::point::Point;
use super::survey::Placed;
use crate::report::axis_label;
use crate::storage::Which;

/// Size of texts, as plotters counts it.
pub const TEXT: i32 = 16;
/// Height of a text in a picture, in pixels.
pub const LINE: i32 = 17;
/// Width of most letters, and of narrow ones.
const LETTER: f64 = 7.2;
const NARROW: f64 = 4.5;
/// The colour of texts and marks.
pub const INK: RGBColor = RGBColor(30, 30, 30);

/// What drawing returns.
pub type Drawn<'a, T> = Result<T, Box<dyn Error + 'a>>;
/// A place of the picture, from its upper left corner.
pub type Pixel = (i32, i32);
/// The whole picture.
pub type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A vector's name beside its mark.
pub struct Name {
    /// The name, and the distance of a vector beside the plane.
    pub text: String,
    /// Where it is.
    pub area: Area,
}

impl Name {
    /// The name of vector `index` of a landscape, whose mark is at a place, if there is room.
    pub fn new(index: usize, placed: &Placed, (x, y): Pixel, labels: &mut Labels) -> Option<Self> {
        let is_corner = index < 3;
        let name = named(placed);
        let text = match is_corner {
            true => name,
            false => format!("{name}, {}", axis_label(placed.distance, placed.distance)),
        };
        let (width, across) = (width(&text) + 6, LINE / 2 + 8);
        let aside = width / 2 + 9;
        let places = [
            (x + aside, y),
            (x - aside, y),
            (x, y - across),
            (x, y + across),
            (x + aside, y - across),
            (x - aside, y - across),
            (x + aside, y + across),
            (x - aside, y + across),
        ];
        let areas = places.map(|place| Area::around(place, width, LINE));
        // Of many workers not all have room for a name; the three have one in any case.
        let area = match is_corner {
            true => labels.place_anyway(areas),
            false => labels.place(areas),
        }?;
        Some(Self { text, area })
    }
}

/// A vector's name, and of a leader which worker it is.
fn named(placed: &Placed) -> String {
    match (placed.point, placed.source) {
        (Point::Of(Which::Leader), Source::Worker { id, .. }) => {
            format!("leader (worker-{})", id.worker)
        }
        (Point::GlobalLeader, Source::Worker { id, .. }) => {
            let node = u64::from(id.node) + 1;
            format!("global-leader (node {node}, worker-{})", id.worker)
        }
        (point, _) => point.to_string(),
    }
}

/// The mark of a vector.
pub fn mark<'a>(root: &Root<'a>, at: Pixel, is_corner: bool) -> Drawn<'a, ()> {
    root.draw(&Circle::new(at, 7, WHITE.filled()))?;
    match is_corner {
        true => root.draw(&Circle::new(at, 5, INK.filled()))?,
        false => root.draw(&Circle::new(at, 5, INK.stroke_width(2)))?,
    }
    Ok(())
}

/// A text in the middle of an area, on white.
pub fn boxed<'a>(root: &Root<'a>, area: Area, text: &str) -> Drawn<'a, ()> {
    let Area {
        left,
        top,
        width,
        height,
    } = area;
    let corners = [(left, top), (left + width, top + height)];
    root.draw(&Rectangle::new(corners, WHITE.mix(0.85).filled()))?;
    let style = ("sans-serif", TEXT).into_font().color(&INK);
    let style = style.pos(Pos::new(HPos::Center, VPos::Center));
    root.draw(&Text::new(text.to_owned(), area.centre(), style))?;
    Ok(())
}

/// A text from its upper left corner on.
pub fn write<'a>(root: &Root<'a>, at: Pixel, text: &str, size: i32) -> Drawn<'a, ()> {
    let style = ("sans-serif", size).into_font().color(&INK);
    root.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

/// About how wide a text is, in pixels.
pub fn width(text: &str) -> i32 {
    let letter = |letter: char| match letter {
        'f' | 'i' | 'j' | 'l' | 'r' | 't' | '(' | ')' | '-' | ',' | '.' | ' ' => NARROW,
        _ => LETTER,
    };
    text.chars().map(letter).sum::<f64>().ceil() as i32
}
