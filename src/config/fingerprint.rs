//! What a result depends on besides the file and what its producer asks for: settings, models, and the rules in the code.
//!
//! The law: every setting is named here, as one that changes results or as one that does not, so that a new one cannot
//! be forgotten: without a decision on it this file does not compile. What counts is what is configured, not what `auto`
//! comes to on a machine: workers of a fleet on different processors give a document the same fingerprint, and none of
//! them reads again what another has read.

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::Config;
use crate::{
    decode::{self, sandbox},
    models::{self, inference},
    structure::chunking,
};

/// The number of the rules in the code that make results: judgement of text layers, layout, tables, outline, fields,
/// chunking, renderings. Whoever changes what they give raises it, so that files are read again;
/// `tests/suite/rules.rs` fails where results changed and this did not.
pub const RULES: u32 = 3;

/// Hash of the settings, models and rules that change results: another value means another fingerprint.
pub(super) fn of(config: &Config) -> anyhow::Result<String> {
    let Config {
        decode,
        ocr,
        inference,
        language,
        home: _,
        data: _,
        tenant: _,
        log: _,
        store: _,
        blobs: _,
        sources: _,
        passwords: _,
        retention: _,
        registry: _,
        publish: _,
        sandbox,
        worker: _,
        concurrency: _,
        http: _,
    } = config;
    // Limits count: under a higher one, a file that was refused is to be read when it is submitted again.
    let decode::Config {
        max_pages,
        max_pixels,
        max_source_pixels,
        render_dpi,
        max_characters,
        max_blocks,
        max_page_characters,
        max_page_rules,
        // A file above it has not come so far.
        max_bytes: _,
        pdfium: _,
        heif: _,
        tessdata: _,
    } = decode;
    // So do those of a child. Its wall time ends no file.
    let sandbox::Config {
        memory_mb,
        cpu_s,
        answer_mb,
        wall_s: _,
        children: _,
        requests_per_child: _,
        recycle_mb: _,
        require: _,
        readable: _,
    } = sandbox;
    let child = (memory_mb, cpu_s, answer_mb);
    let pictures = (max_pages, max_pixels, max_source_pixels, render_dpi);
    let texts = (max_characters, max_blocks, max_page_characters, max_page_rules, language);
    let inference::Config {
        provider,
        precision,
        library: _,
        sessions: _,
        threads_per_session: _,
        max_batch: _,
        max_delay_ms: _,
        queue_mb: _,
        gpu_device: _,
        gpu_memory_mb: _,
    } = inference;
    let settings = (pictures, texts, child, ocr, provider, precision, chunking::NAME);
    // Other models that embed add vectors, and change nothing of a result.
    let catalogue = models::Catalogue::load();
    let change_results = catalogue.models.iter().filter(|entry| entry.task != models::EMBED);
    let weights: Vec<_> = std::iter::once(catalogue.embedder())
        .chain(change_results)
        .flat_map(|entry| &entry.files)
        .map(|file| &file.sha256)
        .collect();
    let json = serde_json::to_vec(&(settings, weights, RULES)).context("settings as JSON")?;
    Ok(hex::encode(Sha256::digest(json))[..16].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_results_changes_the_hash_and_nothing_else_does() {
        let hash = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            of(&config).unwrap()
        };
        let usual = hash(|_| ());
        assert_ne!(hash(|config| config.inference.precision = inference::Precision::Int8), usual);
        assert_ne!(hash(|config| config.decode.render_dpi = 300.0), usual);
        assert_ne!(hash(|config| config.ocr.languages = vec!["de".to_owned()]), usual);
        assert_eq!(hash(|config| config.inference.max_batch = std::num::NonZeroUsize::new(1)), usual);
        assert_ne!(hash(|config| config.language.max_chunks = 1), usual);
        assert_ne!(hash(|config| config.sandbox.memory_mb = 1), usual);
        assert_eq!(hash(|config| config.sandbox.wall_s = 1), usual);
        assert_eq!(hash(|config| config.decode.max_bytes = 1), usual);
        assert_eq!(hash(|config| config.worker.retry_s = 1), usual);
    }
}
