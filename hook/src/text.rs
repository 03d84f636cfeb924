//! Text of messages: foreign text, how numbers in it are parsed and how it is repeated, and
//! counts.

use std::str::FromStr;

/// Parses a number in plain decimal: no sign, no leading zeros.
pub fn parse_decimal<T: FromStr>(text: &str) -> Option<T> {
    let plain = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    plain.then(|| text.parse().ok()).flatten()
}

/// Writes a number of things, such as "1 cgroup" or "2 cgroups": `noun` takes an s.
pub fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// The longest piece of foreign text that a message repeats, in characters.
const LONGEST: usize = 200;

/// Puts foreign text in double quotes, on one line, cut if it is very long.
pub fn quote(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

/// Puts a message of another library on one line, cut if it is very long.
pub fn one_line(message: &str) -> String {
    let cut = message.trim_ascii_end().chars().take(2 * LONGEST);
    printable(&cut.collect::<String>())
}

/// Makes foreign text safe for a terminal: control characters, and others that are not
/// printed but have an effect, become escapes.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_printable(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_debug());
        }
    }
    shown
}

/// Whether a character is printed and has no other effect.
pub fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~') || character.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!(count(0, "problem"), "0 problems");
        assert_eq!(count(1, "problem"), "1 problem");
        assert_eq!(count(2, "problem"), "2 problems");
    }

    #[test]
    fn foreign_text_stays_on_one_line_and_short() {
        assert_eq!(quote("a\nb\u{2028}"), r#""a\nb\u{2028}""#);
        assert!(quote(&"é".repeat(5000)).len() < 500);
        assert_eq!(one_line("a \"b\"\nc\u{1b}\n"), r#"a "b"\nc\u{1b}"#);
        assert_eq!(one_line(&"x".repeat(5000)), "x".repeat(400));
        assert_eq!(quote(&"x".repeat(200)), format!("\"{}\"", "x".repeat(200)));
        let cut = format!("\"{}\"...", "x".repeat(200));
        assert_eq!(quote(&"x".repeat(201)), cut);
    }
}
