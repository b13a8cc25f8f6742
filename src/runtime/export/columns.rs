//! Columns of exports, and what stands in them.
//!
//! The law: both forms of an export are made from the same cells, in the same order, under the same names. A name and
//! its type never change; columns may be added.

use std::collections::BTreeMap;

use deckle_contract::{document::Locator, error::Reason};

/// What a column holds. Any cell may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    /// 32 bits.
    Float,
    /// µs since 1970 in UTC; RFC 3339 in JSON.
    Time,
    /// A list of texts.
    Texts,
    /// A list of floats.
    Floats,
    /// Texts by name.
    Pairs,
    /// A list of places in a file, [`Locator`].
    Places,
    /// A list of why something failed, [`Reason`].
    Reasons,
}

impl Kind {
    /// The name that people read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "int",
            Self::Long => "bigint",
            Self::Float => "float",
            Self::Time => "timestamp",
            Self::Texts => "list of text",
            Self::Floats => "list of float",
            Self::Pairs => "map of text",
            Self::Places => "list of struct",
            Self::Reasons => "list of struct",
        }
    }
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name, for ever.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it means, for people.
    pub meaning: &'static str,
}

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// Not known, or there is none.
    Null,
    /// Of [`Kind::Text`].
    Text(&'a str),
    /// Of [`Kind::Int`].
    Int(u32),
    /// Of [`Kind::Long`].
    Long(i64),
    /// Of [`Kind::Float`].
    Float(f32),
    /// Of [`Kind::Time`].
    Time(i64),
    /// Of [`Kind::Texts`].
    Texts(&'a [String]),
    /// Of [`Kind::Floats`].
    Floats(&'a [f32]),
    /// Of [`Kind::Pairs`].
    Pairs(&'a BTreeMap<String, String>),
    /// Of [`Kind::Places`].
    Places(&'a [Locator]),
    /// Of [`Kind::Reasons`].
    Reasons(&'a [Reason]),
}

impl<'a> Cell<'a> {
    /// A cell of a value that may be missing.
    pub fn of<T>(value: Option<T>, cell: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Null, cell)
    }

    /// Bytes that it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let texts = |texts: &[String]| texts.iter().map(|text| text.len() + 4).sum::<usize>();
        match self {
            Self::Null => 1,
            Self::Int(_) | Self::Float(_) => 4,
            Self::Long(_) | Self::Time(_) => 8,
            Self::Text(text) => text.len() + 4,
            Self::Texts(all) => texts(all) + 4,
            Self::Floats(all) => size_of_val(*all) + 4,
            Self::Pairs(all) => all.iter().map(|(name, value)| name.len() + value.len() + 8).sum::<usize>() + 4,
            Self::Places(all) => all.len() * 64 + 4,
            Self::Reasons(all) => all.iter().map(|reason| reason.message.len() + 64).sum::<usize>() + 4,
        }
    }
}
