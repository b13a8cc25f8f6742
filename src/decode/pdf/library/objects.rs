//! The objects of a page: texts, paths, pictures and forms.

use std::{ffi::c_ulong, marker::PhantomData};

use pdfium_render::prelude::*;

use super::{Matrix, PdfPage, Rect};

/// `FPDF_SEGMENT_BEZIERTO`, `…_MOVETO`.
const SEGMENT_BEZIER: i32 = 1;
const SEGMENT_MOVE: i32 = 2;

/// Colours whose every channel is this bright cannot be distinguished from the paper.
const PAPER_WHITE: u32 = 250;

/// What is less opaque (of 255) is not seen.
const FAINTEST_ALPHA: u32 = 12;

/// A kind of page object that deckle looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    /// A run of text.
    Text,
    /// A path.
    Path,
    /// A picture.
    Image,
    /// A form: a group of objects.
    Form,
    /// Anything else.
    Other,
}

/// A page object; only valid while its page is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Object<'p> {
    handle: FPDF_PAGEOBJECT,
    page: PhantomData<&'p ()>,
}

/// What a path object draws, in the path's own coordinates.
pub(crate) struct Outlines {
    /// Corners of each subpath; a closed one ends where it begins.
    pub subpaths: Vec<Vec<(f32, f32)>>,
    /// Whether any of it is a curve, whose points are left out.
    pub curved: bool,
    /// Whether a fill is seen.
    pub filled: bool,
    /// The pen's width, in the path's own units, where a stroke is seen.
    pub stroked: Option<f32>,
}

impl PdfPage<'_> {
    /// The objects of the page itself.
    pub(crate) fn objects(&self) -> impl Iterator<Item = Object<'_>> {
        // SAFETY: the page is open; the index is below the count.
        let count = unsafe { self.pdfium.FPDFPage_CountObjects(self.handle) };
        // SAFETY: as above.
        (0..count).filter_map(|i| self.object(unsafe { self.pdfium.FPDFPage_GetObject(self.handle, i) }))
    }

    /// The objects inside a form.
    pub(crate) fn objects_in(&self, form: Object<'_>) -> impl Iterator<Item = Object<'_>> {
        // SAFETY: the object belongs to an open page and is a form; the index is below the count.
        let count = unsafe { self.pdfium.FPDFFormObj_CountObjects(form.handle) };
        // SAFETY: as above.
        let at = move |i| unsafe { self.pdfium.FPDFFormObj_GetObject(form.handle, i as c_ulong) };
        (0..count.max(0)).filter_map(move |i| self.object(at(i)))
    }

    pub(super) fn object(&self, handle: FPDF_PAGEOBJECT) -> Option<Object<'_>> {
        (!handle.is_null()).then_some(Object { handle, page: PhantomData })
    }

    /// What an object is.
    pub(crate) fn kind(&self, object: Object<'_>) -> ObjectKind {
        // SAFETY: the object belongs to an open page.
        match unsafe { self.pdfium.FPDFPageObj_GetType(object.handle) } {
            1 => ObjectKind::Text,
            2 => ObjectKind::Path,
            3 => ObjectKind::Image,
            5 => ObjectKind::Form,
            _ => ObjectKind::Other,
        }
    }

    /// Its box, in the coordinates of the page or of the form that it is in.
    pub(crate) fn bounds(&self, object: Object<'_>) -> Option<Rect> {
        let (mut left, mut bottom, mut right, mut top) = (0.0, 0.0, 0.0, 0.0);
        // SAFETY: the object belongs to an open page and the four are written to.
        let ok = unsafe {
            let (l, b, r, t) = (&raw mut left, &raw mut bottom, &raw mut right, &raw mut top);
            self.pdfium.FPDFPageObj_GetBounds(object.handle, l, b, r, t)
        };
        (ok != 0).then_some(Rect { left, bottom, right, top })
    }

    /// Its transformation; for a form, from its coordinates to those outside.
    pub(crate) fn matrix(&self, object: Object<'_>) -> Matrix {
        let mut m = FS_MATRIX { a: 1.0, b: 0.0, c: 0.0, d: 1.0, e: 0.0, f: 0.0 };
        // SAFETY: the object belongs to an open page and `m` is written to; a refusal leaves it.
        unsafe { self.pdfium.FPDFPageObj_GetMatrix(object.handle, &raw mut m) };
        Matrix([m.a, m.b, m.c, m.d, m.e, m.f])
    }

    /// A path object's outlines and how they are painted. `None` above `most` segments: a map or a drawing.
    pub(crate) fn outlines(&self, path: Object<'_>, most: usize) -> Option<Outlines> {
        let (mut fill, mut stroke) = (0, 0);
        let mut width = 1.0;
        // SAFETY: the object is a path of an open page, the three are written to, and the index of each segment is
        // below the count.
        unsafe {
            self.pdfium.FPDFPath_GetDrawMode(path.handle, &raw mut fill, &raw mut stroke);
            self.pdfium.FPDFPageObj_GetStrokeWidth(path.handle, &raw mut width);
            let count = self.pdfium.FPDFPath_CountSegments(path.handle);
            if usize::try_from(count).ok()? > most {
                return None;
            }
            let mut outlines = Outlines {
                subpaths: Vec::new(),
                curved: false,
                filled: fill != 0 && self.shows(path, false),
                stroked: (stroke != 0 && self.shows(path, true)).then_some(width),
            };
            for i in 0..count {
                let segment = self.pdfium.FPDFPath_GetPathSegment(path.handle, i);
                let (mut x, mut y) = (0.0, 0.0);
                if segment.is_null() || self.pdfium.FPDFPathSegment_GetPoint(segment, &raw mut x, &raw mut y) == 0 {
                    continue;
                }
                match self.pdfium.FPDFPathSegment_GetType(segment) {
                    SEGMENT_MOVE => outlines.subpaths.push(vec![(x, y)]),
                    SEGMENT_BEZIER => outlines.curved = true,
                    _ => {
                        let Some(open) = outlines.subpaths.last_mut() else { continue };
                        open.push((x, y));
                    }
                }
                let closes = self.pdfium.FPDFPathSegment_GetClose(segment) != 0;
                if let Some(open) = outlines.subpaths.last_mut().filter(|open| closes && open.first() != open.last()) {
                    open.extend(open.first().copied());
                }
            }
            Some(outlines)
        }
    }

    /// Whether an object's fill or stroke can be seen on white paper.
    fn shows(&self, object: Object<'_>, stroke: bool) -> bool {
        let (mut r, mut g, mut b, mut alpha) = (0, 0, 0, 255);
        // SAFETY: the object belongs to an open page and the four are written to; a refusal (a pattern) leaves them.
        unsafe {
            let (r, g, b, a) = (&raw mut r, &raw mut g, &raw mut b, &raw mut alpha);
            match stroke {
                true => self.pdfium.FPDFPageObj_GetStrokeColor(object.handle, r, g, b, a),
                false => self.pdfium.FPDFPageObj_GetFillColor(object.handle, r, g, b, a),
            }
        };
        alpha > FAINTEST_ALPHA && [r, g, b].into_iter().min().is_some_and(|darkest| darkest < PAPER_WHITE)
    }

    /// Whether a text object is drawn invisibly (mode 3, or 7: only clipping).
    pub(crate) fn is_invisible(&self, text: Object<'_>) -> bool {
        // SAFETY: the object belongs to an open page.
        let mode = unsafe { self.pdfium.FPDFTextObj_GetTextRenderMode(text.handle) };
        mode == 3 || mode == 7
    }

    /// Name and weight of a text object's font.
    pub(crate) fn font(&self, text: Object<'_>) -> (String, i32) {
        let mut name = [0u8; 128];
        // SAFETY: the object belongs to an open page; at most the announced length is written.
        let weight = unsafe {
            let font = self.pdfium.FPDFTextObj_GetFont(text.handle);
            if font.is_null() {
                return (String::new(), 0);
            }
            self.pdfium.FPDFFont_GetBaseFontName(font, name.as_mut_ptr().cast(), name.len());
            self.pdfium.FPDFFont_GetWeight(font)
        };
        let name = name.split(|&b| b == 0).next().unwrap_or_default();
        (String::from_utf8_lossy(name).into_owned(), weight)
    }

    /// Width and height of a picture in its own pixels. Does not decode it.
    pub(crate) fn pixel_size(&self, image: Object<'_>) -> Option<(u32, u32)> {
        let (mut width, mut height) = (0, 0);
        // SAFETY: the object belongs to an open page and is a picture; both are written to.
        let ok = unsafe { self.pdfium.FPDFImageObj_GetImagePixelSize(image.handle, &raw mut width, &raw mut height) };
        (ok != 0).then_some((width, height))
    }
}
