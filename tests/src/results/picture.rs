//! A picture in SVG: each ratio as a dot on a line from the tenth to the
//! ninetieth percentile, the target as a bar. The scale is logarithmic.

use std::fmt::Write as _;

use super::{Figure, Spread};

/// All in pixels.
const WIDTH: f64 = 960.0;
/// Where the scale begins, right of the names.
const LEFT: f64 = 420.0;
const RIGHT: f64 = WIDTH - 70.0;
const TOP: f64 = 60.0;
const LINE: f64 = 20.0;

/// Where the scale has marks, as far as they are in the picture.
const MARKS: [f64; 14] = [
    0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0,
];

/// Met, and missed: of a palette that the colour-blind can tell apart.
const COLOURS: [&str; 2] = ["#0072b2", "#d55e00"];

/// Draws the figures that have a ratio.
pub(super) fn draw(name: &str, figures: &[Figure]) -> String {
    let rows: Vec<_> = figures
        .iter()
        .filter_map(|figure| Some((figure, figure.ratio?)))
        .collect();
    let scale = Scale::of(&rows);
    let height = TOP + LINE * f64::from(u32::try_from(rows.len()).unwrap_or(u32::MAX)) + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"16\">{}: ratio to plain, 8 of 10 on the line</text>\n",
        escape(name)
    );
    for mark in MARKS {
        if let Some(x) = scale.inside(mark) {
            let stroke = if mark == 1.0 { "#000000" } else { "#dddddd" };
            put(
                &mut svg,
                format_args!(
                    "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" \
                     stroke=\"{stroke}\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
                     text-anchor=\"middle\">{mark}</text>",
                    height - 15.0,
                    TOP - 8.0
                ),
            );
        }
    }
    let mut y = TOP + LINE / 2.0;
    for (figure, ratio) in rows {
        row(&mut svg, &scale, figure, ratio, y);
        y += LINE;
    }
    svg.push_str("</svg>\n");
    svg
}

fn row(svg: &mut String, scale: &Scale, figure: &Figure, ratio: Spread, y: f64) {
    let colour = COLOURS[usize::from(figure.is_met() == Some(false))];
    let label = format!("{}: {}", figure.side, figure.what);
    let [low, median, high] = [ratio.low, ratio.median, ratio.high].map(|it| scale.at(it));
    put(
        svg,
        format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" \
             stroke=\"{colour}\" stroke-width=\"2\"/>\
             <circle cx=\"{median:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{:.2}</text>",
            LEFT - 10.0,
            y + 4.0,
            escape(&label),
            RIGHT + 12.0,
            y + 4.0,
            ratio.median,
        ),
    );
    if let Some(target) = figure.target {
        put(
            svg,
            format_args!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"3\" height=\"14\" fill=\"#009e73\"/>",
                scale.at(target.limit()) - 1.5,
                y - 7.0
            ),
        );
    }
}

/// One line; writing to a string cannot fail.
fn put(svg: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(svg, "{line}");
}

/// From ratios to pixels.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// From the least to the greatest of what is drawn, and 1.
    fn of(rows: &[(&Figure, Spread)]) -> Self {
        let mut scale = Self {
            low: 0.9,
            high: 1.1,
        };
        for (figure, ratio) in rows {
            let target = figure.target.map_or(1.0, super::Target::limit);
            scale.low = scale.low.min(ratio.low).min(target);
            scale.high = scale.high.max(ratio.high).max(target);
        }
        scale
    }

    fn at(&self, ratio: f64) -> f64 {
        let share = (ratio / self.low).ln() / (self.high / self.low).ln();
        LEFT + share * (RIGHT - LEFT)
    }

    fn inside(&self, ratio: f64) -> Option<f64> {
        (self.low..=self.high)
            .contains(&ratio)
            .then(|| self.at(ratio))
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
