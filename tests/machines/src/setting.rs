//! What the environment selects.

use anyhow::{Result, ensure};

/// The value of a variable; `default` if it is not set, or empty.
pub fn text(name: &str, default: &str) -> String {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => default.to_owned(),
    }
}

/// The words of a variable, or of `default`.
pub fn words(name: &str, default: &str) -> Vec<String> {
    let text = text(name, default);
    text.split_whitespace().map(str::to_owned).collect()
}

/// A number of machines, one at least.
pub fn number(name: &str, default: &str) -> Result<usize> {
    let text = text(name, default);
    let number = text.parse().unwrap_or(0);
    ensure!(number > 0, "{name}={text}: not a number of 1 or more");
    Ok(number)
}
