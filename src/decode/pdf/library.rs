//! The few calls of PDFium that deckle makes, with owned handles that close themselves.
//!
//! The crate's own layer hides what the text-layer rule needs (characters without a mapping, objects inside forms) and
//! rounds coordinates to whole pixels; so this goes to its bindings. Every `unsafe` in `decode/pdf` is in this module, and
//! all of them rest on the same facts: a handle is closed once, by its owner, before what it belongs to; indexes come
//! from PDFium's own counts; and a process uses PDFium from one thread.

mod annotations;
mod document;

use std::{
    ffi::{c_ulong, c_void},
    path::Path,
    pin::Pin,
};

use bytes::Bytes;
use pdfium_render::prelude::*;

pub use annotations::{Widget, WidgetKind};
pub use document::{Bookmark, Embedded, Place, Target};

use super::geometry::{Matrix, Rect};
use crate::{
    error::{Failure, Result, code},
    pixmap::Channels,
};

/// `FPDF_ERR_…` of `fpdfview.h`.
const ERROR_PASSWORD: c_ulong = 4;
const ERROR_SECURITY: c_ulong = 5;

/// `FPDFBitmap_Gray`.
const BITMAP_GREY: i32 = 1;
/// `FPDFBitmap_BGR`: blue first. The order is changed here and not by PDFium.
const BITMAP_BGR: i32 = 2;

/// `FPDF_ANNOT | FPDF_RENDER_LIMITEDIMAGECACHE`. Never `FPDF_REVERSE_BYTE_ORDER`: with grey it kills the process.
const RENDER_FLAGS: i32 = 0x01 | 0x200;

/// `FPDF_SEGMENT_BEZIERTO`, `…_MOVETO`.
const SEGMENT_BEZIER: i32 = 1;
const SEGMENT_MOVE: i32 = 2;

/// Colours whose every channel is this bright cannot be told from the paper.
const PAPER_WHITE: u32 = 250;

/// What is less opaque (of 255) is not seen.
const FAINTEST_ALPHA: u32 = 12;

type Bindings = &'static dyn PdfiumLibraryBindings;

/// PDFium, loaded and initialised. Once per process.
#[derive(Clone, Copy)]
pub struct Library {
    pdfium: Bindings,
}

impl Library {
    /// Loads `libpdfium.so` from a folder, or from the system's search path.
    pub fn load(folder: Option<&Path>) -> Result<Self> {
        let path = match folder {
            Some(folder) => Pdfium::pdfium_platform_library_name_at_path(folder),
            None => Pdfium::pdfium_platform_library_name().into(),
        };
        let bindings = Pdfium::bind_to_library(&path).map_err(|e| {
            Failure::unavailable(
                "pdfium",
                format!("cannot load {}: {e}; set decode.pdfium to the folder that holds it", path.display()),
            )
        })?;
        let pdfium: Bindings = Box::leak(bindings);
        // SAFETY: the first call into the library, as it demands.
        unsafe { pdfium.FPDF_InitLibrary() };
        Ok(Self { pdfium })
    }

    /// Opens a document. It keeps the bytes.
    pub fn open(self, bytes: Bytes, password: Option<&str>) -> Result<PdfFile> {
        if password.is_some_and(|p| p.contains('\0')) {
            return Err(encrypted(true));
        }
        // SAFETY: PDFium reads from `bytes` as long as the document is open; they lie on the heap and are kept beside
        // the handle.
        let handle = unsafe { self.pdfium.FPDF_LoadMemDocument64(&bytes, password) };
        if handle.is_null() {
            // SAFETY: no arguments.
            return Err(match unsafe { self.pdfium.FPDF_GetLastError() } {
                ERROR_PASSWORD => encrypted(password.is_some()),
                ERROR_SECURITY => Failure::rejected(
                    code::PDF_ENCRYPTED,
                    "the PDF is encrypted in a way that deckle cannot open (not with a password)",
                ),
                _ => Failure::rejected(code::PDF_DAMAGED, damage(&bytes)),
            });
        }
        // SAFETY: the document is open.
        let has_form = unsafe { self.pdfium.FPDF_GetFormType(handle) } > 0;
        let form = has_form.then(|| Form::new(self.pdfium, handle)).flatten();
        Ok(PdfFile { pdfium: self.pdfium, handle, form, _bytes: bytes })
    }
}

/// Why a PDF cannot be opened. One that was cut off is not put together from its parts: the pages that are left would pass
/// for the whole.
fn damage(bytes: &[u8]) -> &'static str {
    /// Readers look for the end in so many bytes: some files end with others.
    const END_WITHIN: usize = 1024;
    let tail = &bytes[bytes.len().saturating_sub(END_WITHIN)..];
    if tail.windows(5).any(|window| window == b"%%EOF") {
        "the PDF is damaged and cannot be opened (no usable cross-reference table or page tree)"
    } else {
        "the PDF is damaged and cannot be opened: it is cut off, its end is missing"
    }
}

fn encrypted(given: bool) -> Failure {
    let message = if given {
        "the PDF is encrypted and the password is wrong"
    } else {
        "the PDF is encrypted and needs a password"
    };
    Failure::rejected(code::PDF_ENCRYPTED, message)
}

/// The environment that PDFium wants before it draws form fields; without any callback.
struct Form {
    handle: FPDF_FORMHANDLE,
    /// PDFium keeps a pointer to it.
    _info: Pin<Box<FPDF_FORMFILLINFO>>,
}

impl Form {
    fn new(pdfium: Bindings, document: FPDF_DOCUMENT) -> Option<Self> {
        // SAFETY: the structure is integers, pointers and optional callbacks, for which zeroes are valid and mean
        // "none".
        let mut info = Box::pin(unsafe { std::mem::zeroed::<FPDF_FORMFILLINFO>() });
        info.version = 2;
        // SAFETY: `info` is pinned and lives until after the environment is left.
        let handle = unsafe { pdfium.FPDFDOC_InitFormFillEnvironment(document, &raw mut *info) };
        (!handle.is_null()).then_some(Self { handle, _info: info })
    }
}

/// An open document.
pub struct PdfFile {
    pdfium: Bindings,
    handle: FPDF_DOCUMENT,
    form: Option<Form>,
    _bytes: Bytes,
}

impl Drop for PdfFile {
    fn drop(&mut self) {
        // SAFETY: both are open, and pages borrow the document, so none is left.
        unsafe {
            if let Some(form) = &self.form {
                self.pdfium.FPDFDOC_ExitFormFillEnvironment(form.handle);
            }
            self.pdfium.FPDF_CloseDocument(self.handle);
        }
    }
}

impl PdfFile {
    /// Number of pages.
    pub fn page_count(&self) -> u32 {
        // SAFETY: the document is open.
        u32::try_from(unsafe { self.pdfium.FPDF_GetPageCount(self.handle) }).unwrap_or(0)
    }

    /// Loads a page, counted from 0.
    pub fn page(&self, index: u32) -> Option<PdfPage<'_>> {
        let index = i32::try_from(index).ok()?;
        // SAFETY: the document is open; a wrong index gives null.
        let handle = unsafe { self.pdfium.FPDF_LoadPage(self.handle, index) };
        if handle.is_null() {
            return None;
        }
        if let Some(form) = &self.form {
            // SAFETY: both are open.
            unsafe { self.pdfium.FORM_OnAfterLoadPage(handle, form.handle) };
        }
        Some(PdfPage { file: self, pdfium: self.pdfium, handle })
    }
}

/// A loaded page.
pub struct PdfPage<'a> {
    file: &'a PdfFile,
    pdfium: Bindings,
    handle: FPDF_PAGE,
}

impl Drop for PdfPage<'_> {
    fn drop(&mut self) {
        // SAFETY: the page is open, and what belongs to it borrows it.
        unsafe {
            if let Some(form) = &self.file.form {
                self.pdfium.FORM_OnBeforeClosePage(self.handle, form.handle);
            }
            self.pdfium.FPDF_ClosePage(self.handle);
        }
    }
}

/// A kind of page object that deckle looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// Text.
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
pub struct Object<'p> {
    handle: FPDF_PAGEOBJECT,
    page: std::marker::PhantomData<&'p ()>,
}

/// What a path object draws, in the path's own coordinates.
pub struct Outlines {
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
    /// Width and height in points after /Rotate.
    pub fn size(&self) -> (f32, f32) {
        // SAFETY: the page is open.
        unsafe { (self.pdfium.FPDF_GetPageWidthF(self.handle), self.pdfium.FPDF_GetPageHeightF(self.handle)) }
    }

    /// Quarter turns clockwise: 0 to 3.
    pub fn quarter_turns(&self) -> u16 {
        // SAFETY: the page is open.
        u16::try_from(unsafe { self.pdfium.FPDFPage_GetRotation(self.handle) }).unwrap_or(0) % 4
    }

    /// The visible part of the page (CropBox within MediaBox).
    pub fn visible(&self) -> Option<Rect> {
        let mut r = FS_RECTF { left: 0.0, top: 0.0, right: 0.0, bottom: 0.0 };
        // SAFETY: the page is open and `r` is written to.
        let ok = unsafe { self.pdfium.FPDF_GetPageBoundingBox(self.handle, &raw mut r) };
        (ok != 0).then_some(Rect { left: r.left, bottom: r.bottom, right: r.right, top: r.top })
    }

    /// The objects of the page itself.
    pub fn objects(&self) -> impl Iterator<Item = Object<'_>> {
        // SAFETY: the page is open; the index is below the count.
        let count = unsafe { self.pdfium.FPDFPage_CountObjects(self.handle) };
        (0..count).map(|i| self.object(unsafe { self.pdfium.FPDFPage_GetObject(self.handle, i) })).filter(is_some)
    }

    /// The objects inside a form.
    pub fn objects_in(&self, form: Object<'_>) -> impl Iterator<Item = Object<'_>> {
        // SAFETY: the object belongs to an open page and is a form; the index is below the count.
        let count = unsafe { self.pdfium.FPDFFormObj_CountObjects(form.handle) };
        (0..count.max(0))
            .map(move |i| self.object(unsafe { self.pdfium.FPDFFormObj_GetObject(form.handle, i as c_ulong) }))
            .filter(is_some)
    }

    fn object(&self, handle: FPDF_PAGEOBJECT) -> Object<'_> {
        Object { handle, page: std::marker::PhantomData }
    }

    /// What an object is.
    pub fn kind(&self, object: Object<'_>) -> ObjectKind {
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
    pub fn bounds(&self, object: Object<'_>) -> Option<Rect> {
        let (mut left, mut bottom, mut right, mut top) = (0.0, 0.0, 0.0, 0.0);
        // SAFETY: the object belongs to an open page and the four are written to.
        let ok = unsafe {
            let (l, b, r, t) = (&raw mut left, &raw mut bottom, &raw mut right, &raw mut top);
            self.pdfium.FPDFPageObj_GetBounds(object.handle, l, b, r, t)
        };
        (ok != 0).then_some(Rect { left, bottom, right, top })
    }

    /// Its transformation; for a form, from its coordinates to those outside.
    pub fn matrix(&self, object: Object<'_>) -> Matrix {
        let mut m = FS_MATRIX { a: 1.0, b: 0.0, c: 0.0, d: 1.0, e: 0.0, f: 0.0 };
        // SAFETY: the object belongs to an open page and `m` is written to; a refusal leaves it.
        unsafe { self.pdfium.FPDFPageObj_GetMatrix(object.handle, &raw mut m) };
        Matrix([m.a, m.b, m.c, m.d, m.e, m.f])
    }

    /// A path object's outlines and how they are painted. `None` above `most` segments: a map or a drawing.
    pub fn outlines(&self, path: Object<'_>, most: usize) -> Option<Outlines> {
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
    pub fn is_invisible(&self, text: Object<'_>) -> bool {
        // SAFETY: the object belongs to an open page.
        let mode = unsafe { self.pdfium.FPDFTextObj_GetTextRenderMode(text.handle) };
        mode == 3 || mode == 7
    }

    /// Name and weight of a text object's font.
    pub fn font(&self, text: Object<'_>) -> (String, i32) {
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

    /// The page's characters.
    pub fn text(&self) -> Option<TextPage<'_>> {
        // SAFETY: the page is open.
        let handle = unsafe { self.pdfium.FPDFText_LoadPage(self.handle) };
        (!handle.is_null()).then_some(TextPage { page: self, pdfium: self.pdfium, handle })
    }

    /// Width and height of a picture in its own pixels. Does not decode it.
    pub fn pixel_size(&self, image: Object<'_>) -> Option<(u32, u32)> {
        let (mut width, mut height) = (0, 0);
        // SAFETY: the object belongs to an open page and is a picture; both are written to.
        let ok = unsafe { self.pdfium.FPDFImageObj_GetImagePixelSize(image.handle, &raw mut width, &raw mut height) };
        (ok != 0).then_some((width, height))
    }

    /// Renders the page, turned by /Rotate, with annotations and form fields; rows without padding. `None` when PDFium
    /// cannot get the memory.
    pub fn render(&self, width: i32, height: i32, channels: Channels) -> Option<Vec<u8>> {
        let format = match channels {
            Channels::Grey => BITMAP_GREY,
            Channels::Rgb => BITMAP_BGR,
        };
        let count = channels.count();
        // SAFETY: the bitmap is ours from creation to destruction; its buffer is `stride` × `height` bytes, and
        // `stride` is at least `width` times the bytes of a pixel.
        unsafe {
            let bitmap = self.pdfium.FPDFBitmap_CreateEx(width, height, format, std::ptr::null_mut(), 0);
            if bitmap.is_null() {
                return None;
            }
            self.pdfium.FPDFBitmap_FillRect(bitmap, 0, 0, width, height, 0xFFFF_FFFF);
            self.pdfium.FPDF_RenderPageBitmap(bitmap, self.handle, 0, 0, width, height, 0, RENDER_FLAGS);
            if let Some(form) = &self.file.form {
                self.pdfium.FPDF_FFLDraw(form.handle, bitmap, self.handle, 0, 0, width, height, 0, RENDER_FLAGS);
            }
            let stride = usize::try_from(self.pdfium.FPDFBitmap_GetStride(bitmap)).unwrap_or(0);
            let (row_bytes, height) = (width as usize * count, height as usize);
            let buffer: *const u8 = self.pdfium.FPDFBitmap_GetBuffer(bitmap).cast();
            let mut pixels = Vec::with_capacity(row_bytes * height);
            if !buffer.is_null() && stride >= row_bytes {
                let padded = std::slice::from_raw_parts(buffer, stride * height);
                padded.chunks_exact(stride).for_each(|row| pixels.extend_from_slice(&row[..row_bytes]));
            }
            self.pdfium.FPDFBitmap_Destroy(bitmap);
            if channels == Channels::Rgb {
                pixels.chunks_exact_mut(count).for_each(|pixel| pixel.swap(0, 2));
            }
            (pixels.len() == row_bytes * height).then_some(pixels)
        }
    }
}

fn is_some(object: &Object<'_>) -> bool {
    !object.handle.is_null()
}

/// The characters of a page, in the file's order, with those that PDFium made up (spaces, line ends).
pub struct TextPage<'a> {
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

impl TextPage<'_> {
    /// Number of characters.
    pub fn len(&self) -> i32 {
        // SAFETY: the text page is open; so for all below, whose indexes are below this count.
        unsafe { self.pdfium.FPDFText_CountChars(self.handle) }.max(0)
    }

    /// The code point; 0 where there is none. Beyond the basic plane it may be half of a surrogate pair.
    pub fn unicode(&self, index: i32) -> u32 {
        unsafe { self.pdfium.FPDFText_GetUnicode(self.handle, index) }
    }

    /// Whether PDFium made it up.
    pub fn is_generated(&self, index: i32) -> bool {
        unsafe { self.pdfium.FPDFText_IsGenerated(self.handle, index) == 1 }
    }

    /// Whether it is a hyphen at the end of a line.
    pub fn is_hyphen(&self, index: i32) -> bool {
        unsafe { self.pdfium.FPDFText_IsHyphen(self.handle, index) == 1 }
    }

    /// Whether the font says nothing about what the character means.
    pub fn is_unmapped(&self, index: i32) -> bool {
        unsafe { self.pdfium.FPDFText_HasUnicodeMapError(self.handle, index) == 1 }
    }

    /// The text object that it belongs to.
    pub fn object(&self, index: i32) -> Option<Object<'_>> {
        let object = self.page.object(unsafe { self.pdfium.FPDFText_GetTextObject(self.handle, index) });
        Some(object).filter(is_some)
    }

    /// Size in the font's own units, and the transformation that it is drawn with.
    pub fn font_size(&self, index: i32) -> (f32, Matrix) {
        let mut m = FS_MATRIX { a: 1.0, b: 0.0, c: 0.0, d: 1.0, e: 0.0, f: 0.0 };
        // SAFETY: `m` is written to; a refusal leaves it.
        let size = unsafe {
            self.pdfium.FPDFText_GetMatrix(self.handle, index, &raw mut m);
            self.pdfium.FPDFText_GetFontSize(self.handle, index)
        };
        (size as f32, Matrix([m.a, m.b, m.c, m.d, m.e, m.f]))
    }

    /// The box of its ink.
    pub fn ink(&self, index: i32) -> Option<Rect> {
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
    pub fn cell(&self, index: i32) -> Option<Rect> {
        let mut r = FS_RECTF { left: 0.0, top: 0.0, right: 0.0, bottom: 0.0 };
        // SAFETY: `r` is written to.
        let ok = unsafe { self.pdfium.FPDFText_GetLooseCharBox(self.handle, index, &raw mut r) };
        (ok != 0).then_some(Rect { left: r.left, bottom: r.bottom, right: r.right, top: r.top })
    }
}

/// Texts of more bytes are left out: no title or value is that long.
const LONGEST_TEXT: c_ulong = 1 << 20;

/// Reads a UTF-16LE text by PDFium's custom: asked with nothing, it tells the length in bytes with the final NUL. It
/// writes only where the buffer holds all of it.
fn utf16(mut get: impl FnMut(*mut FPDF_WCHAR, c_ulong) -> c_ulong) -> String {
    let bytes = get(std::ptr::null_mut(), 0).min(LONGEST_TEXT);
    let mut units = vec![0u16; (bytes / 2) as usize];
    get(units.as_mut_ptr().cast(), bytes);
    let text = units.split(|&unit| unit == 0).next().unwrap_or_default();
    String::from_utf16_lossy(text)
}

/// Reads a text of single bytes by the same custom. Files put UTF-8 where ASCII is asked for.
fn ascii(mut get: impl FnMut(*mut c_void, c_ulong) -> c_ulong) -> String {
    let len = get(std::ptr::null_mut(), 0).min(LONGEST_TEXT);
    let mut bytes = vec![0u8; len as usize];
    get(bytes.as_mut_ptr().cast(), len);
    String::from_utf8_lossy(bytes.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
}
