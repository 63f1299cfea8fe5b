//! A text without an author: sentences of a small grammar.

use lsgd_run::generator;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

const ADJECTIVES: [&str; 8] = [
    "old", "small", "quick", "green", "quiet", "proud", "tired", "young",
];
const NOUNS: [&str; 8] = [
    "cat", "robin", "farmer", "dog", "sailor", "horse", "baker", "owl",
];
const PLACES: [&str; 4] = ["near", "behind", "above", "beside"];
const VERBS: [&str; 8] = [
    "follow", "see", "know", "hear", "fear", "greet", "help", "find",
];

/// Text of at least `length` characters, always the same. Verbs agree with their subjects over whatever
/// stands between them: `the old cats near the small dog see the quiet owl.`
pub fn generated(length: usize) -> String {
    let mut random = generator("lsgd-run examples: characters, text", &[1]);
    let mut text = String::new();
    while text.len() < length {
        let plural = random.random();
        text += &nouns(&mut random, plural);
        if random.random() {
            let plural = random.random();
            let nouns = nouns(&mut random, plural);
            text += &format!(" {} {nouns}", word(&mut random, &PLACES));
        }
        let ending = if plural { "" } else { "s" };
        text += &format!(" {}{ending} ", word(&mut random, &VERBS));
        let plural = random.random();
        text += &nouns(&mut random, plural);
        text += ".\n";
    }
    text
}

fn nouns(random: &mut ChaCha8Rng, plural: bool) -> String {
    let ending = if plural { "s" } else { "" };
    let (adjective, noun) = (word(random, &ADJECTIVES), word(random, &NOUNS));
    format!("the {adjective} {noun}{ending}")
}

fn word<'a>(random: &mut ChaCha8Rng, words: &[&'a str]) -> &'a str {
    words[random.random_range(0..words.len())]
}
