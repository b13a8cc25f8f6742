//! What PDFium reads of a document as a whole. Texts are as long as the file makes them: callers bound them.

use std::ffi::{c_int, c_ulong};

use pdfium_render::prelude::*;

use super::{Bindings, PdfFile, ascii, utf16};

/// `PDFACTION_GOTO` and `PDFACTION_URI` of `fpdf_doc.h`; other actions lead out of the file or run something.
const ACTION_GOTO: c_ulong = 1;
const ACTION_URI: c_ulong = 3;

/// `PDFDEST_VIEW_…`: the kinds of view whose parameters name the top of what is shown, and at which place.
const VIEW_FIT_H: c_ulong = 3;
const VIEW_FITR: c_ulong = 5;
const VIEW_FIT_BOX_H: c_ulong = 7;

/// An entry of the outline; only valid while its document is open.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bookmark<'f> {
    handle: FPDF_BOOKMARK,
    file: std::marker::PhantomData<&'f ()>,
}

/// A page, counted from 0, and a place on it in its own coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    /// Counted from 0.
    pub page_index: u32,
    /// Where stated.
    pub x: Option<f32>,
    /// Where stated.
    pub y: Option<f32>,
}

/// Where a bookmark or a link leads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    /// Into this document.
    Place(Place),
    /// To an address.
    Uri(String),
}

/// A file inside the document; only valid while that is open.
#[derive(Clone, Copy)]
pub(crate) struct Embedded<'f> {
    handle: FPDF_ATTACHMENT,
    pdfium: Bindings,
    file: std::marker::PhantomData<&'f ()>,
}

impl PdfFile {
    /// An entry of the information dictionary, such as `Title`, as it stands there; empty where there is none.
    pub(crate) fn information(&self, key: &str) -> String {
        // SAFETY: the document is open; PDFium writes at most the announced length.
        utf16(|buffer, len| unsafe { self.pdfium.FPDF_GetMetaText(self.handle, key, buffer.cast(), len) })
    }

    /// The language that the catalogue states.
    pub(crate) fn language(&self) -> String {
        // SAFETY: as above.
        utf16(|buffer, len| unsafe { self.pdfium.FPDFCatalog_GetLanguage(self.handle, buffer, len) })
    }

    /// Whether the file marks its own structure.
    pub(crate) fn is_tagged(&self) -> bool {
        // SAFETY: the document is open.
        unsafe { self.pdfium.FPDFCatalog_IsTagged(self.handle) != 0 }
    }

    /// The version in the file's header: 17 for 1.7.
    pub(crate) fn format_version(&self) -> Option<i32> {
        let mut version: c_int = 0;
        // SAFETY: the document is open and `version` is written to.
        let known = unsafe { self.pdfium.FPDF_GetFileVersion(self.handle, &raw mut version) != 0 };
        known.then_some(version)
    }

    /// What a page is called; empty where the file does not say. Pages count from 0.
    pub(crate) fn page_label(&self, index: u32) -> String {
        let Ok(index) = c_int::try_from(index) else { return String::new() };
        // SAFETY: the document is open; a wrong index gives nothing.
        utf16(|buffer, len| unsafe { self.pdfium.FPDF_GetPageLabel(self.handle, index, buffer.cast(), len) })
    }

    /// The first entry of the outline, or below another.
    pub(crate) fn first_bookmark(&self, below: Option<Bookmark<'_>>) -> Option<Bookmark<'_>> {
        let parent = below.map_or(std::ptr::null_mut(), |bookmark| bookmark.handle);
        // SAFETY: the document is open and the bookmark is its own; null asks for the root.
        bookmark(unsafe { self.pdfium.FPDFBookmark_GetFirstChild(self.handle, parent) })
    }

    /// The entry after another, at the same depth. Damaged files go round in circles.
    pub(crate) fn next_bookmark(&self, after: Bookmark<'_>) -> Option<Bookmark<'_>> {
        // SAFETY: as above.
        bookmark(unsafe { self.pdfium.FPDFBookmark_GetNextSibling(self.handle, after.handle) })
    }

    /// What an entry says.
    pub(crate) fn bookmark_title(&self, bookmark: Bookmark<'_>) -> String {
        // SAFETY: as above; at most the announced length is written.
        utf16(|buffer, len| unsafe { self.pdfium.FPDFBookmark_GetTitle(bookmark.handle, buffer.cast(), len) })
    }

    /// Where an entry leads.
    pub(crate) fn bookmark_target(&self, bookmark: Bookmark<'_>) -> Option<Target> {
        // SAFETY: as above.
        unsafe {
            let destination = self.pdfium.FPDFBookmark_GetDest(self.handle, bookmark.handle);
            self.target(destination, || self.pdfium.FPDFBookmark_GetAction(bookmark.handle))
        }
    }

    /// Reads a destination, or where there is none, what an action leads to.
    ///
    /// # Safety
    /// Both belong to this document, or are null.
    pub(super) unsafe fn target(&self, destination: FPDF_DEST, action: impl FnOnce() -> FPDF_ACTION) -> Option<Target> {
        if !destination.is_null() {
            return self.place(destination).map(Target::Place);
        }
        let action = action();
        if action.is_null() {
            return None;
        }
        // SAFETY: the action is of this document, as the caller vouches for; texts stay within the announced length.
        unsafe {
            match self.pdfium.FPDFAction_GetType(action) {
                ACTION_GOTO => {
                    let destination = self.pdfium.FPDFAction_GetDest(self.handle, action);
                    if destination.is_null() { None } else { self.place(destination).map(Target::Place) }
                }
                ACTION_URI => {
                    let get = |buffer, len| self.pdfium.FPDFAction_GetURIPath(self.handle, action, buffer, len);
                    Some(Target::Uri(ascii(get))).filter(|target| *target != Target::Uri(String::new()))
                }
                _ => None,
            }
        }
    }

    /// The page of a destination of this document, and the place on it.
    fn place(&self, destination: FPDF_DEST) -> Option<Place> {
        let (mut has_x, mut has_y, mut has_zoom) = (0, 0, 0);
        let (mut x, mut y, mut zoom) = (0.0, 0.0, 0.0);
        let mut numbers = [0.0_f32; 4];
        let mut count: c_ulong = 0;
        // SAFETY: the destination is of this open document; all the rest is written to, and PDFium writes at most four
        // parameters.
        let (page_index, stated, view) = unsafe {
            let page_index = self.pdfium.FPDFDest_GetDestPageIndex(self.handle, destination);
            let stated = self.pdfium.FPDFDest_GetLocationInPage(
                destination,
                &raw mut has_x,
                &raw mut has_y,
                &raw mut has_zoom,
                &raw mut x,
                &raw mut y,
                &raw mut zoom,
            );
            (page_index, stated, self.pdfium.FPDFDest_GetView(destination, &raw mut count, numbers.as_mut_ptr()))
        };
        let page_index = u32::try_from(page_index).ok()?;
        let known = |has: i32, value: f32| (stated != 0 && has != 0 && value.is_finite()).then_some(value);
        let number = |at: usize| numbers.get(at).copied().filter(|n| count > at as c_ulong && n.is_finite());
        let (x, y) = match view {
            VIEW_FIT_H | VIEW_FIT_BOX_H => (None, number(0)),
            VIEW_FITR => (number(0), number(3)),
            _ => (known(has_x, x), known(has_y, y)),
        };
        Some(Place { page_index, x, y })
    }

    /// The files inside the document.
    pub(crate) fn embedded(&self) -> impl ExactSizeIterator<Item = Option<Embedded<'_>>> {
        // SAFETY: the document is open; the index is below the count.
        let count = unsafe { self.pdfium.FPDFDoc_GetAttachmentCount(self.handle) };
        (0..count.max(0)).map(|index| {
            // SAFETY: as above.
            let handle = unsafe { self.pdfium.FPDFDoc_GetAttachment(self.handle, index) };
            (!handle.is_null()).then_some(Embedded { handle, pdfium: self.pdfium, file: std::marker::PhantomData })
        })
    }
}

fn bookmark<'f>(handle: FPDF_BOOKMARK) -> Option<Bookmark<'f>> {
    (!handle.is_null()).then_some(Bookmark { handle, file: std::marker::PhantomData })
}

impl Embedded<'_> {
    /// Its file name.
    pub(crate) fn name(&self) -> String {
        // SAFETY: its document is open; at most the announced length is written; so for all below.
        utf16(|buffer, len| unsafe { self.pdfium.FPDFAttachment_GetName(self.handle, buffer, len) })
    }

    /// What the file says that it is: a media type.
    pub(crate) fn subtype(&self) -> String {
        // SAFETY: as above.
        utf16(|buffer, len| unsafe { self.pdfium.FPDFAttachment_GetSubtype(self.handle, buffer, len) })
    }

    /// What the file says about it.
    pub(crate) fn description(&self) -> String {
        // SAFETY: as above.
        utf16(|buffer, len| unsafe { self.pdfium.FPDFAttachment_GetDescription(self.handle, buffer, len) })
    }

    /// What it is to the document.
    pub(crate) fn relationship(&self) -> String {
        // SAFETY: as above.
        utf16(|buffer, len| unsafe { self.pdfium.FPDFAttachment_GetAFRelationship(self.handle, buffer, len) })
    }

    /// Its length in bytes; PDFium unpacks it to find out.
    pub(crate) fn len(&self) -> Option<u64> {
        let mut len: c_ulong = 0;
        // SAFETY: as above; with no buffer only the length is written.
        let known =
            unsafe { self.pdfium.FPDFAttachment_GetFile(self.handle, std::ptr::null_mut(), 0, &raw mut len) != 0 };
        known.then_some(len)
    }

    /// Its bytes, of which there are `len`.
    pub(crate) fn bytes(&self, len: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0_u8; usize::try_from(len).ok()?];
        let mut written: c_ulong = 0;
        // SAFETY: as above; the buffer has the announced length.
        let known = unsafe {
            self.pdfium.FPDFAttachment_GetFile(self.handle, bytes.as_mut_ptr().cast(), len, &raw mut written) != 0
        };
        (known && written == len).then_some(bytes)
    }
}
