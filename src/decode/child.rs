//! The child's side: one handler that keeps the decoders it has used.

use super::{
    CONFIG_VARIABLE, Check, Config, Opened,
    format::{self, DecodeRequest, Format},
    formats,
    request::{Outcome, RenderedPage, Request, Secret},
    sniff::{self, Identity},
    tesseract::{self, Tesseract},
};
use crate::sandbox::{self, File};
use deckle_contract::error::{Failure, Result, code};
use deckle_imaging::Pixmap;
use serde::Serialize;

/// Runs the child process of [`super::Decoders`]: what the hidden command `deckle sandbox` does. Never returns.
pub fn child() -> ! {
    let config = std::env::var(CONFIG_VARIABLE).ok().and_then(|text| serde_json::from_str(&text).ok());
    let mut session = DecoderSession { config: config.unwrap_or_default(), formats: formats(), tesseract: None };
    sandbox::serve(move |file, request| session.answer(file, request))
}

/// The decoders of one child.
struct DecoderSession {
    config: Config,
    formats: Vec<Box<dyn Format>>,
    tesseract: Option<Tesseract>,
}

impl DecoderSession {
    fn answer(&mut self, file: Option<&File>, request: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (request, attachment) = match Request::decode(request) {
            Ok(decoded) => decoded,
            Err(failure) => return (encode::<()>(Err(failure)), Vec::new()),
        };
        let reply = match request {
            Request::Open { filename, password } => {
                encode(needed(file).and_then(|file| self.open(file, &filename, password.as_ref())))
            }
            Request::ReadPage { media_type, page_no, password } => encode(needed(file).and_then(|file| {
                let ask = |format: &mut dyn Format, asked: &DecodeRequest<'_>| format.read_page(asked, page_no);
                let content = self.with_format(file, &media_type, password.as_ref(), ask)?;
                content.check(&self.config)?;
                Ok(content)
            })),
            Request::ReadFacts { media_type, password, look_into_attachments } => {
                encode(needed(file).and_then(|file| {
                    let ask = |format: &mut dyn Format, asked: &DecodeRequest<'_>| {
                        format.read_facts(asked, look_into_attachments)
                    };
                    self.with_format(file, &media_type, password.as_ref(), ask)
                }))
            }
            Request::RenderPage { media_type, page_no, password } => {
                let rendered = needed(file).and_then(|file| {
                    let ask = |format: &mut dyn Format, asked: &DecodeRequest<'_>| format.render_page(asked, page_no);
                    self.with_format(file, &media_type, password.as_ref(), ask)
                });
                return match rendered.and_then(|(rendered, picture)| Ok((rendered, picture.to_png()?))) {
                    Ok((rendered, png)) => (encode(Ok(rendered)), png),
                    Err(failure) => (encode::<RenderedPage>(Err(failure)), Vec::new()),
                };
            }
            Request::Recognise { dpi, languages } => {
                encode(Pixmap::from_png(attachment, self.config.max_pixels).and_then(|picture| {
                    Tesseract::for_languages(&mut self.tesseract, &languages, &self.config)?
                        .recognise(&picture.into_grey(), dpi)
                }))
            }
            Request::Check => encode(Ok(self.check())),
        };
        (reply, Vec::new())
    }

    fn open(&mut self, file: &File, filename: &str, password: Option<&Secret>) -> Result<Opened> {
        let Identity { media_type, name } = sniff::identify(&file.bytes, filename)?;
        if !self.formats.iter().any(|format| format.media_types().contains(&media_type)) {
            let reads = format::names(&self.formats);
            let message = format!("this is {name} ({media_type}); deckle reads {reads}");
            return Err(Failure::rejected(code::UNSUPPORTED_TYPE, message));
        }
        let opened = self.with_format(file, media_type, password, |format, asked| format.open(asked))?;
        self.config.document_limits().check(&opened.blocks)?;
        Ok(opened)
    }

    /// Asks the decoder of a media type.
    fn with_format<T>(
        &mut self,
        file: &File,
        media_type: &str,
        password: Option<&Secret>,
        ask: impl FnOnce(&mut dyn Format, &DecodeRequest<'_>) -> Result<T>,
    ) -> Result<T> {
        let asked = DecodeRequest { file, media_type, password: password.map(Secret::reveal), config: &self.config };
        let format = self.formats.iter_mut().find(|format| format.media_types().contains(&media_type));
        let format = format.ok_or_else(|| Failure::defect(format!("no decoder reads {media_type}")))?;
        ask(&mut **format, &asked)
    }

    fn check(&mut self) -> Vec<Check> {
        let mut found: Vec<Check> = self.formats.iter_mut().filter_map(|format| format.check(&self.config)).collect();
        found.extend([check_tesseract(&self.config), check_confinement()]);
        found
    }
}

fn check_tesseract(config: &Config) -> Check {
    let installed = tesseract::installed(config);
    let ok = installed.iter().any(|name| name == "eng");
    Check {
        name: "tesseract".to_owned(),
        ok,
        detail: format!(
            "version {}, languages in {}: {}",
            tesseract::version(),
            config.tessdata().display(),
            if installed.is_empty() { "none".to_owned() } else { installed.join(", ") }
        ),
        advice: if ok {
            String::new()
        } else {
            "apt-get install tesseract-ocr-eng, or set decode.tessdata to the folder of eng.traineddata".to_owned()
        },
    }
}

fn check_confinement() -> Check {
    let found = sandbox::confinement();
    let ok = found.is_some_and(sandbox::Confinement::is_full);
    Check {
        name: "sandbox".to_owned(),
        ok,
        detail: found.map_or_else(|| "none".to_owned(), ToString::to_string),
        advice: if ok {
            String::new()
        } else {
            "decoding works, with less protection, unless `sandbox.require` is set; Linux 6.12 or later with landlock in \
             its lsm list gives all of it"
                .to_owned()
        },
    }
}

fn needed(file: Option<&File>) -> Result<&File> {
    file.ok_or_else(|| Failure::defect("a request to a decoder came without its file"))
}

fn encode<T: Serialize>(result: Result<T>) -> Vec<u8> {
    serde_json::to_vec(&Outcome::from(result)).unwrap_or_else(|e| {
        let failure = Outcome::<()>::Defect { message: format!("a decoder's reply cannot be written: {e}") };
        serde_json::to_vec(&failure).unwrap_or_default()
    })
}
