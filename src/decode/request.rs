//! What [`super::Decoders`] asks of a child, and the outcome; JSON, with large bytes beside it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::PageImage;
use deckle_contract::error::{Failure, Result};

/// A password on its way to the child: it shows itself to nobody else.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    /// Hides a password.
    pub(crate) fn new(password: &str) -> Self {
        Self(password.to_owned())
    }

    /// The password, for the decoder only.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// One request. Pages count from 1.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Sniff and open.
    Open { filename: String, password: Option<Secret> },
    /// Text layer and signals of a page.
    ReadPage { media_type: String, page_no: u32, password: Option<Secret> },
    /// What the file says of itself.
    ReadFacts { media_type: String, password: Option<Secret>, look_into_attachments: bool },
    /// A page as a picture.
    RenderPage { media_type: String, page_no: u32, password: Option<Secret> },
    /// Recognise the attached PNG.
    Recognise { dpi: f32, languages: Vec<String> },
    /// Is everything there?
    Check,
}

impl Request {
    /// JSON, its length in front, the attachment behind.
    #[expect(clippy::expect_used, reason = "plain fields are always JSON")]
    pub(crate) fn encode(&self, attachment: &[u8]) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("plain fields are always JSON");
        let mut out = Vec::with_capacity(4 + json.len() + attachment.len());
        out.extend((json.len() as u32).to_le_bytes());
        out.extend(json);
        out.extend(attachment);
        out
    }

    /// The request and its attachment.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let broken = || Failure::defect("a request to a decoder is cut short");
        let (len, rest) = bytes.split_first_chunk::<4>().ok_or_else(broken)?;
        let (json, attachment) = rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(broken)?;
        let request = serde_json::from_slice(json)
            .map_err(|e| Failure::defect(format!("a request to a decoder is not readable: {e}")))?;
        Ok((request, attachment))
    }
}

/// A `Result` on the wire.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Outcome<T> {
    /// It went well.
    Ok {
        /// What was asked for.
        value: T,
    },
    /// [`Failure::Rejected`].
    Rejected { code: String, message: String },
    /// [`Failure::Unavailable`].
    Unavailable { dependency: String, message: String },
    /// Everything else.
    Defect { message: String },
}

impl<T> Outcome<T> {
    /// Back to what callers know. That something is away is what the child says; whoever asks makes sure of it.
    pub(crate) fn into_result(self) -> Result<T> {
        match self {
            Self::Ok { value } => Ok(value),
            Self::Rejected { code, message } => Err(Failure::Rejected { code, message }),
            Self::Unavailable { dependency, message } => Err(Failure::Unavailable { dependency, message }),
            Self::Defect { message } => Err(Failure::Defect { message }),
        }
    }
}

impl<T> From<Result<T>> for Outcome<T> {
    fn from(result: Result<T>) -> Self {
        match result {
            Ok(value) => Self::Ok { value },
            Err(Failure::Rejected { code, message }) => Self::Rejected { code, message },
            Err(Failure::Unavailable { dependency, message }) => Self::Unavailable { dependency, message },
            Err(Failure::Defect { message } | Failure::Transient { message }) => Self::Defect { message },
        }
    }
}

/// A [`PageImage`] without its bytes, which travel as the payload.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RenderedPage {
    /// Pixels per inch.
    pub dpi: f32,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
    /// Width in points.
    pub page_width: f32,
    /// Height in points.
    pub page_height: f32,
    /// Clockwise degrees applied.
    pub rotation: u16,
}

impl RenderedPage {
    /// Joins it with its bytes.
    pub(crate) fn into_raster(self, png: Bytes) -> PageImage {
        let Self { dpi, width_px, height_px, page_width, page_height, rotation } = self;
        PageImage { png, dpi, width_px, height_px, page_width, page_height, rotation }
    }
}
