//! A part of a page.

/// A heading and what stands under it.
pub struct Section {
    /// The heading.
    pub title: String,
    /// HTML.
    pub body: String,
    /// Whether it is closed at first.
    pub closed: bool,
}

impl Section {
    /// One that is open.
    pub fn new(title: &str, body: String) -> Self {
        Self {
            title: title.to_owned(),
            body,
            closed: false,
        }
    }

    /// One that is closed at first.
    pub fn closed(title: &str, body: String) -> Self {
        Self {
            closed: true,
            ..Self::new(title, body)
        }
    }
}
