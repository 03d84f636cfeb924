//! The table of rows and kernels.

use std::fmt::Write as _;

use oci_bind_hook_gate::output::Counts;

use crate::trials::Trial;

/// The suite whose trials' names begin with the row that they are for.
const SCENARIOS: &str = "scenarios";

/// The trials of one kernel.
pub struct Column<'a> {
    /// The kernel's release.
    pub kernel: &'a str,
    /// What ran on it.
    pub trials: Vec<Trial<'a>>,
}

/// A row of `tests/SEMANTICS.md`, or a suite.
struct Row<'a> {
    name: &'a str,
    /// The kernel from which on it holds, and what holds before.
    floor: &'a str,
    /// The trials by kernel.
    counts: Vec<Counts>,
}

/// The table: a column for each kernel, a line for each row of `semantics` that had
/// a trial, in the order of that file, and one for each suite that has no rows.
pub fn table(semantics: &str, columns: &[Column]) -> String {
    let mut rows: Vec<_> = semantics.lines().filter_map(row).collect();
    for row in &mut rows {
        row.counts.resize(columns.len(), Counts::default());
    }
    for (number, column) in columns.iter().enumerate() {
        for trial in &column.trials {
            let index = row_of(trial, &mut rows, columns.len());
            rows[index].counts[number].count(trial.test.verdict);
        }
    }
    let mut text = line("row", columns.iter().map(|column| version(column.kernel)));
    for row in &rows {
        if row.counts.iter().all(|counts| *counts == Counts::default()) {
            continue;
        }
        let cells = columns.iter().zip(&row.counts);
        let cells = cells.map(|(column, counts)| cell(row.floor, column.kernel, *counts));
        text += &line(row.name, cells);
    }
    text + "below: the row holds from a newer kernel on, see SEMANTICS.md; what is said of older ones was checked\n"
}

/// `| B1 | TCP bind 0.0.0.0:p | 2 | 5.10 |`
fn row(line: &str) -> Option<Row<'_>> {
    let mut fields = line.strip_prefix('|')?.split('|').map(str::trim);
    let name = fields.next()?;
    let number = name.strip_prefix(|letter: char| letter.is_ascii_uppercase())?;
    number.parse::<u32>().ok()?;
    Some(Row {
        name,
        floor: fields.nth(2)?,
        counts: Vec::new(),
    })
}

/// The index of the row that a trial counts for.
fn row_of<'a>(trial: &Trial<'a>, rows: &mut Vec<Row<'a>>, columns: usize) -> usize {
    let first_word = trial.test.name.split(' ').next().unwrap_or_default();
    let position = |name: &str| rows.iter().position(|row| row.name == name);
    let of_scenario = position(first_word).filter(|_| trial.suite == SCENARIOS);
    if let Some(index) = of_scenario.or_else(|| position(trial.suite)) {
        return index;
    }
    rows.push(Row {
        name: trial.suite,
        floor: "",
        counts: vec![Counts::default(); columns],
    });
    rows.len() - 1
}

fn line(name: &str, cells: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut text = format!("{name:<10}");
    for cell in cells {
        let _ = write!(text, " {:>16}", cell.as_ref());
    }
    text + "\n"
}

/// `6.12.118` of `6.12.118+deb13-cloud-amd64`
fn version(kernel: &str) -> &str {
    kernel.split(['+', '-']).next().unwrap_or(kernel)
}

fn cell(floor: &str, kernel: &str, counts: Counts) -> String {
    let mut parts = Vec::new();
    if counts.passed > 0 {
        let below = if names_newer(floor, kernel) {
            " below"
        } else {
            ""
        };
        parts.push(format!("{}{below}", counts.passed));
    }
    if counts.failed > 0 {
        parts.push(format!("{} FAILED", counts.failed));
    }
    if counts.skipped > 0 {
        parts.push(format!("{} skipped", counts.skipped));
    }
    if parts.is_empty() {
        return "-".to_owned();
    }
    parts.join(", ")
}

/// Whether a floor names a newer kernel than this one.
fn names_newer(floor: &str, kernel: &str) -> bool {
    let is_other = |character: char| !character.is_ascii_digit() && character != '.';
    let named = floor.split(is_other).filter_map(series);
    // Debian's releases begin with three numbers.
    let (own, _) = version(kernel).rsplit_once('.').unwrap_or_default();
    named.max() > series(own)
}

/// `6.12`
fn series(word: &str) -> Option<(u32, u32)> {
    let (major, minor) = word.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trials;

    const SEMANTICS: &str = "\
# Semantics

| row | what | trials | from |
| --- | --- | --- | --- |
| B1 | TCP bind 0.0.0.0:p | 2 | 5.10 |
| B2 | UDP bind 0.0.0.0:p | 2 | 5.10 |
| L6 | a call to loopback | 3 | 5.14; from the assigned address before |
| L7 | two containers and the host at one port | 2 | 5.10; ping socket from 6.1, guard alone before |
| M4 | multicast | 2 | 6.11; EINVAL before |
";

    const OLD: &str = "\
Linux 5.10.0-46-cloud-amd64
=== faults

running 2 tests
test runc killed while it creates           ... ignored (runc is not installed)
test killed while it attaches               ... ok

test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 344.75s

=== scenarios

running 6 tests
test B1 TCP bind 0.0.0.0:p                  ... ok
test B1 TCP bind [::]:p                     ... ok
test L6 udp4 hears no stranger, auto        ... ignored (before Linux 5.14 a bound socket calls loopback from the assigned address)
test L6 udp6 hears no stranger, host        ... ok
test L7 udp6 Connect ::1                    ... ok
test every row of the list has a test       ... ok

test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 848.52s

";

    const NEW: &str = "\
Linux 6.12.118+deb13-cloud-amd64
=== scenarios

running 5 tests
test B1 TCP bind 0.0.0.0:p                  ... FAILED
test B1 TCP bind [::]:p                     ... ok
test L6 udp4 hears no stranger, auto        ... ok
test M4 a group that nobody joined          ... ok
test L7 udp6 Connect ::1                    ... FAILED

failures:

---- B1 TCP bind 0.0.0.0:p ----
expected 192.0.2.10

failures:
    B1 TCP bind 0.0.0.0:p

test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 6.86s

";

    fn column<'a>(kernel: &'a str, output: &'a str) -> Column<'a> {
        let trials = trials::read(output);
        Column { kernel, trials }
    }

    #[test]
    fn has_a_column_for_each_kernel_and_a_line_for_what_ran() {
        let columns = [
            column("5.10.0-46-cloud-amd64", OLD),
            column("6.12.118+deb13-cloud-amd64", NEW),
        ];
        assert_eq!(
            table(SEMANTICS, &columns),
            "\
row                  5.10.0         6.12.118
B1                        2      1, 1 FAILED
L6         1 below, 1 skipped                1
L7                  1 below         1 FAILED
M4                        -                1
faults         1, 1 skipped                -
scenarios                 1                -
below: the row holds from a newer kernel on, see SEMANTICS.md; what is said of older ones was checked
"
        );
    }

    #[test]
    fn a_machine_without_trials_has_a_column_too() {
        let columns = [
            column("6.1.0-56-cloud-amd64", ""),
            column("6.12.118+deb13-cloud-amd64", NEW),
        ];
        let table = table(SEMANTICS, &columns);
        let mut lines = table.lines();
        let title = "row                   6.1.0         6.12.118";
        assert_eq!(lines.next(), Some(title));
        let row = "B1                        -      1, 1 FAILED";
        assert_eq!(lines.next(), Some(row));
    }

    #[test]
    fn compares_kernels_by_number() {
        assert!(names_newer("5.14; errno before", "5.10.0-46-cloud-amd64"));
        assert!(names_newer("5.10; ping socket from 6.1", "5.15.0"));
        assert!(!names_newer(
            "5.10; ping socket from 6.1",
            "6.1.0-56-cloud-amd64"
        ));
        assert!(!names_newer("6.6", "6.12.118+deb13-cloud-amd64"));
        assert!(names_newer("6.12", "6.6.1"));
        assert!(!names_newer("", "5.10.0"));
    }
}
