//! What a file says of itself beside its text: information, outline, attachments, page labels, links, form fields.
//!
//! The law: facts are what the file states, not what is true. Nothing here was checked against the text, every list and
//! text is bounded where it is read, and [`DocumentMetadata::cut_short`] names what was left out.

use serde::{Deserialize, Serialize};

use super::{Bbox, Page};

/// What a file says of itself as a whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DocumentMetadata {
    /// Who made it, when, with what.
    #[serde(skip_serializing_if = "Information::is_empty")]
    pub information: Information,
    /// Its outline ("bookmarks"), in reading order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outline: Vec<OutlineEntry>,
    /// Files inside it; listed, not taken out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// What the pages are called, from page 1 on, as `iv` or `A-3`; empty when the file names none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub page_labels: Vec<String>,
    /// Whether there is more of something than is kept here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut_short: bool,
}

/// The document's information, as its author or program filled it in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Information {
    /// The title. Programs often put a file name here: see [`Information::telling_title`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Keywords, in the file's own punctuation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keywords: Option<String>,
    /// The program that it was written with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator: Option<String>,
    /// The program that made the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer: Option<String>,
    /// When it was made; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// When it was changed last; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// The language that the file states (BCP 47), whatever its text is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Version of the format, as `1.7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format_version: Option<String>,
    /// Whether the file marks its own structure (a tagged PDF).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tagged: bool,
}

impl Information {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The title, unless a program put it in by itself: `untitled`, the name of a file.
    pub fn telling_title(&self) -> Option<&str> {
        const AUTOMATIC: [&str; 4] =
            ["untitled", "microsoft word - ", "microsoft powerpoint - ", "powerpoint presentation"];
        const FILE_NAMES: [&str; 11] =
            [".doc", ".docx", ".indd", ".qxd", ".tex", ".dvi", ".pdf", ".ppt", ".pptx", ".xls", ".xlsx"];
        let title = self.title.as_deref()?;
        let lower = title.to_lowercase();
        let useless = title.is_empty()
            || AUTOMATIC.iter().any(|start| lower.starts_with(start))
            || FILE_NAMES.iter().any(|end| lower.ends_with(end));
        (!useless).then_some(title)
    }
}

/// A place in the document that an outline or a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Destination {
    /// The page, counted from 1.
    pub page_no: u32,
    /// Distance from the top of the upright page in points, once its page is known; `None` means the whole page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<f32>,
    /// The place as the file states it, x and y in the page's own coordinates.
    #[serde(default, skip_serializing_if = "is_unstated")]
    pub stated: [Option<f32>; 2],
}

fn is_unstated(place: &[Option<f32>; 2]) -> bool {
    *place == [None, None]
}

impl Destination {
    /// Finds the place on the upright page, if this is the page.
    pub fn locate(&mut self, page: &Page) {
        let Some([_, b, _, d, _, f]) = page.from_user_space.filter(|_| page.page_no == self.page_no) else { return };
        // Of a page that is not turned by a quarter, the height alone tells; of one that is, the side alone.
        let part = |factor: f32, stated: Option<f32>| if factor == 0.0 { Some(0.0) } else { Some(factor * stated?) };
        let (Some(of_x), Some(of_y)) = (part(b, self.stated[0]), part(d, self.stated[1])) else { return };
        let top = of_x + of_y + f;
        self.top = top.is_finite().then(|| top.clamp(0.0, page.height));
    }
}

/// One entry of an outline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutlineEntry {
    /// What it says.
    pub title: String,
    /// Its depth, from 1.
    pub level: u8,
    /// Where it leads; `None` where it leads nowhere in the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
}

/// A file inside the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its file name.
    pub name: String,
    /// What its bytes are; `None` where they were not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What the file says they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_media_type: Option<String>,
    /// Its length; `None` where it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// SHA-256 of its bytes, lower-case hex; `None` for one too large to be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What the file says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is to the document (PDF: `Alternative`, `Data`, `Source`, `Supplement`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relationship: Option<String>,
}

/// A link on a page. It has an address or a place in the document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Where it stands.
    pub bbox: Bbox,
    /// The address that it leads to, unchecked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The place in the document that it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
}

/// What a form field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormFieldKind {
    /// Text to be typed.
    Text,
    /// Text that is not shown; its value is never kept.
    Password,
    /// On or off.
    CheckBox,
    /// One of several; each of its buttons is a field of the same name.
    RadioButton,
    /// One of a list that folds out.
    ComboBox,
    /// Some of a list.
    ListBox,
    /// Does something when pressed.
    PushButton,
    /// A signature.
    Signature,
}

/// A field of a form, where it stands on its page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FormField {
    /// Its full name, as `applicant.address.city`.
    pub name: String,
    /// What it is.
    pub kind: FormFieldKind,
    /// What the form says to people that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What was filled in; for a box or button the value that it stands for. `None` where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Whether a box or a button is on; `None` for other kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<bool>,
    /// What can be chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<FormOption>,
    /// Whether it must be filled in.
    #[serde(default)]
    pub required: bool,
    /// Whether it cannot be changed.
    #[serde(default)]
    pub read_only: bool,
    /// Where it stands.
    pub bbox: Bbox,
}

/// One choice of a form field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormOption {
    /// What is shown.
    pub label: String,
    /// Whether it is chosen.
    pub selected: bool,
}

impl DocumentMetadata {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Finds the places of the outline on the upright pages.
    pub fn locate<'p>(&mut self, page: impl Fn(u32) -> Option<&'p Page>) {
        for destination in self.outline.iter_mut().filter_map(|entry| entry.destination.as_mut()) {
            if let Some(page) = page(destination.page_no) {
                destination.locate(page);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titled(title: &str) -> Information {
        Information { title: Some(title.to_owned()), ..Information::default() }
    }

    #[test]
    fn a_title_that_a_program_made_up_tells_nothing() {
        for title in ["Untitled", "Microsoft Word - letter", "report_final.DOCX", ""] {
            assert_eq!(titled(title).telling_title(), None, "{title}");
        }
        assert_eq!(titled("On bolts").telling_title(), Some("On bolts"));
    }

    #[test]
    fn a_destination_is_found_on_upright_and_on_turned_pages() {
        let page = |from_user_space| Page {
            page_no: 2,
            width: 200.0,
            height: 300.0,
            from_user_space: Some(from_user_space),
            ..Page::default()
        };
        let at = |stated, page: &Page| {
            let mut destination = Destination { page_no: 2, top: None, stated };
            destination.locate(page);
            destination.top
        };
        // The CropBox begins at (10, 20); y grows upwards.
        let upright = page([1.0, 0.0, 0.0, -1.0, -10.0, 320.0]);
        assert_eq!(at([None, Some(300.0)], &upright), Some(20.0));
        assert_eq!(at([Some(50.0), None], &upright), None);
        assert_eq!(at([None, Some(9_000.0)], &upright), Some(0.0), "a place above the page is its top");
        // /Rotate 90: what grows to the right in the file grows downwards.
        let turned = page([0.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(at([Some(50.0), None], &turned), Some(50.0));
        assert_eq!(at([None, Some(300.0)], &turned), None);
        let other = Page { page_no: 3, ..upright };
        assert_eq!(at([None, Some(300.0)], &other), None);
    }

    #[test]
    fn facts_survive_json_and_nothing_is_nearly_no_json() {
        assert_eq!(serde_json::to_string(&DocumentMetadata::default()).unwrap(), "{}");
        let facts: DocumentMetadata = serde_json::from_str(r#"{"outline":[{"title":"A","level":1}]}"#).unwrap();
        assert_eq!(facts.outline[0].destination, None);
    }
}
