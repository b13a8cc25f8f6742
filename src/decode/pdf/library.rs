//! The few calls of PDFium that deckle makes, with owned handles that close themselves.
//!
//! The crate's own layer hides what the text-layer rule needs (characters without a mapping, objects inside forms) and
//! rounds coordinates to whole pixels; so this goes to its bindings. Every `unsafe` in `decode/pdf` is in this module,
//! and all of them rest on the same facts: a handle is closed once, by its owner, before what it belongs to; indexes
//! come from PDFium's own counts; and a process uses PDFium from one thread.

mod annotations;
mod document;
mod objects;
mod text;

use std::{
    ffi::{c_ulong, c_void},
    path::Path,
    pin::Pin,
};

use bytes::Bytes;
use pdfium_render::prelude::*;

pub(super) use annotations::Widget;
pub(super) use document::{Bookmark, Embedded, Place, Target};
pub(super) use objects::{Object, ObjectKind, Outlines};
pub(super) use text::TextPage;

use super::geometry::{Matrix, Rect};
use deckle_contract::error::{Failure, Result, code};
use deckle_imaging::Channels;

/// `FPDF_ERR_…` of `fpdfview.h`.
const ERROR_PASSWORD: c_ulong = 4;
const ERROR_SECURITY: c_ulong = 5;

/// `FPDFBitmap_Gray`.
const BITMAP_GREY: i32 = 1;
/// `FPDFBitmap_BGR`: blue first. The order is changed here and not by PDFium.
const BITMAP_BGR: i32 = 2;

/// `FPDF_ANNOT | FPDF_RENDER_LIMITEDIMAGECACHE`. Never `FPDF_REVERSE_BYTE_ORDER`: with grey it kills the process.
const RENDER_FLAGS: i32 = 0x01 | 0x200;

type Bindings = &'static dyn PdfiumLibraryBindings;

/// PDFium, loaded and initialised. Once per process.
#[derive(Clone, Copy)]
pub(super) struct Library {
    pdfium: Bindings,
}

impl Library {
    /// Loads `libpdfium.so` from a folder, or from the system's search path.
    pub(super) fn load(folder: Option<&Path>) -> Result<Self> {
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
    pub(super) fn open(self, bytes: Bytes, password: Option<&str>) -> Result<PdfFile> {
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

/// Why a PDF cannot be opened. One that was cut off is not put together from its parts: the pages that are left would
/// pass for the whole.
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
pub(super) struct PdfFile {
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
    pub(super) fn page_count(&self) -> u32 {
        // SAFETY: the document is open.
        u32::try_from(unsafe { self.pdfium.FPDF_GetPageCount(self.handle) }).unwrap_or(0)
    }

    /// Loads a page, counted from 0.
    pub(super) fn page(&self, index: u32) -> Option<PdfPage<'_>> {
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
pub(super) struct PdfPage<'a> {
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

impl PdfPage<'_> {
    /// Width and height in points after /Rotate.
    pub(super) fn size(&self) -> (f32, f32) {
        // SAFETY: the page is open.
        unsafe { (self.pdfium.FPDF_GetPageWidthF(self.handle), self.pdfium.FPDF_GetPageHeightF(self.handle)) }
    }

    /// Quarter turns clockwise: 0 to 3.
    pub(super) fn quarter_turns(&self) -> u16 {
        // SAFETY: the page is open.
        u16::try_from(unsafe { self.pdfium.FPDFPage_GetRotation(self.handle) }).unwrap_or(0) % 4
    }

    /// The visible part of the page (CropBox within MediaBox).
    pub(super) fn visible(&self) -> Option<Rect> {
        let mut r = FS_RECTF { left: 0.0, top: 0.0, right: 0.0, bottom: 0.0 };
        // SAFETY: the page is open and `r` is written to.
        let ok = unsafe { self.pdfium.FPDF_GetPageBoundingBox(self.handle, &raw mut r) };
        (ok != 0).then_some(Rect { left: r.left, bottom: r.bottom, right: r.right, top: r.top })
    }

    /// Renders the page, turned by /Rotate, with annotations and form fields; rows without padding. `None` when PDFium
    /// cannot get the memory.
    pub(super) fn render(&self, width: i32, height: i32, channels: Channels) -> Option<Vec<u8>> {
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

/// Texts of more bytes are left out: no title or value is that long.
const LONGEST_TEXT: c_ulong = 1 << 20;

/// Reads a UTF-16LE text by PDFium's custom: asked with no buffer, it returns the length in bytes with the final NUL.
/// It writes only where the buffer holds all of it.
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
