//! Packing of counted units into chunks.

use super::split;
use deckle_contract::{
    checkpoint::Checkpoint,
    document::{Chunk, Locator},
    error::Result,
};

/// A text that is counted already.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    text: String,
    /// Tokens without the special ones; at least one, so that no chunk takes texts without end that cost nothing.
    tokens: usize,
    /// What stands between the text before and this one.
    joiner: &'static str,
    prov: Vec<Locator>,
}

/// A heading of the open path.
#[derive(Debug)]
struct Heading {
    level: u8,
    text: String,
    /// What a chunk's path shows of it: all, or its beginning.
    shown: String,
    /// Tokens of `shown`.
    tokens: usize,
    /// Whether the whole heading stands in some chunk's path or text by now.
    is_shown: bool,
    prov: Vec<Locator>,
}

/// A chunk in the making.
#[derive(Debug, Clone, Default)]
struct Draft {
    headings: Vec<String>,
    heading_tokens: usize,
    units: Vec<Unit>,
}

impl Draft {
    fn tokens(&self) -> usize {
        self.heading_tokens + self.units.iter().map(|unit| unit.tokens).sum::<usize>()
    }

    fn chunk(&self) -> Chunk {
        let mut text = String::new();
        for unit in &self.units {
            if !text.is_empty() {
                text.push_str(unit.joiner);
            }
            text.push_str(&unit.text);
        }
        let mut prov: Vec<Locator> = Vec::new();
        for place in self.units.iter().flat_map(|unit| &unit.prov) {
            if prov.last() != Some(place) {
                prov.push(place.clone());
            }
        }
        Chunk { chunk_no: 0, headings: self.headings.clone(), text, prov, token_count: 0 }
    }
}

/// Takes headings and units in reading order and packs them into chunks.
pub(super) struct Packer<'a> {
    limit: usize,
    count: &'a dyn Fn(&str) -> usize,
    /// Special tokens: what an empty text counts.
    base: usize,
    checkpoint: Checkpoint<'a>,
    path: Vec<Heading>,
    open: Draft,
    drafts: Vec<Draft>,
}

/// Joins blocks; lines of one block are joined by a line break.
const BLOCK: &str = "\n\n";
/// Headings take at most this share of the limit, so that most of a chunk is its own text.
const HEADING_SHARE: usize = 3;
/// A chunk that holds this share of the limit takes no further block. MiniLM was trained on 128 tokens, half of what it
/// reads; merged to the full limit, one of 26 passages of the test documents was not found by its paraphrase.
const ENOUGH_SHARE: usize = 2;
/// A section below this share of the limit is tiny: it is merged with the next one where both fit.
const TINY_SHARE: usize = 8;

impl<'a> Packer<'a> {
    pub(super) fn new(limit: usize, count: &'a dyn Fn(&str) -> usize, checkpoint: Checkpoint<'a>) -> Self {
        let (open, base) = (Draft::default(), count(""));
        Self { limit, count, base, checkpoint, path: Vec::new(), open, drafts: Vec::new() }
    }

    /// Opens a section; its level closes those at the same level and below.
    pub(super) fn heading(&mut self, level: u8, text: &str, prov: &[Locator]) -> Result<()> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() {
            return Ok(());
        }
        self.close()?;
        let keep = self.path.iter().position(|above| above.level >= level).unwrap_or(self.path.len());
        self.leave(keep)?;
        let budget = self.limit / HEADING_SHARE;
        let counted = (self.count)(&text).saturating_sub(self.base);
        let (shown, tokens) = if counted <= budget {
            (text.clone(), counted)
        } else {
            (split::cut(&text, budget, self.base, self.count), budget)
        };
        self.path.push(Heading { level, text, shown, tokens, is_shown: false, prov: prov.to_vec() });
        Ok(())
    }

    /// Closes the sections from `keep` on. Headings that no chunk shows, because nothing stood below them, become
    /// text of the section that is left.
    fn leave(&mut self, keep: usize) -> Result<()> {
        let Some(first) = self.path[keep..].iter().position(|heading| !heading.is_shown).map(|at| keep + at) else {
            self.path.truncate(keep);
            return Ok(());
        };
        let unshown: Vec<Heading> = self.path.drain(first..).collect();
        for heading in unshown.into_iter().filter(|heading| !heading.is_shown) {
            let unit = self.unit(heading.text, BLOCK, &heading.prov);
            self.add(unit)?;
        }
        self.close()?;
        self.path.truncate(keep);
        Ok(())
    }

    /// The path as a new chunk shows it: the innermost headings that fit their share.
    fn start(&mut self) -> Draft {
        let budget = self.limit / HEADING_SHARE;
        let mut draft = Draft::default();
        let mut first = self.path.len();
        for (index, heading) in self.path.iter().enumerate().rev() {
            // One token for the separator.
            let tokens = draft.heading_tokens + heading.tokens + 1;
            if tokens > budget || heading.shown.is_empty() {
                break;
            }
            draft.heading_tokens = tokens;
            first = index;
        }
        draft.headings = self.path[first..].iter().map(|heading| heading.shown.clone()).collect();
        if !draft.headings.is_empty() {
            let context = (self.count)(&draft.headings.join(" > "));
            if context > self.limit / 2 {
                first = self.path.len();
                draft = Draft::default();
            }
        }
        let (count, base) = (self.count, self.base);
        for (index, heading) in self.path.iter_mut().enumerate() {
            // Once one of them stands in the text, those below it follow there, so that the order is kept.
            let in_text = index < first || heading.shown != heading.text || !draft.units.is_empty();
            if !heading.is_shown && in_text {
                let tokens = count(&heading.text).saturating_sub(base);
                let prov = heading.prov.clone();
                draft.units.push(Unit { text: heading.text.clone(), tokens, joiner: BLOCK, prov });
            }
            heading.is_shown = true;
        }
        draft
    }

    /// Counts a text.
    pub(super) fn unit(&self, text: String, joiner: &'static str, prov: &[Locator]) -> Unit {
        let tokens = (self.count)(&text).saturating_sub(self.base).max(1);
        Unit { text, tokens, joiner, prov: prov.to_vec() }
    }

    /// Adds a text as it stands, white space included; nothing for an empty one.
    pub(super) fn verbatim(&mut self, text: &str, prov: &[Locator]) -> Result<()> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let unit = self.unit(text.to_owned(), BLOCK, prov);
        self.add(unit)
    }

    fn budget(&self, draft: &Draft) -> usize {
        self.limit.saturating_sub(self.base + draft.tokens())
    }

    /// Whether a chunk with the present path could hold the unit.
    pub(super) fn fits_alone(&self, unit: &Unit) -> bool {
        let headings: usize = self.path.iter().map(|heading| heading.tokens + 1).sum();
        unit.tokens + self.base + headings.min(self.limit / HEADING_SHARE) <= self.limit
    }

    /// Adds a unit to the open chunk, or to a new one where it does not fit.
    pub(super) fn add(&mut self, unit: Unit) -> Result<()> {
        self.checkpoint.pass()?;
        if self.open.units.is_empty() {
            self.open = self.start();
        }
        let is_enough = unit.joiner == BLOCK && self.open.tokens() >= self.limit / ENOUGH_SHARE;
        if (is_enough || unit.tokens > self.budget(&self.open)) && !self.open.units.is_empty() {
            self.close()?;
            self.open = self.start();
        }
        self.open.units.push(unit);
        Ok(())
    }

    /// Adds units that should stay in one chunk if they fit one.
    pub(super) fn together(&mut self, mut units: Vec<Unit>) -> Result<()> {
        let Some(first) = units.first_mut() else { return Ok(()) };
        first.joiner = BLOCK;
        let tokens: usize = units.iter().map(|unit| unit.tokens).sum();
        let alone = Unit { text: String::new(), tokens, joiner: "", prov: Vec::new() };
        if !self.open.units.is_empty() && tokens > self.budget(&self.open) && self.fits_alone(&alone) {
            self.close()?;
        }
        units.into_iter().try_for_each(|unit| self.add(unit))
    }

    /// Adds a table's rows, the header above each run of them; without it where both do not fit together.
    pub(super) fn rows(&mut self, header: Unit, rows: Vec<Unit>) -> Result<()> {
        self.close()?;
        let widest = rows.iter().map(|row| row.tokens).max().unwrap_or(0);
        let both = Unit { tokens: header.tokens + widest.min(self.limit / 2), ..header.clone() };
        let repeat = self.fits_alone(&both) && header.tokens <= self.limit / 2;
        self.add(header.clone())?;
        for row in rows {
            if row.tokens > self.budget(&self.open) {
                self.close()?;
                if repeat {
                    self.add(header.clone())?;
                }
            }
            self.add(row)?;
        }
        self.close()
    }

    /// Ends the open chunk.
    fn close(&mut self) -> Result<()> {
        let draft = std::mem::take(&mut self.open);
        if draft.units.is_empty() { Ok(()) } else { self.settle(draft) }
    }

    fn fits(&self, chunk: &Chunk) -> bool {
        (self.count)(&chunk.embedded_text()) <= self.limit
    }

    /// Puts a draft among the finished ones; cuts it where the sum of its parts was too good.
    fn settle(&mut self, mut draft: Draft) -> Result<()> {
        if self.fits(&draft.chunk()) {
            self.drafts.push(draft);
            return Ok(());
        }
        if draft.units.len() > 1 {
            let last_half = draft.units.split_off(draft.units.len() / 2);
            let second = Draft { units: last_half, ..draft.clone() };
            self.settle(draft)?;
            return self.settle(second);
        }
        let Some(unit) = draft.units.pop() else { return Ok(()) };
        let budget = self.budget(&draft);
        let fits = |piece: &str| {
            let chunk = Chunk { text: piece.to_owned(), ..draft.chunk() };
            self.fits(&chunk)
        };
        let pieces = split::split(&unit.text, budget, self.base, self.count, &fits, self.checkpoint)?;
        for text in pieces {
            let tokens = (self.count)(&text).saturating_sub(self.base);
            self.drafts.push(Draft { units: vec![Unit { text, tokens, ..unit.clone() }], ..draft.clone() });
        }
        Ok(())
    }

    /// Ends the last section and numbers the chunks.
    pub(super) fn finish(mut self) -> Result<Vec<Chunk>> {
        self.close()?;
        self.leave(0)?;
        let drafts = self.merge_tiny()?;
        let mut chunks: Vec<Chunk> = drafts.iter().map(Draft::chunk).filter(|chunk| !chunk.text.is_empty()).collect();
        for (number, chunk) in chunks.iter_mut().enumerate() {
            self.checkpoint.pass()?;
            chunk.chunk_no = number as u32;
            chunk.token_count = (self.count)(&chunk.embedded_text()) as u32;
        }
        Ok(chunks)
    }

    /// Merges a tiny chunk with the next one: their common path stays the path, the rest of either becomes text.
    fn merge_tiny(&mut self) -> Result<Vec<Draft>> {
        let mut merged: Vec<Draft> = Vec::new();
        for draft in std::mem::take(&mut self.drafts) {
            self.checkpoint.pass()?;
            let joined = merged.last().and_then(|last| self.join(last, &draft));
            match joined {
                Some(joined) => {
                    merged.pop();
                    merged.push(joined);
                }
                None => merged.push(draft),
            }
        }
        Ok(merged)
    }

    fn join(&self, first: &Draft, second: &Draft) -> Option<Draft> {
        let is_tiny = |draft: &Draft| draft.tokens() <= self.limit / TINY_SHARE;
        if !(is_tiny(first) || is_tiny(second)) || first.tokens() + second.tokens() + self.base > self.limit {
            return None;
        }
        let common = first.headings.iter().zip(&second.headings).take_while(|(a, b)| a == b).count();
        // A path that is new in the second is a border; two tiny neighbours below different titles stay apart.
        let mut joined = Draft { headings: first.headings[..common].to_vec(), ..Draft::default() };
        for draft in [first, second] {
            let below = &draft.headings[common..];
            if !below.is_empty() {
                let text = below.join("\n");
                joined.units.push(Unit { text, tokens: draft.heading_tokens, joiner: BLOCK, prov: Vec::new() });
            }
            joined.units.extend(draft.units.iter().cloned());
        }
        joined.heading_tokens = joined.headings.len();
        self.fits(&joined.chunk()).then_some(joined)
    }
}
