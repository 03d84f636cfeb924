//! The columns of the table of `status`, within the width of a terminal: pure.

use std::ops::RangeInclusive;

pub(super) const COLUMNS: usize = 10;
/// The columns that are aligned to the right.
const NUMBERS: RangeInclusive<usize> = 5..=8;

const CONTAINER: usize = 0;
const CGROUP: usize = 9;

/// Which columns are shortened if a line is too long, in this order, and to what width: not
/// the addresses, nor the id of a container with its mark.
const SHORTENED: [(usize, usize); 4] =
    [(CGROUP, 24), (CONTAINER, 24), (CGROUP, 7), (CONTAINER, 13)];

/// All columns on one line.
const FLAT: [usize; COLUMNS] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
/// What tells cgroups apart, and below it the rest of the policy and the numbers.
const FOLDED: [&[usize]; 2] = [&[CONTAINER, 1, 2, CGROUP], &[3, 4, 5, 6, 7, 8]];

/// What stands between two columns, and before the second line of a row.
const GAP: &str = "  ";

type Row = [String; COLUMNS];

/// Formats rows, the first of which is the head, on one line each if that fits into the
/// width, and on two otherwise.
pub(super) fn lines(rows: &[Row], width: Option<usize>) -> String {
    let room = width.unwrap_or(usize::MAX);
    let flat = widths(rows, &FLAT, room);
    let parts: Vec<(&[usize], Vec<usize>)> = match length(&flat) <= room {
        true => vec![(&FLAT, flat)],
        false => FOLDED
            .map(|columns| (columns, widths(rows, columns, room)))
            .into(),
    };
    let mut text = String::new();
    for row in rows {
        for (number, (columns, widths)) in parts.iter().enumerate() {
            text.push_str(if number == 0 { "" } else { GAP });
            text.push_str(&line(row, columns, widths));
            text.push('\n');
        }
    }
    text
}

/// Returns the widths of some columns: as wide as what is in them, or less if they take
/// more than the room.
fn widths(rows: &[Row], columns: &[usize], room: usize) -> Vec<usize> {
    let count = |row: &Row, column: usize| row[column].chars().count();
    let widest = |&column: &usize| rows.iter().map(|row| count(row, column)).max();
    let mut widths: Vec<usize> = columns.iter().filter_map(widest).collect();
    for (column, least) in SHORTENED {
        if let Some(at) = columns.iter().position(|&other| other == column) {
            let excess = length(&widths).saturating_sub(room);
            widths[at] -= excess.min(widths[at].saturating_sub(least));
        }
    }
    widths
}

fn length(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1)
}

fn line(row: &Row, columns: &[usize], widths: &[usize]) -> String {
    let cells = columns.iter().zip(widths).map(|(&column, &width)| {
        let cell = shortened(&row[column], width);
        match NUMBERS.contains(&column) {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        }
    });
    let line = cells.collect::<Vec<_>>().join(GAP);
    line.trim_end().to_owned()
}

/// Puts an ellipsis in the place of the middle of a text that is too long.
fn shortened(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let start = kept / 2;
    let end = count - (kept - start);
    let (start, end) = (text.chars().take(start), text.chars().skip(end));
    start.chain(['…']).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::status::table::HEAD;

    const CGROUP_PATH: &str = "/machine.slice/libpod-\
        5f2a7c1e9b3d4f60a8c2e4b6d8f0a1c3e5b7d9f1a3c5e7092b4d6f8091a3c5e7.scope";

    fn rows() -> [Row; 2] {
        let row = [
            "5f2a7c1e9b3d*",
            "192.168.100.200",
            "2001:db8:c170:b0f:5054:e0ff:fe12:3456",
            "127.128.100.200",
            "off",
            "+1000  10000",
            "+1000  10000",
            "7",
            "8",
            CGROUP_PATH,
        ];
        [HEAD, row].map(|row| row.map(str::to_owned))
    }

    #[test]
    fn without_a_width_nothing_is_shortened() {
        let text = lines(&rows(), None);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains(CGROUP_PATH), "{text}");
    }

    #[test]
    fn a_wide_terminal_shortens_the_cgroup_alone() {
        let text = lines(&rows(), Some(180));
        let all: Vec<_> = text.lines().collect();
        assert_eq!(all.len(), 2, "{text}");
        assert_eq!(all[1].chars().count(), 180, "{text}");
        assert!(
            all[1].contains("  /machine") && all[1].ends_with("3c5e7.scope"),
            "{text}"
        );
    }

    #[test]
    fn eighty_columns_have_room_for_all_but_the_cgroup() {
        let text = lines(&rows(), Some(80));
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(
            text.contains("GUARD     REWRITTEN        PASSED  DENIED  DROPPED\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "5f2a7c1e9b3d*  192.168.100.200  2001:db8:c170:b0f:5054:e0ff:fe12:3456  /mac…cope\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn the_middle_is_left_out() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abcdef", 5), "ab…ef");
        assert_eq!(shortened("äöüß", 3), "ä…ß");
    }
}
