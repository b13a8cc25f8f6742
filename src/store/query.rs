//! What a search asks, what it leaves out, and what it finds.
//!
//! The law: a hit is a chunk of the run that its document's header names, and the filter admits that run; whatever an
//! index says, the header decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DocumentKey, PublishedVersion};
use deckle_contract::document::{Chunk, Locator};

/// A question to the chunks: by meaning, by words, or by both. One with neither finds nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// Finds the chunks nearest in meaning.
    pub vector: Option<QueryVector>,
    /// Finds the chunks that have these words, as a person types them: one word is enough, rare ones count more, and
    /// what stands in double quotes must be there as it stands. Beside a vector, common words say nothing.
    pub keywords: Option<String>,
    /// The chunks that may be found at all.
    pub filter: SearchFilter,
    /// The largest number of hits.
    pub k: usize,
}

impl Query {
    /// The mode of the search, as a label of metrics.
    pub(super) fn mode(&self) -> &'static str {
        match (&self.vector, &self.keywords) {
            (Some(_), Some(_)) => "hybrid",
            (Some(_), None) => "vector",
            (None, Some(_)) => "keyword",
            (None, None) => "nothing",
        }
    }
}

/// A question as a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryVector {
    /// The model that made it: only vectors of the same one are compared.
    pub model: String,
    /// The vector, of any Euclidean length but 0.
    pub vector: Vec<f32>,
}

/// A condition on the chunks that may be found: every field that is set must hold. The empty filter admits all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchFilter {
    /// Only chunks of this tenant.
    pub tenant: Option<String>,
    /// Only chunks of documents in one of these languages (BCP 47), if any is named; `zh` includes `zh-Hans`.
    pub languages: Vec<String>,
    /// Only chunks of files of one of these media types, if any is named; `image/*` includes `image/png`.
    pub media_types: Vec<String>,
    /// Only chunks of runs published at or after this time, µs since 1970, UTC.
    pub since: Option<i64>,
    /// Only chunks of runs published before this time, µs since 1970, UTC.
    pub until: Option<i64>,
    /// Only chunks of documents that have all of these attributes.
    pub attributes: BTreeMap<String, String>,
    /// Who asks. `None` is trusted and sees all; these principals see documents whose list of access is empty or has
    /// one of them.
    pub access: Option<Vec<String>>,
}

impl SearchFilter {
    /// A filter that admits all chunks of one tenant.
    pub fn of_tenant(tenant: impl Into<String>) -> Self {
        Self { tenant: Some(tenant.into()), ..Self::default() }
    }

    /// Whether chunks of a document may be found.
    pub(super) fn admits(&self, tenant: &str, facets: &Facets) -> bool {
        self.tenant.as_ref().is_none_or(|wanted| wanted == tenant)
            && any(&self.languages, |range| is_language(&facets.language, range))
            && any(&self.media_types, |range| is_media_type(&facets.media_type, range))
            && self.since.is_none_or(|since| since <= facets.published_at)
            && self.until.is_none_or(|until| facets.published_at < until)
            && self.attributes.iter().all(|(name, value)| facets.attributes.get(name) == Some(value))
            && self.access.as_ref().is_none_or(|asking| may_see(asking, &facets.access))
    }

    /// Whether it looks at what documents are, beyond whose they are.
    pub(super) fn looks_at_facets(&self) -> bool {
        *self != Self { tenant: self.tenant.clone(), ..Self::default() }
    }
}

/// What a filter looks at: what is known of a document's current run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facets {
    pub(super) language: String,
    pub(super) media_type: String,
    pub(super) published_at: i64,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) access: Vec<String>,
}

impl From<&PublishedVersion> for Facets {
    fn from(current: &PublishedVersion) -> Self {
        Self {
            language: current.language.clone(),
            media_type: current.source.media_type.clone(),
            published_at: current.published_at,
            attributes: current.attributes.clone(),
            access: current.access.clone(),
        }
    }
}

/// Whether one of the wanted ones is it, where any is wanted.
fn any(wanted: &[String], is_it: impl Fn(&str) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| is_it(wanted))
}

/// Whether a language is within a range: basic filtering of RFC 4647, 3.3.1.
fn is_language(language: &str, range: &str) -> bool {
    let Some((start, rest)) = language.split_at_checked(range.len()) else { return false };
    start.eq_ignore_ascii_case(range) && (rest.is_empty() || rest.starts_with('-'))
}

/// Whether a media type is within a range: it alone, or all of its kind (`image/*`).
fn is_media_type(media_type: &str, range: &str) -> bool {
    match range.strip_suffix('*') {
        Some(kind) if kind.ends_with('/') => {
            media_type.split_at_checked(kind.len()).is_some_and(|(start, _)| start.eq_ignore_ascii_case(kind))
        }
        _ => media_type.eq_ignore_ascii_case(range),
    }
}

/// Whether one of those who ask is on a document's list; an empty list is everybody's.
fn may_see(asking: &[String], access: &[String]) -> bool {
    access.is_empty() || asking.iter().any(|principal| !principal.is_empty() && access.contains(principal))
}

/// A chunk found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The document that the hit belongs to.
    pub key: DocumentKey,
    /// The run it belongs to, which is the document's current one.
    pub run: i64,
    /// The file's name.
    pub filename: String,
    /// What hits are ordered by, the greatest first: the similarity, the score of the words, or what both ranks give
    /// together. Comparable within one search only.
    pub score: f32,
    /// Cosine similarity, −1..1, where the vectors found it.
    pub similarity: Option<f32>,
    /// BM25 of its words, where the words found it.
    pub keyword_score: Option<f32>,
    /// The chunk.
    pub chunk: Chunk,
}

impl Hit {
    /// Where the chunk starts.
    pub fn first_locator(&self) -> Option<&Locator> {
        self.chunk.prov.first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facets() -> Facets {
        Facets {
            language: "zh-Hans".into(),
            media_type: "image/png".into(),
            published_at: 50,
            attributes: [("project", "moon"), ("year", "1969")].map(|(k, v)| (k.into(), v.into())).into(),
            access: vec!["group:a".into(), "user:b".into()],
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_part_of_a_filter_leaves_out_by_itself() {
        let all = SearchFilter::default;
        for (filter, admits) in [
            (all(), true),
            (SearchFilter::of_tenant("t"), true),
            (SearchFilter::of_tenant("T"), false),
            (SearchFilter { languages: names(&["de", "ZH"]), ..all() }, true),
            (SearchFilter { languages: names(&["zh-Hans"]), ..all() }, true),
            (SearchFilter { languages: names(&["z", "zh-H", "zh-Hans-CN", ""]), ..all() }, false),
            (SearchFilter { media_types: names(&["Image/PNG"]), ..all() }, true),
            (SearchFilter { media_types: names(&["text/plain", "image/*"]), ..all() }, true),
            (SearchFilter { media_types: names(&["image", "im*", "text/*", "image/p*"]), ..all() }, false),
            (SearchFilter { since: Some(50), until: Some(51), ..all() }, true),
            (SearchFilter { since: Some(51), ..all() }, false),
            (SearchFilter { until: Some(50), ..all() }, false),
            (SearchFilter { attributes: attributes(&[("project", "moon")]), ..all() }, true),
            (SearchFilter { attributes: attributes(&[("project", "moon"), ("year", "1970")]), ..all() }, false),
            (SearchFilter { attributes: attributes(&[("crew", "3")]), ..all() }, false),
            (SearchFilter { access: Some(names(&["user:c", "user:b"])), ..all() }, true),
            (SearchFilter { access: Some(names(&["user:c", "USER:B", "group:a2"])), ..all() }, false),
            (SearchFilter { access: Some(Vec::new()), ..all() }, false),
            (SearchFilter { access: Some(names(&[""])), ..all() }, false),
        ] {
            assert_eq!(filter.admits("t", &facets()), admits, "{filter:?}");
        }
    }

    #[test]
    fn a_document_without_a_list_of_access_is_everybodys() {
        let nobody = SearchFilter { access: Some(Vec::new()), ..SearchFilter::default() };
        assert!(nobody.admits("t", &Facets { access: Vec::new(), ..facets() }));
    }

    #[test]
    fn a_document_of_before_lists_were_kept_is_nobodys() {
        let current: PublishedVersion = serde_json::from_value(serde_json::json!({
            "run": 5, "version": 5, "status": "published", "fingerprint": "", "page_count": 0, "failed_pages": 0,
            "source": {"uri": "", "filename": "", "media_type": "", "size_bytes": 0, "sha256": ""}, "block_count": 0,
            "chunk_count": 0, "language": "und", "reasons": [], "published_at": 0, "trail": [],
        }))
        .unwrap();
        let facets = Facets::from(&current);
        for asking in ["", "user:a"] {
            let filter = SearchFilter { access: Some(vec![asking.into()]), ..SearchFilter::default() };
            assert!(!filter.admits("t", &facets), "{asking:?}");
        }
        assert!(SearchFilter::default().admits("t", &facets), "whoever is trusted sees all");
    }
}
