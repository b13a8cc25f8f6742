//! The characters of a page.

use pdfium_render::prelude::*;

use super::{Bindings, Matrix, Object, PdfPage, Rect};

/// The characters of a page, in the file's order, with those that PDFium made up (spaces, line ends).
pub(crate) struct TextPage<'a> {
    page: &'a PdfPage<'a>,
    pdfium: Bindings,
    handle: FPDF_TEXTPAGE,
}

impl Drop for TextPage<'_> {
    fn drop(&mut self) {
        // SAFETY: open, and closed once.
        unsafe { self.pdfium.FPDFText_ClosePage(self.handle) };
    }
}

impl PdfPage<'_> {
    /// The page's characters.
    pub(crate) fn text(&self) -> Option<TextPage<'_>> {
        // SAFETY: the page is open.
        let handle = unsafe { self.pdfium.FPDFText_LoadPage(self.handle) };
        (!handle.is_null()).then_some(TextPage { page: self, pdfium: self.pdfium, handle })
    }
}

impl TextPage<'_> {
    /// Number of characters.
    pub(crate) fn len(&self) -> i32 {
        // SAFETY: the text page is open.
        unsafe { self.pdfium.FPDFText_CountChars(self.handle) }.max(0)
    }

    /// The code point; 0 where there is none. Beyond the basic plane it may be half of a surrogate pair.
    pub(crate) fn unicode(&self, index: i32) -> u32 {
        // SAFETY: the text page is open; the index is below its count.
        unsafe { self.pdfium.FPDFText_GetUnicode(self.handle, index) }
    }

    /// Whether PDFium made it up.
    pub(crate) fn is_generated(&self, index: i32) -> bool {
        // SAFETY: the text page is open; the index is below its count.
        unsafe { self.pdfium.FPDFText_IsGenerated(self.handle, index) == 1 }
    }

    /// Whether it is a hyphen at the end of a line.
    pub(crate) fn is_hyphen(&self, index: i32) -> bool {
        // SAFETY: the text page is open; the index is below its count.
        unsafe { self.pdfium.FPDFText_IsHyphen(self.handle, index) == 1 }
    }

    /// Whether the font says nothing about what the character means.
    pub(crate) fn is_unmapped(&self, index: i32) -> bool {
        // SAFETY: the text page is open; the index is below its count.
        unsafe { self.pdfium.FPDFText_HasUnicodeMapError(self.handle, index) == 1 }
    }

    /// The text object that it belongs to.
    pub(crate) fn object(&self, index: i32) -> Option<Object<'_>> {
        // SAFETY: the text page is open; the index is below its count.
        self.page.object(unsafe { self.pdfium.FPDFText_GetTextObject(self.handle, index) })
    }

    /// Size in the font's own units, and the transformation that it is drawn with.
    pub(crate) fn font_size(&self, index: i32) -> (f32, Matrix) {
        let mut m = FS_MATRIX { a: 1.0, b: 0.0, c: 0.0, d: 1.0, e: 0.0, f: 0.0 };
        // SAFETY: `m` is written to; a refusal leaves it.
        let size = unsafe {
            self.pdfium.FPDFText_GetMatrix(self.handle, index, &raw mut m);
            self.pdfium.FPDFText_GetFontSize(self.handle, index)
        };
        (size as f32, Matrix([m.a, m.b, m.c, m.d, m.e, m.f]))
    }

    /// The box of its ink.
    pub(crate) fn ink(&self, index: i32) -> Option<Rect> {
        let (mut left, mut right, mut bottom, mut top) = (0.0, 0.0, 0.0, 0.0);
        // SAFETY: the four are written to.
        let ok = unsafe {
            let (l, r, b, t) = (&raw mut left, &raw mut right, &raw mut bottom, &raw mut top);
            self.pdfium.FPDFText_GetCharBox(self.handle, index, l, r, b, t)
        };
        let rect = Rect { left: left as f32, bottom: bottom as f32, right: right as f32, top: top as f32 };
        (ok != 0).then_some(rect)
    }

    /// Its box by the font's measures: advance width, ascent to descent.
    pub(crate) fn cell(&self, index: i32) -> Option<Rect> {
        let mut r = FS_RECTF { left: 0.0, top: 0.0, right: 0.0, bottom: 0.0 };
        // SAFETY: `r` is written to.
        let ok = unsafe { self.pdfium.FPDFText_GetLooseCharBox(self.handle, index, &raw mut r) };
        (ok != 0).then_some(Rect { left: r.left, bottom: r.bottom, right: r.right, top: r.top })
    }
}
