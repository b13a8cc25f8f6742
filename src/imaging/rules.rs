//! Ruled lines in a picture of a page: long, thin, dark runs.
//!
//! The law: text is no rule. A run is as long as several letters, no thicker than a pen, and may be broken by a pixel
//! or two or climb slightly, as in scans. The picture is upright and level.

use super::{Channels, Pixmap};

/// A ruled line as a box in pixels; the ends are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Column after the last.
    pub right: u32,
    /// Row after the last.
    pub bottom: u32,
}

/// Shortest line, in inches: longer than what letters of a text's size have of straight strokes.
const SHORTEST: f32 = 0.28;

/// Shortest dark run in one row of pixels, in inches: a line that climbs is cut into such pieces.
const PIECE: f32 = 0.1;

/// Thickest line, in inches (3 points).
const THICKEST: f32 = 3.0 / 72.0;

/// Light pixels that may break a run.
const BREAK: usize = 2;

/// Steepest line: half a degree.
const STEEPEST: f32 = 0.009;

/// Side of the squares in which the paper's tone is looked for.
const TILE: usize = 64;

/// A pixel is dark when it is this much darker than the paper around it.
const CONTRAST: u8 = 56;

/// More lines than these are a halftone or a drawing; the longest are kept.
const MOST: usize = 2_000;

/// Finds the level and upright ruled lines of a grey picture; none in one of colours, which has to be made grey first.
pub fn find(picture: &Pixmap, dpi: f32) -> Vec<Rule> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let usable = picture.channels == Channels::Grey && picture.pixels.len() == width * height && width * height > 0;
    if !(usable && dpi.is_finite() && dpi > 0.0) {
        return Vec::new();
    }
    let dark = dark(&picture.pixels, width, height);
    let mut rules = runs(&dark, width, height, dpi);
    let turned = runs(&transposed(&dark, width, height), height, width, dpi);
    rules.extend(turned.into_iter().map(|r| Rule { left: r.top, top: r.left, right: r.bottom, bottom: r.right }));
    if rules.len() > MOST {
        rules.sort_by_key(|r| std::cmp::Reverse((r.right - r.left).max(r.bottom - r.top)));
        rules.truncate(MOST);
    }
    rules.sort_by_key(|r| (r.top, r.left, r.bottom, r.right));
    rules
}

/// Which pixels are ink, by the paper's tone around them.
fn dark(pixels: &[u8], width: usize, height: usize) -> Vec<bool> {
    let mut dark = vec![false; pixels.len()];
    for top in (0..height).step_by(TILE) {
        for left in (0..width).step_by(TILE) {
            let rows = top..(top + TILE).min(height);
            let columns = left..(left + TILE).min(width);
            let mut tones = [0u32; 256];
            // Every fourth row of pixels says enough.
            for row in rows.clone().step_by(4) {
                pixels[row * width..][columns.clone()].iter().for_each(|tone| tones[usize::from(*tone)] += 1);
            }
            // The tone that a fifth of the square exceeds: paper, unless all of it is ink.
            let above = (rows.len().div_ceil(4) * columns.len() / 5) as u32;
            let mut seen = 0;
            let paper = (0..256).rev().find(|tone| {
                seen += tones[*tone];
                seen > above
            });
            let least = (paper.unwrap_or(255) as u8).saturating_sub(CONTRAST);
            for row in rows {
                let tones = &pixels[row * width..][columns.clone()];
                let marks = &mut dark[row * width..][columns.clone()];
                marks.iter_mut().zip(tones).for_each(|(mark, tone)| *mark = *tone < least);
            }
        }
    }
    dark
}

fn transposed(dark: &[bool], width: usize, height: usize) -> Vec<bool> {
    let mut turned = vec![false; dark.len()];
    for top in (0..height).step_by(TILE) {
        for left in (0..width).step_by(TILE) {
            for row in top..(top + TILE).min(height) {
                for column in left..(left + TILE).min(width) {
                    turned[column * height + row] = dark[row * width + column];
                }
            }
        }
    }
    turned
}

/// A line in the making: runs of neighbouring rows that overlap.
struct Open {
    rule: Rule,
    /// The run that was added last.
    last: (usize, usize),
    last_row: usize,
    ink: usize,
}

/// The level lines.
fn runs(dark: &[bool], width: usize, height: usize, dpi: f32) -> Vec<Rule> {
    let piece = ((PIECE * dpi) as usize).max(6);
    let shortest = SHORTEST * dpi;
    let thickest = (THICKEST * dpi).max(2.0);
    let mut done = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let close = |line: Open| {
        let (long, high) = ((line.rule.right - line.rule.left) as f32, (line.rule.bottom - line.rule.top) as f32);
        let thin = line.ink as f32 / long <= thickest && high <= thickest + long * STEEPEST;
        (long >= shortest && thin && long >= high * 4.0).then_some(line.rule)
    };
    for row in 0..height {
        for (from, to) in dark_runs(&dark[row * width..][..width], piece) {
            let touches = |line: &Open| {
                row <= line.last_row + 1 + BREAK && from <= line.last.1 + BREAK && line.last.0 <= to + BREAK
            };
            let mut joined = Open {
                rule: Rule { left: from as u32, top: row as u32, right: to as u32, bottom: row as u32 + 1 },
                last: (from, to),
                last_row: row,
                ink: to - from,
            };
            // Two pieces of one line may meet in a third.
            let mut at = 0;
            while at < open.len() {
                if touches(&open[at]) {
                    let line = open.swap_remove(at);
                    let same_row = line.last_row == row;
                    joined.rule.left = joined.rule.left.min(line.rule.left);
                    joined.rule.top = joined.rule.top.min(line.rule.top);
                    joined.rule.right = joined.rule.right.max(line.rule.right);
                    joined.ink += line.ink;
                    if same_row {
                        joined.last = (joined.last.0.min(line.last.0), joined.last.1.max(line.last.1));
                    }
                } else {
                    at += 1;
                }
            }
            open.push(joined);
        }
        let mut at = 0;
        while at < open.len() {
            if open[at].last_row + BREAK < row {
                done.extend(close(open.swap_remove(at)));
            } else {
                at += 1;
            }
        }
    }
    done.extend(open.into_iter().filter_map(close));
    done
}

/// Dark runs of one row of pixels, breaks of a pixel or two bridged.
fn dark_runs(row: &[bool], shortest: usize) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    while let Some(light) = row.get(at..).and_then(|rest| rest.iter().position(|dark| *dark)) {
        at += light;
        let end = at + row[at..].iter().take_while(|dark| **dark).count();
        match runs.last_mut() {
            Some(last) if at - last.1 <= BREAK => last.1 = end,
            Some(last) if last.1 - last.0 < shortest => *last = (at, end),
            _ => runs.push((at, end)),
        }
        at = end;
    }
    runs.retain(|(from, to)| to - from >= shortest);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper() -> Pixmap {
        Pixmap { pixels: vec![235; 400 * 300], ..Pixmap::white(400, 300, Channels::Grey) }
    }

    fn draw(picture: &mut Pixmap, left: u32, top: u32, width: u32, height: u32, tone: u8) {
        for y in top..top + height {
            let from = (y * picture.width + left) as usize;
            picture.pixels[from..from + width as usize].fill(tone);
        }
    }

    #[test]
    fn level_and_upright_lines_are_found_where_they_are() {
        let mut picture = paper();
        draw(&mut picture, 20, 50, 300, 2, 40);
        draw(&mut picture, 100, 80, 3, 150, 90);
        let rules = find(&picture, 100.0);
        let boxes: Vec<(u32, u32, u32, u32)> = rules.iter().map(|r| (r.left, r.top, r.right, r.bottom)).collect();
        assert_eq!(boxes, [(20, 50, 320, 52), (100, 80, 103, 230)]);
    }

    #[test]
    fn a_line_that_climbs_and_breaks_is_one() {
        let mut picture = paper();
        // One pixel down for every 120: half a degree less than a quarter turn; a break of two pixels in each piece.
        for (number, left) in (20..380).step_by(120).enumerate() {
            draw(&mut picture, left, 100 + number as u32, 50, 1, 60);
            draw(&mut picture, left + 52, 100 + number as u32, 68, 1, 60);
        }
        let rules = find(&picture, 100.0);
        assert_eq!(rules, [Rule { left: 20, top: 100, right: 380, bottom: 103 }]);
    }

    #[test]
    fn letters_bars_and_faint_shades_are_no_lines() {
        let mut picture = paper();
        for left in (20..380).step_by(9) {
            draw(&mut picture, left, 40, 5, 12, 20);
        }
        draw(&mut picture, 20, 100, 300, 40, 20);
        draw(&mut picture, 20, 200, 300, 2, 215);
        assert_eq!(find(&picture, 100.0), []);
    }

    #[test]
    fn crossing_lines_are_found_both() {
        let mut picture = paper();
        for step in 0..4 {
            draw(&mut picture, 50, 50 + step * 50, 301, 1, 0);
            draw(&mut picture, 50 + step * 100, 50, 1, 151, 0);
        }
        assert_eq!(find(&picture, 100.0).len(), 8);
    }

    #[test]
    fn an_odd_picture_has_no_lines() {
        assert!(find(&Pixmap { pixels: Vec::new(), ..paper() }, 100.0).is_empty());
        assert!(find(&paper(), 0.0).is_empty() && find(&paper(), f32::NAN).is_empty());
        assert!(find(&Pixmap { width: 0, height: 0, channels: Channels::Grey, pixels: Vec::new() }, 100.0).is_empty());
    }
}
