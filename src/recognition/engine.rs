//! The engines that recognise text on pictures, and which of them reads a document.
//!
//! The law: languages, settings and machine decide, never the picture nor which files happen to lie there; so alike
//! machines read all pages of a document by one engine, and the trail says which. Where machines differ, `ocr.engine`
//! names the engine for all of them.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use deckle_contract::{
    document::Line,
    error::{Failure, Result, code},
    record::Lane,
};
use deckle_decode::Decoders;
use deckle_imaging::Pixmap;
use deckle_models::{
    Tag,
    computing::compute,
    ppocr::{Readers, coverage::Script},
};

/// How text is recognised, the section `[ocr]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which engine.
    pub engine: Setting,
    /// BCP 47, for documents that name none.
    pub languages: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { engine: Setting::Auto, languages: vec!["en".to_owned()] }
    }
}

/// Which engine is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Setting {
    /// The networks where they read the languages and the machine runs them well, else Tesseract.
    #[default]
    Auto,
    /// Tesseract, whatever the languages.
    Tesseract,
    /// The networks; documents in languages that they do not read are rejected.
    Onnx,
}

/// The engine that reads a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Tesseract, in a sandbox child.
    Tesseract,
    /// PP-OCR on ONNX Runtime, with the recogniser of a script.
    Onnx(Script),
}

/// The choice between the two where the setting leaves it and both may know the script. In f32 on OpenVINO the networks
/// take about twice the processor time of Tesseract on dense pages and err less wherever print is not clean
/// (typescript: 0.2 % of characters wrong, not 3 %). ONNX Runtime's own code is slower still: there Tesseract reads
/// what it can.
fn automatic(script: Script, is_fast: bool, has_tesseract: impl FnOnce() -> bool) -> Engine {
    if is_fast || !has_tesseract() { Engine::Onnx(script) } else { Engine::Tesseract }
}

/// Both engines. Cheap to clone.
#[derive(Clone)]
pub struct Engines {
    decoders: Decoders,
    readers: Readers,
    config: Config,
}

/// A picture to be read.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Its pixels.
    pub pixmap: Arc<Pixmap>,
    /// Pixels per inch.
    pub dpi: f32,
    /// The same as PNG, where it was encoded before.
    pub png: Option<Bytes>,
}

/// What an engine read, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Recognised {
    /// Lines with boxes in points.
    pub lines: Vec<Line>,
    /// Engine or model, for the trail; several are joined by ` + `.
    pub engine: String,
    /// Hashes of the weights, in the same order; `None` for Tesseract.
    pub weights_sha256: Option<String>,
    /// Processor time.
    pub cpu_us: i64,
    /// Accelerator time.
    pub gpu_us: i64,
}

impl Engines {
    /// Takes its parts.
    pub fn new(decoders: Decoders, readers: Readers, config: Config) -> Self {
        Self { decoders, readers, config }
    }

    /// The engine that reads these languages (BCP 47; none: those of the configuration).
    ///
    /// # Errors
    /// `ocr.language` where the setting insists on the networks, and they do not read one of them; `Unavailable` when
    /// ONNX Runtime cannot be loaded.
    pub async fn choose(&self, languages: &[String]) -> Result<Engine> {
        let languages = self.languages(languages);
        let script = Script::of(languages);
        match (self.config.engine, script) {
            (Setting::Tesseract, _) => Ok(Engine::Tesseract),
            (Setting::Onnx, Some(script)) => Ok(Engine::Onnx(script)),
            (Setting::Onnx, None) => Err(Failure::rejected(
                code::OCR_LANGUAGE,
                format!(
                    "the OCR models do not read {}: set ocr.engine to \"auto\", which takes Tesseract for it",
                    languages.join(", ")
                ),
            )),
            (Setting::Auto, None) => Ok(Engine::Tesseract),
            (Setting::Auto, Some(script)) => {
                let is_fast = self.readers.is_fast().await?;
                Ok(automatic(script, is_fast, || self.decoders.has_languages(languages)))
            }
        }
    }

    /// Recognises a picture.
    ///
    /// # Errors
    /// `ocr.language` when nothing reads one of the languages; `Unavailable` when weights are missing or altered.
    pub async fn recognise(
        &self,
        Picture { pixmap, dpi, png }: Picture,
        languages: &[String],
        lane: Lane,
        tag: Tag,
    ) -> Result<Recognised> {
        match self.choose(languages).await? {
            Engine::Tesseract => {
                let (png, to_encode) = match png {
                    Some(png) => (png, 0),
                    // It is decoded in a child, which takes no other form.
                    None => {
                        let (png, cpu_us) = compute(move || pixmap.to_png()).await?;
                        (png?.into(), cpu_us)
                    }
                };
                let recognised = self.decoders.recognise(&png, dpi, self.languages(languages)).await?;
                let (engine, lines) = (recognised.value.engine, recognised.value.lines);
                let cpu_us = to_encode + recognised.cpu_us;
                Ok(Recognised { lines, engine, weights_sha256: None, cpu_us, gpu_us: 0 })
            }
            Engine::Onnx(script) => {
                let reader = self.readers.get(script).await?;
                let reading = reader.read(pixmap, dpi, self.languages(languages), lane, tag).await?;
                let [names, hashes] = {
                    let [(detector, of_detector), (recogniser, of_recogniser)] = reader.weights();
                    [[detector, recogniser], [of_detector, of_recogniser]].map(|pair| pair.join(" + "))
                };
                Ok(Recognised {
                    lines: reading.lines,
                    engine: names,
                    weights_sha256: Some(hashes),
                    cpu_us: reading.cpu_us,
                    gpu_us: reading.gpu_us,
                })
            }
        }
    }

    fn languages<'a>(&'a self, asked: &'a [String]) -> &'a [String] {
        if asked.is_empty() { &self.config.languages } else { asked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_networks_read_what_they_know_on_machines_that_run_them_well() {
        let onnx = Engine::Onnx(Script::Latin);
        assert_eq!(automatic(Script::Latin, true, || true), onnx);
        assert_eq!(automatic(Script::Latin, false, || true), Engine::Tesseract);
        // Slowly is better than not at all.
        assert_eq!(automatic(Script::Latin, false, || false), onnx);
    }
}
