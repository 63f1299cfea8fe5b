//! A page about runs while they go on, over HTTP: the charts of their report.
//!
//! Everything is read from the runs' folders, by a thread of its own, only while someone looks, and no
//! more often than takes a hundredth of one core: training does not know of it. As each answer holds the
//! whole state, a late visitor sees all of it, and one that comes back has missed nothing.

mod error;
mod guard;
mod pages;
mod server;
mod token;

pub use error::ServeError;
pub use server::Server;
pub use token::TOKEN;
