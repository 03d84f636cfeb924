//! What holds for every message about bad input.

use anyhow::Error;

/// The longest message, in bytes: it repeats up to three pieces of foreign
/// text of 200 characters, of which each may be an escape of ten bytes.
const LONGEST: usize = 3 * 200 * 10 + 512;

/// A message is one line, without characters that a terminal acts on, and not
/// long, whatever the input was.
pub fn check(error: &Error) {
    let text = format!("{error:#}");
    assert!(!text.is_empty(), "no message");
    assert!(text.len() <= LONGEST, "{} bytes: {text:?}", text.len());
    assert!(!text.contains(acted_on), "{text:?}");
}

/// Control characters, line separators, and those that change the direction
/// of the text.
fn acted_on(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
