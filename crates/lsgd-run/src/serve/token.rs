//! What visitors from other machines have to know.

/// The variable that holds the token. A command line could be seen by other users of the machine.
pub const TOKEN: &str = "LSGD_SERVE_TOKEN";

/// Fewest letters of a token.
pub const SHORTEST: usize = 16;
/// Most letters of a token.
pub const LONGEST: usize = 128;

/// Whether a token is long enough, and stands in an address as it is.
pub fn fits(token: &str) -> bool {
    let fits = |letter: u8| letter.is_ascii_alphanumeric() || b"-_".contains(&letter);
    (SHORTEST..=LONGEST).contains(&token.len()) && token.bytes().all(fits)
}
