//! What the benches find: printed as a table in Markdown while they run, and
//! written to the directory `bench` of cargo's target directory, as JSON and as
//! a picture.

mod picture;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// The ratio, or the value where there is none, is at most this.
    AtMost(f64),
    /// The ratio is at least this.
    AtLeast(f64),
}

impl Target {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtMost(limit) => figure <= limit,
            Self::AtLeast(limit) => figure >= limit,
        }
    }

    fn limit(self) -> f64 {
        match self {
            Self::AtMost(limit) | Self::AtLeast(limit) => limit,
        }
    }
}

/// The median of the ratios of each pair, and where eight of ten of them are. On a
/// machine that is now fast and now slow each median is one or the other by chance.
#[derive(Clone, Copy, Debug)]
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn of(plain: &[f64], value: &[f64]) -> Self {
        let ratios = plain.iter().zip(value).map(|(plain, value)| value / plain);
        let ratios: Vec<_> = ratios.collect();
        Self {
            low: at_percent(&ratios, 10),
            median: at_percent(&ratios, 50),
            high: at_percent(&ratios, 90),
        }
    }
}

/// The value that so many percent of the values do not exceed.
pub fn at_percent(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * percent / 100]
}

/// One line of the table.
#[derive(Debug)]
struct Figure {
    side: String,
    what: String,
    unit: &'static str,
    plain: Option<f64>,
    value: f64,
    ratio: Option<Spread>,
    target: Option<Target>,
}

impl Figure {
    /// What the target is about.
    fn compared(&self) -> f64 {
        self.ratio.map_or(self.value, |ratio| ratio.median)
    }

    fn is_met(&self) -> Option<bool> {
        self.target.map(|target| target.is_met(self.compared()))
    }

    fn to_json(&self) -> Value {
        let bound = |target: Target| match target {
            Target::AtMost(limit) => json!({ "at_most": limit }),
            Target::AtLeast(limit) => json!({ "at_least": limit }),
        };
        let spread = |spread: Spread| json!({ "median": spread.median, "p10": spread.low, "p90": spread.high });
        json!({
            "side": self.side,
            "what": self.what,
            "unit": self.unit,
            "plain": self.plain,
            "value": self.value,
            "ratio": self.ratio.map(spread),
            "target": self.target.map(bound),
            "met": self.is_met(),
        })
    }
}

/// The figures of one bench.
#[derive(Debug)]
pub struct Results {
    name: &'static str,
    figures: Vec<Figure>,
}

impl Results {
    /// Those of the bench with this name; prints the head of the table.
    pub fn new(name: &'static str, about: &str) -> Self {
        println!("{about}\n");
        println!("| side | what | plain | value | ratio | 8 of 10 | target |");
        println!("| --- | --- | ---: | ---: | ---: | --- | --- |");
        Self {
            name,
            figures: Vec::new(),
        }
    }

    /// Adds what was measured in turn, plain and at one side: medians, and the
    /// ratios of each pair.
    pub fn pairs(
        &mut self,
        side: &str,
        what: &str,
        unit: &'static str,
        [plain, value]: [&[f64]; 2],
        target: Option<Target>,
    ) {
        self.add(Figure {
            side: side.to_owned(),
            what: what.to_owned(),
            unit,
            plain: Some(at_percent(plain, 50)),
            value: at_percent(value, 50),
            ratio: Some(Spread::of(plain, value)),
            target,
        });
    }

    /// Adds a value that is set against none.
    pub fn value(
        &mut self,
        side: &str,
        what: &str,
        unit: &'static str,
        value: f64,
        target: Option<Target>,
    ) {
        self.add(Figure {
            side: side.to_owned(),
            what: what.to_owned(),
            unit,
            plain: None,
            value,
            ratio: None,
            target,
        });
    }

    fn add(&mut self, figure: Figure) {
        let plain = figure
            .plain
            .map_or_else(String::new, |plain| number(plain, figure.unit));
        let (ratio, spread) = match figure.ratio {
            None => (String::new(), String::new()),
            Some(Spread { low, median, high }) if low < high => {
                (format!("{median:.2}"), format!("{low:.2} to {high:.2}"))
            }
            Some(Spread { median, .. }) => (format!("{median:.2}"), String::new()),
        };
        println!(
            "| {} | {} | {plain} | {} | {ratio} | {spread} | {} |",
            figure.side,
            figure.what,
            number(figure.value, figure.unit),
            verdict(&figure)
        );
        self.figures.push(figure);
    }

    /// Prints the medians of the ratios once more, a line for each call and a
    /// column for each side.
    pub fn print_matrix(&self) {
        let mut sides: Vec<&str> = Vec::new();
        let mut calls: Vec<&str> = Vec::new();
        for figure in &self.figures {
            for (list, name) in [(&mut sides, &figure.side), (&mut calls, &figure.what)] {
                if !list.contains(&name.as_str()) {
                    list.push(name);
                }
            }
        }
        println!("\n| what | {} |", sides.join(" | "));
        println!("| --- |{}", " ---: |".repeat(sides.len()));
        for call in calls {
            let cell = |side: &&str| {
                let of = |it: &&Figure| it.what == call && it.side == *side;
                let figure = self.figures.iter().find(of);
                figure.map_or_else(String::new, |it| format!("{:.2}", it.compared()))
            };
            let cells: Vec<_> = sides.iter().map(cell).collect();
            println!("| {call} | {} |", cells.join(" | "));
        }
    }

    /// Writes the files, and says where.
    pub fn finish(&self) -> Result<()> {
        let directory = directory()?;
        let json = json!({
            "bench": self.name,
            "machine": machine(),
            "figures": self.figures.iter().map(Figure::to_json).collect::<Vec<_>>(),
        });
        let json = format!("{json:#}\n");
        let picture = picture::draw(self.name, &self.figures);
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        println!();
        for (kind, text) in [("json", json), ("svg", picture)] {
            let path = directory.join(self.name).with_extension(kind);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            println!("wrote {}", path.display());
        }
        Ok(())
    }
}

fn verdict(figure: &Figure) -> String {
    let Some(target) = figure.target else {
        return String::new();
    };
    let limit = target.limit();
    let limit = match (target, figure.ratio) {
        (Target::AtMost(_), Some(_)) => format!("at most {limit:.2}"),
        (Target::AtMost(_), None) => format!("at most {}", number(limit, figure.unit)),
        (Target::AtLeast(_), _) => format!("at least {limit:.2}"),
    };
    let missed = if figure.is_met() == Some(false) {
        ": missed"
    } else {
        ""
    };
    format!("{limit}{missed}")
}

/// Three digits or more, with the unit.
fn number(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        0.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// `bench`, beside the directories of cargo's profiles.
fn directory() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the own binary")?;
    let target = own
        .ancestors()
        .nth(3)
        .context("find the target directory")?;
    Ok(target.join("bench"))
}

/// What it ran on.
fn machine() -> Value {
    let name = rustix::system::uname();
    let lines = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processors: Vec<_> = lines
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, name)| name)
        .collect();
    json!({
        "kernel": name.release().to_string_lossy(),
        "architecture": name.machine().to_string_lossy(),
        "processor": processors.first(),
        "processors": processors.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_leaves_a_tenth_out_at_each_end() {
        let value: Vec<_> = (0..=10).rev().map(f64::from).collect();
        let spread = Spread::of(&[1.0; 11], &value);
        assert_eq!([spread.low, spread.median, spread.high], [1.0, 5.0, 9.0]);
    }

    #[test]
    fn a_target_is_met_at_its_limit() {
        assert!(Target::AtMost(1.15).is_met(1.15) && !Target::AtMost(1.15).is_met(1.16));
        assert!(Target::AtLeast(0.97).is_met(0.97) && !Target::AtLeast(0.97).is_met(0.96));
    }
}
