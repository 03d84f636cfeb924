//! How the inputs that are several texts are written.

use std::borrow::Cow;

/// Between two texts of one input.
const BETWEEN: &str = "\n---\n";

/// Bytes as text, as the hook reads files of procfs.
pub fn of(data: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// Two texts; the second is empty if there is but one.
pub fn two(text: &str) -> (&str, &str) {
    text.split_once(BETWEEN).unwrap_or((text, ""))
}

/// Annotations, a line `KEY=VALUE` for each.
pub fn annotations(text: &str) -> Vec<(String, String)> {
    text.split('\n')
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
