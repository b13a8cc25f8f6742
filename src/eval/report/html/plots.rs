//! Plots as places of bars and dots; a template draws them.

use serde::Serialize;

use crate::{bootstrap::Interval, calibration::Calibration};

/// A mark on an axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Tick {
    at: f64,
    label: String,
}

/// Bars from top to bottom.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Bars {
    title: String,
    caption: String,
    width: f64,
    height: f64,
    left: f64,
    /// Where lines end, and where the labels of the axis stand.
    floor: f64,
    foot: f64,
    ticks: Vec<Tick>,
    bars: Vec<Placed>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Placed {
    label: String,
    title: String,
    href: Option<String>,
    value: String,
    top: f64,
    thick: f64,
    middle: f64,
    length: f64,
    second: Option<f64>,
    whisker: Option<String>,
    /// Right end of whatever is drawn.
    end: f64,
    lost: bool,
}

/// What a bar shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Bar {
    /// What it is of.
    pub label: String,
    /// Where a click leads.
    pub href: Option<String>,
    /// Its length.
    pub value: f64,
    /// The value as text.
    pub text: String,
    /// The length of an outline around it.
    pub second: Option<f64>,
    /// The interval, drawn as whiskers.
    pub interval: Option<Interval>,
    /// Drawn as a loss.
    pub lost: bool,
}

/// How values become lengths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// In proportion.
    Linear,
    /// Square roots: small errors can be told from each other beside a document that was lost.
    Root,
}

impl Scale {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Root => value.max(0.0).sqrt(),
        }
    }
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 300.0;
/// Room for the numbers on the right.
const RIGHT: f64 = 90.0;
const STEP: f64 = 22.0;
const THICK: f64 = 12.0;
/// Room for the label of a mark.
const LABEL_WIDTH: f64 = 34.0;
const LABEL_HEIGHT: f64 = 15.0;
/// Characters of a label; the whole one is shown on hovering.
const LABEL: usize = 42;

/// Places bars; `ticks` are values with their labels, of which those beyond the longest bar are left out.
pub(super) fn bars(title: &str, caption: &str, bars: &[Bar], scale: Scale, ticks: &[(f64, &str)]) -> Bars {
    let reach = |bar: &Bar| bar.interval.map_or(bar.value, |it| it.high.max(bar.value)).max(bar.second.unwrap_or(0.0));
    let longest = bars.iter().map(reach).fold(0.0, f64::max);
    // The axis ends at the first mark that no bar passes, so that a reader can tell the longest one too.
    let end = ticks.iter().map(|(value, _)| *value).find(|value| *value >= longest).unwrap_or(longest);
    let room = WIDTH - LEFT - RIGHT;
    let length = |value: f64| if end > 0.0 { scale.of(value) / scale.of(end) * room } else { 0.0 };
    let place = |(number, bar): (usize, &Bar)| {
        let top = number as f64 * STEP + (STEP - THICK) / 2.0;
        let middle = top + THICK / 2.0;
        let whisker = bar.interval.map(|interval| {
            let (low, high) = (LEFT + length(interval.low), LEFT + length(interval.high));
            let (above, below) = (middle - 4.0, middle + 4.0);
            format!("M{low:.1} {above:.1}V{below:.1}M{low:.1} {middle:.1}H{high:.1}M{high:.1} {above:.1}V{below:.1}")
        });
        Placed {
            label: cut(&bar.label),
            title: format!("{}: {}", bar.label, bar.text),
            href: bar.href.clone(),
            value: bar.text.clone(),
            top: round(top),
            thick: THICK,
            middle: round(middle),
            length: round(length(bar.value)),
            second: bar.second.map(|value| round(length(value))),
            whisker,
            end: round(LEFT + length(reach(bar))),
            lost: bar.lost,
        }
    };
    let floor = bars.len() as f64 * STEP + 4.0;
    let shown = ticks.iter().filter(|(value, _)| *value <= end);
    Bars {
        title: title.to_owned(),
        caption: caption.to_owned(),
        width: WIDTH,
        height: floor + 20.0,
        left: LEFT,
        floor,
        foot: floor + 14.0,
        ticks: apart(
            shown.map(|(value, label)| Tick { at: round(LEFT + length(*value)), label: (*label).to_owned() }),
            LABEL_WIDTH,
        ),
        bars: bars.iter().enumerate().map(place).collect(),
    }
}

/// Marks whose labels do not touch: of two that would, the one nearer to the start goes, but never the start itself.
fn apart(ticks: impl Iterator<Item = Tick>, room: f64) -> Vec<Tick> {
    let mut kept: Vec<Tick> = Vec::new();
    for tick in ticks {
        let touches = |last: &Tick| (tick.at - last.at).abs() < room;
        if kept.len() > 1 && kept.last().is_some_and(touches) {
            kept.pop();
        }
        if !kept.last().is_some_and(touches) {
            kept.push(tick);
        }
    }
    kept
}

/// The end of a path says more than its start.
fn cut(label: &str) -> String {
    let length = label.chars().count();
    if length <= LABEL {
        label.to_owned()
    } else {
        format!("…{}", label.chars().skip(length - LABEL + 1).collect::<String>())
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Dots in a square.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Dots {
    title: String,
    caption: String,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    floor: f64,
    across: Vec<Tick>,
    up: Vec<Tick>,
    across_label: String,
    up_label: String,
    /// Where dots would lie if all were well.
    ideal: Option<String>,
    dots: Vec<Dot>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Dot {
    x: f64,
    y: f64,
    radius: f64,
    title: String,
    href: Option<String>,
}

const SQUARE: (f64, f64, f64, f64) = (46.0, 26.0, 400.0, 330.0);
const SHARES: [(f64, &str); 6] =
    [(0.0, "0"), (0.2, "20 %"), (0.4, "40 %"), (0.6, "60 %"), (0.8, "80 %"), (1.0, "100 %")];

fn square(title: &str, across: (&str, &[(f64, &str)], f64), up: (&str, &[(f64, &str)], f64), scale: Scale) -> Dots {
    let (left, top, right, floor) = SQUARE;
    let x = |value: f64| round(left + (right - left) * value / across.2);
    let y = |value: f64| round(floor - (floor - top) * scale.of(value) / scale.of(up.2));
    let tick = |at: f64, label: &str| Tick { at, label: label.to_owned() };
    let up_ticks = up.1.iter().filter(|(value, _)| *value <= up.2).map(|(value, label)| tick(y(*value), label));
    Dots {
        title: title.to_owned(),
        caption: String::new(),
        width: right + 20.0,
        height: floor + 40.0,
        left,
        right,
        top,
        floor,
        across: across.1.iter().map(|(value, label)| tick(x(*value), label)).collect(),
        up: apart(up_ticks, LABEL_HEIGHT),
        across_label: across.0.to_owned(),
        up_label: up.0.to_owned(),
        ideal: None,
        dots: Vec::new(),
    }
}

/// Words by their confidence: the share of right ones, the area of a dot in proportion to their number.
pub(super) fn reliability(calibration: &Calibration) -> Option<Dots> {
    let error = calibration.error()?;
    let mut plot = square(
        "Words by their confidence",
        ("confidence of the words", &SHARES, 1.0),
        ("share of them that the truth has", &SHARES, 1.0),
        Scale::Linear,
    );
    let (left, top, right, floor) = SQUARE;
    plot.ideal = Some(format!("M{left} {floor}L{right} {top}"));
    let most = calibration.bins.iter().map(|bin| bin.words).max().unwrap_or(1).max(1) as f64;
    for bin in calibration.bins.iter().filter(|bin| bin.words > 0) {
        let words = bin.words as f64;
        let (confidence, right_share) = (bin.confidence / words, bin.right as f64 / words);
        plot.dots.push(Dot {
            x: round(left + (right - left) * confidence),
            y: round(floor - (floor - top) * right_share),
            radius: round((words / most).sqrt() * 16.0 + 3.0),
            title: format!(
                "{} words with a confidence of {:.0} % on average: {:.0} % are right",
                bin.words,
                confidence * 100.0,
                right_share * 100.0
            ),
            href: None,
        });
    }
    plot.caption = format!(
        "{} recognised words in ten bins of confidence; the area of a dot says how many. On the dashed line confidence would \
         be the chance that a word is right; below it promises too much. Off by {:.1} points on average. A word counts as \
         right when the truth has it anywhere, as often.",
        calibration.words(),
        error * 100.0
    );
    Some(plot)
}

/// A document as a dot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    /// Its name.
    pub name: String,
    /// Where a click leads.
    pub href: String,
    /// Mean confidence, 0..1.
    pub confidence: f64,
    /// Character error rate.
    pub cer: f64,
}

/// Documents by confidence and character error rate.
pub(super) fn scatter(documents: &[Document]) -> Option<Dots> {
    if documents.is_empty() {
        return None;
    }
    let most = documents.iter().map(|document| document.cer).fold(0.0, f64::max);
    // So little is never stretched over the whole height.
    let end = RATES.iter().map(|(value, _)| *value).find(|value| *value >= most.max(0.05)).unwrap_or(most);
    let mut plot = square(
        "Documents by their confidence",
        ("mean confidence of the document", &SHARES, 1.0),
        ("CER, square root scale", &RATES, end),
        Scale::Root,
    );
    let (left, top, right, floor) = SQUARE;
    for document in documents {
        plot.dots.push(Dot {
            x: round(left + (right - left) * document.confidence),
            y: round(floor - (floor - top) * Scale::Root.of(document.cer) / Scale::Root.of(end)),
            radius: 5.0,
            title: format!(
                "{}: confidence {:.0} %, CER {:.2} %",
                document.name,
                document.confidence * 100.0,
                document.cer * 100.0
            ),
            href: Some(document.href.clone()),
        });
    }
    plot.caption =
        "Each dot is a document with recognised pages. Where confidence says something, dots fall from the upper left \
                    to the lower right. Errors of reading order count in the CER, and confidence knows nothing of them."
            .to_owned();
    Some(plot)
}

/// Marks for error rates.
pub(super) const RATES: [(f64, &str); 12] = [
    (0.0, "0"),
    (0.001, "0.1 %"),
    (0.005, "0.5 %"),
    (0.01, "1 %"),
    (0.02, "2 %"),
    (0.05, "5 %"),
    (0.1, "10 %"),
    (0.2, "20 %"),
    (0.4, "40 %"),
    (0.7, "70 %"),
    (1.0, "100 %"),
    (2.0, "200 %"),
];

/// Marks of seconds up to and beyond the longest.
pub(super) fn seconds(longest: f64) -> Vec<(f64, String)> {
    let step = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
        .into_iter()
        .find(|step| longest / step <= 8.0)
        .unwrap_or(100.0);
    let marks = (longest / step).ceil() as usize;
    (0..=marks).map(|mark| (mark as f64 * step, format!("{} s", round(mark as f64 * step)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(value: f64) -> Bar {
        Bar { label: "a".repeat(60), value, ..Bar::default() }
    }

    #[test]
    fn lengths_follow_the_scale_and_stay_inside() {
        let plot = bars("", "", &[bar(0.01), bar(0.04), bar(3.0)], Scale::Root, &RATES);
        let lengths: Vec<f64> = plot.bars.iter().map(|bar| bar.length).collect();
        assert!((lengths[1] / lengths[0] - 2.0).abs() < 0.02, "four times the error is twice the length: {lengths:?}");
        assert!(plot.bars.iter().all(|bar| bar.end <= WIDTH - RIGHT + 0.1 && bar.label.chars().count() == LABEL));
        let ends = bars("", "", &[bar(0.03)], Scale::Root, &RATES);
        assert_eq!(ends.ticks.last().map(|tick| tick.label.as_str()), Some("5 %"));
        assert_eq!(bars("", "", &[bar(0.0)], Scale::Linear, &[(0.0, "0")]).bars[0].length, 0.0);
    }

    #[test]
    fn marks_of_seconds_reach_the_longest_bar() {
        for longest in [0.03, 0.9, 4.2, 77.0] {
            let marks = seconds(longest);
            assert!(marks.len() <= 10 && marks.last().unwrap().0 >= longest, "{longest}: {marks:?}");
        }
    }

    #[test]
    fn nothing_recognised_is_no_plot() {
        assert_eq!(reliability(&Calibration::default()), None);
        assert_eq!(scatter(&[]), None);
        let mut calibration = Calibration::default();
        calibration.add(1.0, true);
        let plot = reliability(&calibration).unwrap();
        assert_eq!((plot.dots[0].x, plot.dots[0].y), (SQUARE.2, SQUARE.1));
    }
}
