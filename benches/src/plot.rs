//! Draws a bar chart of ratios.

use std::fmt::Write as _;

/// One group of bars. Each is a ratio to the floor's figure, or to that of the series which the name mentions.
pub struct Bar {
    /// The text below the group.
    pub name: String,
    /// The CPU of a check, as a ratio.
    pub cpu: f64,
    /// The latency as a ratio: median, and 99 %.
    pub latency: [f64; 2],
}

const COLOURS: [(&str, &str); 3] = [("CPU", "#3b6ea5"), ("median latency", "#8fb58f"), ("99 % latency", "#d9a05b")];
const LEFT: f64 = 280.0;
const WIDTH: f64 = 440.0;
const BAR: f64 = 12.0;
const GROUP: f64 = 52.0;

/// Draws horizontal bars. A bar that is longer than the longest shown is cut and labelled with its figure.
pub fn svg(bars: &[Bar]) -> String {
    let most = bars.iter().flat_map(|bar| [bar.cpu, bar.latency[0], bar.latency[1]]).fold(1.0, f64::max);
    let scale = WIDTH / most.min(8.0);
    #[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
    let height = bars.len() as f64 * GROUP + 40.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"800\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (n, (name, colour)) in COLOURS.iter().enumerate() {
        let x = LEFT + [0.0, 60.0, 180.0][n];
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"8\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"17\">{name}</text>",
            x + 14.0
        );
    }
    let _ = writeln!(out, "<text x=\"{}\" y=\"17\" fill=\"#555\">as a multiple</text>", LEFT + 290.0);
    for (n, bar) in bars.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
        let top = 30.0 + n as f64 * GROUP;
        let _ =
            writeln!(out, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, top + 22.0, bar.name);
        for (value, (row, (_, colour))) in [bar.cpu, bar.latency[0], bar.latency[1]].iter().zip((0..).zip(COLOURS)) {
            let y = top + f64::from(row) * (BAR + 2.0);
            let width = (value * scale).min(WIDTH);
            let _ =
                writeln!(out, "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>");
            let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{}\">{value:.2}</text>", LEFT + width + 4.0, y + 10.0);
        }
    }
    let one = LEFT + scale;
    let _ = writeln!(
        out,
        "<line x1=\"{one:.1}\" y1=\"26\" x2=\"{one:.1}\" y2=\"{}\" stroke=\"#999\" stroke-dasharray=\"3 3\"/>",
        height - 6.0
    );
    out.push_str("</svg>\n");
    out
}
