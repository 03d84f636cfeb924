//! The terminal that standard output is, if it is one.

use std::io::{IsTerminal as _, stdout};

use rustix::termios::tcgetwinsize;

/// The rows and columns of a terminal. One that does not know its size, such as on a
/// serial line, has no bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Screen {
    /// Returns the size of the terminal; `None` if the output is not a terminal.
    pub(super) fn find() -> Option<Self> {
        let size = tcgetwinsize(stdout().is_terminal().then(stdout)?).ok()?;
        Some(Self {
            rows: bound(size.ws_row),
            columns: bound(size.ws_col),
        })
    }

    /// Returns the lines of a text that fit, and one that says how many do not. The last
    /// row is left for the cursor; the terminal continues a long line on the next row.
    pub(super) fn cut(self, text: &str) -> String {
        let height = |line: &str| line.chars().count().div_ceil(self.columns).max(1);
        if text.lines().map(height).sum::<usize>() < self.rows {
            return text.to_owned();
        }
        let lines: Vec<_> = text.lines().collect();
        let (mut used, mut fitting) = (0, 0);
        for line in &lines {
            used += height(line);
            if used + 2 > self.rows {
                break;
            }
            fitting += 1;
        }
        let (shown, hidden) = lines.split_at(fitting);
        format!("{}\n... and {} more lines", shown.join("\n"), hidden.len())
    }
}

fn bound(number: u16) -> usize {
    match number {
        0 => usize::MAX,
        number => number.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_to_the_rows() {
        let cut = |text, rows, columns| Screen { rows, columns }.cut(text);
        assert_eq!(cut("a\nb\nc", 4, 80), "a\nb\nc");
        assert_eq!(cut("a\nb\nc\nd", 4, 80), "a\nb\n... and 2 more lines");
        assert_eq!(cut("long\nb", 4, 2), "long\nb");
        assert_eq!(cut("long\nb\nc", 4, 2), "long\n... and 2 more lines");
        assert_eq!(cut("a\nlong\nb", 4, 2), "a\n... and 2 more lines");
        assert_eq!(cut("long\nb", usize::MAX, usize::MAX), "long\nb");
    }
}
