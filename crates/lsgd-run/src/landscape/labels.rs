//! Where texts stand in a picture, so that they do not cover each other.

/// A rectangle of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Its left edge.
    pub left: i32,
    /// Its upper edge; downward is more.
    pub top: i32,
    /// Its width.
    pub width: i32,
    /// Its height.
    pub height: i32,
}

impl Area {
    /// The rectangle of this size around a point.
    pub fn around((x, y): (i32, i32), width: i32, height: i32) -> Self {
        Self {
            left: x - width / 2,
            top: y - height / 2,
            width,
            height,
        }
    }

    /// Its centre.
    pub fn centre(&self) -> (i32, i32) {
        (self.left + self.width / 2, self.top + self.height / 2)
    }

    fn shared_with(&self, other: &Self) -> i32 {
        let shared = |from: i32, length: i32, other_from: i32, other_length: i32| {
            let end = (from + length).min(other_from + other_length);
            (end - from.max(other_from)).max(0)
        };
        shared(self.left, self.width, other.left, other.width)
            * shared(self.top, self.height, other.top, other.height)
    }
}

/// The places of a picture that are taken.
#[derive(Debug, Clone)]
pub struct Labels {
    within: Area,
    taken: Vec<Area>,
}

impl Labels {
    /// For texts within an area of which nothing is taken.
    pub fn new(within: Area) -> Self {
        Self {
            within,
            taken: Vec::new(),
        }
    }

    /// The area within which texts stand.
    pub fn within(&self) -> Area {
        self.within
    }

    /// Keeps an area clear.
    pub fn take(&mut self, area: Area) {
        self.taken.push(area);
    }

    /// Takes the first of these areas that is free.
    pub fn place(&mut self, areas: impl IntoIterator<Item = Area>) -> Option<Area> {
        let free = areas.into_iter().find(|area| self.covered(area) == 0)?;
        self.take(free);
        Some(free)
    }

    /// Takes the first of these areas that covers least of others, and of what is outside.
    pub fn place_anyway(&mut self, areas: impl IntoIterator<Item = Area>) -> Option<Area> {
        let best = areas.into_iter().min_by_key(|area| self.covered(area))?;
        self.take(best);
        Some(best)
    }

    /// How much of an area is taken already, or outside.
    fn covered(&self, area: &Area) -> i32 {
        let outside = area.width * area.height - area.shared_with(&self.within);
        let taken = self.taken.iter().map(|taken| area.shared_with(taken));
        outside + taken.sum::<i32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_takes_the_first_place_that_is_free() {
        let mut labels = Labels::new(Area::around((50, 50), 100, 100));
        let at = |x: i32, y: i32| Area::around((x, y), 20, 10);
        labels.take(Area::around((50, 50), 10, 10));
        // Over what is taken, over the rim, free.
        let placed = labels.place([at(52, 52), at(95, 50), at(70, 50)]);
        assert_eq!(placed, Some(at(70, 50)));
        assert_eq!(labels.place([at(70, 50), at(75, 54)]), None);
        // The one that covers least.
        let placed = labels.place_anyway([at(50, 50), at(69, 50), at(85, 54)]);
        assert_eq!(placed, Some(at(85, 54)));
        assert_eq!(at(85, 54).centre(), (85, 54));
    }
}
