//! The child's side: one handler that loads each decoder when it is first asked for, and keeps it.

use super::{
    CONFIG_VARIABLE, Check, Config, Opened, PageContent, image, markdown,
    pdf::Pdf,
    raster::Grey,
    request::{Outcome, Rendered, Request, Secret},
    sniff,
    tesseract::{self, Tesseract},
    text,
};
use crate::{
    error::{Failure, Result, code},
    sandbox::{self, File},
};
use serde::Serialize;

/// Runs the child process of [`super::Decoders`]: what the hidden command `deckle sandbox` does. Never returns.
pub fn child() -> ! {
    let config = std::env::var(CONFIG_VARIABLE).ok().and_then(|text| serde_json::from_str(&text).ok());
    let mut workshop = Workshop { config: config.unwrap_or_default(), pdf: None, tesseract: None };
    sandbox::serve(move |file, request| workshop.answer(file, request))
}

/// The decoders of one child.
struct Workshop {
    config: Config,
    pdf: Option<Pdf>,
    tesseract: Option<Tesseract>,
}

impl Workshop {
    fn answer(&mut self, file: Option<&File>, request: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (request, attachment) = match Request::decode(request) {
            Ok(decoded) => decoded,
            Err(failure) => return (encode::<()>(Err(failure)), Vec::new()),
        };
        let reply = match request {
            Request::Open { filename, password } => {
                encode(needed(file).and_then(|file| self.open(file, &filename, password.as_ref())))
            }
            Request::ReadPage { media_type, page_no, password } => {
                encode(needed(file).and_then(|file| self.read(file, &media_type, page_no, password.as_ref())))
            }
            Request::RenderPage { media_type, page_no, password } => {
                let rendered = needed(file).and_then(|file| self.render(file, &media_type, page_no, password.as_ref()));
                return match rendered.and_then(|(rendered, grey)| Ok((rendered, grey.to_png()?))) {
                    Ok((rendered, png)) => (encode(Ok(rendered)), png),
                    Err(failure) => (encode::<Rendered>(Err(failure)), Vec::new()),
                };
            }
            Request::Recognise { dpi, languages } => {
                encode(Grey::from_png(attachment, self.config.max_pixels).and_then(|picture| {
                    Tesseract::for_languages(&mut self.tesseract, &languages, &self.config)?.recognise(&picture, dpi)
                }))
            }
            Request::Check => encode(Ok(self.check())),
        };
        (reply, Vec::new())
    }

    fn open(&mut self, file: &File, filename: &str, password: Option<&Secret>) -> Result<Opened> {
        match sniff::media_type(&file.bytes, filename)? {
            sniff::PDF => {
                let config = self.config.clone();
                self.pdf()?.open(&file.sha256, &file.bytes, password.map(Secret::reveal), &config)
            }
            media_type @ (sniff::PNG | sniff::JPEG) => image::open(&file.bytes, media_type, &self.config),
            sniff::MARKDOWN => Ok(markdown::open(&text::decode(&file.bytes)?)),
            _ => Ok(text::open(&text::decode(&file.bytes)?)),
        }
    }

    fn read(&mut self, file: &File, media_type: &str, page_no: u32, password: Option<&Secret>) -> Result<PageContent> {
        match media_type {
            sniff::PDF => self.pdf()?.read(&file.sha256, &file.bytes, password.map(Secret::reveal), page_no),
            sniff::PNG | sniff::JPEG => image::read(&file.bytes, media_type, page_no, &self.config),
            other => Err(no_pages(other)),
        }
    }

    fn render(
        &mut self,
        file: &File,
        media_type: &str,
        page_no: u32,
        password: Option<&Secret>,
    ) -> Result<(Rendered, Grey)> {
        match media_type {
            sniff::PDF => {
                let config = self.config.clone();
                self.pdf()?.render(&file.sha256, &file.bytes, password.map(Secret::reveal), page_no, &config)
            }
            sniff::PNG | sniff::JPEG => image::render(&file.bytes, media_type, page_no, &self.config),
            other => Err(no_pages(other)),
        }
    }

    fn pdf(&mut self) -> Result<&mut Pdf> {
        match &mut self.pdf {
            Some(pdf) => Ok(pdf),
            empty => Ok(empty.insert(Pdf::load(self.config.pdfium.as_deref())?)),
        }
    }

    fn check(&mut self) -> Vec<Check> {
        vec![self.check_pdfium(), check_tesseract(&self.config), check_confinement()]
    }

    fn check_pdfium(&mut self) -> Check {
        let loaded = self.pdf().map(|_| ());
        let folder = self.config.pdfium.as_ref().map_or("the system's libraries".into(), |p| p.display().to_string());
        Check {
            name: "pdfium".to_owned(),
            ok: loaded.is_ok(),
            detail: loaded.map_or_else(|failure| failure.to_string(), |()| format!("loaded from {folder}")),
            advice: if self.pdf.is_some() {
                String::new()
            } else {
                "take libpdfium.so from PyPI's pypdfium2 wheel and set decode.pdfium to its folder".to_owned()
            },
        }
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
    let (landlock, missing) = sandbox::confinement()
        .map_or(("none".to_owned(), Vec::new()), |found| (found.landlock.clone(), found.missing.clone()));
    let ok = landlock == "full" && missing.is_empty();
    let missing = if missing.is_empty() { String::new() } else { format!("; not set: {}", missing.join(", ")) };
    Check {
        name: "sandbox".to_owned(),
        ok,
        detail: format!("landlock: {landlock}{missing}"),
        advice: if ok {
            String::new()
        } else {
            "decoding works, with less protection; Linux 6.12 or later with landlock in its lsm list gives all of it"
                .to_owned()
        },
    }
}

fn needed(file: Option<&File>) -> Result<&File> {
    file.ok_or_else(|| Failure::defect("a request to a decoder came without its file"))
}

fn no_pages(media_type: &str) -> Failure {
    Failure::rejected(code::UNSUPPORTED_TYPE, format!("a file of type {media_type} has no pages"))
}

fn encode<T: Serialize>(result: Result<T>) -> Vec<u8> {
    serde_json::to_vec(&Outcome::from(result)).unwrap_or_else(|e| {
        let failure = Outcome::<()>::Defect { message: format!("a decoder's reply cannot be written: {e}") };
        serde_json::to_vec(&failure).unwrap_or_default()
    })
}
