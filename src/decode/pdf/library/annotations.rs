//! What PDFium reads of the links and form fields of a page.

use std::ffi::c_int;

use pdfium_render::prelude::*;

use super::{PdfPage, Rect, Target, utf16};
use deckle_contract::document::metadata::FormFieldKind;

/// `FPDF_ANNOT_WIDGET`.
const ANNOTATION_WIDGET: i32 = 20;

/// `FPDF_FORMFIELD_…` of `fpdf_formfill.h`.
const PUSH_BUTTON: c_int = 1;
const CHECK_BOX: c_int = 2;
const RADIO_BUTTON: c_int = 3;
const COMBO_BOX: c_int = 4;
const LIST_BOX: c_int = 5;
const TEXT: c_int = 6;
const SIGNATURE: c_int = 7;

/// `FPDF_ANNOT_FLAG_HIDDEN` and `…_NOVIEW`: it is not drawn.
const NOT_DRAWN: c_int = 1 << 1 | 1 << 5;

/// `FPDF_FORMFLAG_READONLY`, `…_REQUIRED` and `…_TEXT_PASSWORD`.
const READ_ONLY: c_int = 1;
const REQUIRED: c_int = 1 << 1;
const PASSWORD: c_int = 1 << 13;

/// A form field at one place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Widget {
    /// In the page's own coordinates.
    pub rect: Rect,
    /// What it is.
    pub kind: FormFieldKind,
    /// Its full name.
    pub name: String,
    /// What the form says to people that it is.
    pub label: String,
    /// What was filled in; of a button what it stands for when it is on. Empty for passwords, which are not asked for.
    pub value: String,
    /// Whether a button is on.
    pub checked: bool,
    /// What can be chosen, and whether it is.
    pub options: Vec<(String, bool)>,
    /// Whether it must be filled in.
    pub required: bool,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Whether it is drawn.
    pub drawn: bool,
    /// Size of its text in points; `None` where the box decides.
    pub font_size: Option<f32>,
}

impl PdfPage<'_> {
    /// The first `most` links: boxes and where they lead. Those that lead nowhere are left out.
    pub(crate) fn links(&self, most: usize) -> Vec<(Rect, Target)> {
        let mut links = Vec::new();
        let mut position: c_int = 0;
        let mut link: FPDF_LINK = std::ptr::null_mut();
        // SAFETY: the page is open; a link is one of its annotations and stays valid while it is.
        unsafe {
            while links.len() < most
                && self.pdfium.FPDFLink_Enumerate(self.handle, &raw mut position, &raw mut link) != 0
            {
                let mut r = FS_RECTF { left: 0.0, top: 0.0, right: 0.0, bottom: 0.0 };
                if self.pdfium.FPDFLink_GetAnnotRect(link, &raw mut r) == 0 {
                    continue;
                }
                let destination = self.pdfium.FPDFLink_GetDest(self.file.handle, link);
                let target = self.file.target(destination, || self.pdfium.FPDFLink_GetAction(link));
                links.extend(target.map(|target| (rect(r), target)));
            }
        }
        links
    }

    /// The first `most` fields of a form, of each at most so many options.
    pub(crate) fn widgets(&self, most: usize, most_options: usize) -> Vec<Widget> {
        let Some(form) = &self.file.form else { return Vec::new() };
        let mut widgets = Vec::new();
        // SAFETY: form and page are open; the annotation is closed before the next one is opened.
        unsafe {
            for index in 0..self.pdfium.FPDFPage_GetAnnotCount(self.handle) {
                if widgets.len() == most {
                    break;
                }
                let annotation = self.pdfium.FPDFPage_GetAnnot(self.handle, index);
                if annotation.is_null() {
                    continue;
                }
                widgets.extend(self.widget(form.handle, annotation, most_options));
                self.pdfium.FPDFPage_CloseAnnot(annotation);
            }
        }
        widgets
    }

    /// Reads an annotation, if it is a form field.
    ///
    /// # Safety
    /// The form is of this document, and the annotation is an open one of this page.
    unsafe fn widget(&self, form: FPDF_FORMHANDLE, annotation: FPDF_ANNOTATION, options: usize) -> Option<Widget> {
        let pdfium = self.pdfium;
        // SAFETY: as the caller vouches for; `r` and `size` are written to, texts within the announced length, and
        // indexes of options come from their count.
        unsafe {
            if pdfium.FPDFAnnot_GetSubtype(annotation) != ANNOTATION_WIDGET {
                return None;
            }
            let flags = pdfium.FPDFAnnot_GetFormFieldFlags(form, annotation);
            let kind = match pdfium.FPDFAnnot_GetFormFieldType(form, annotation) {
                TEXT if flags & PASSWORD != 0 => FormFieldKind::Password,
                TEXT => FormFieldKind::Text,
                CHECK_BOX => FormFieldKind::CheckBox,
                RADIO_BUTTON => FormFieldKind::RadioButton,
                COMBO_BOX => FormFieldKind::ComboBox,
                LIST_BOX => FormFieldKind::ListBox,
                PUSH_BUTTON => FormFieldKind::PushButton,
                SIGNATURE => FormFieldKind::Signature,
                _ => return None,
            };
            let mut r = FS_RECTF { left: 0.0, top: 0.0, right: 0.0, bottom: 0.0 };
            if pdfium.FPDFAnnot_GetRect(annotation, &raw mut r) == 0 {
                return None;
            }
            let is_button = matches!(kind, FormFieldKind::CheckBox | FormFieldKind::RadioButton);
            let value = match kind {
                FormFieldKind::Text | FormFieldKind::ComboBox | FormFieldKind::ListBox => {
                    utf16(|buffer, len| pdfium.FPDFAnnot_GetFormFieldValue(form, annotation, buffer, len))
                }
                _ if is_button => {
                    utf16(|buffer, len| pdfium.FPDFAnnot_GetFormFieldExportValue(form, annotation, buffer, len))
                }
                _ => String::new(),
            };
            let count = match kind {
                FormFieldKind::ComboBox | FormFieldKind::ListBox => pdfium.FPDFAnnot_GetOptionCount(form, annotation),
                _ => 0,
            };
            let option = |index: c_int| {
                let label = utf16(|buffer, len| pdfium.FPDFAnnot_GetOptionLabel(form, annotation, index, buffer, len));
                (label, pdfium.FPDFAnnot_IsOptionSelected(form, annotation, index) != 0)
            };
            let mut size = 0.0;
            let sized = pdfium.FPDFAnnot_GetFontSize(form, annotation, &raw mut size) != 0;
            Some(Widget {
                rect: rect(r),
                kind,
                name: utf16(|buffer, len| pdfium.FPDFAnnot_GetFormFieldName(form, annotation, buffer, len)),
                label: utf16(|buffer, len| pdfium.FPDFAnnot_GetFormFieldAlternateName(form, annotation, buffer, len)),
                value,
                checked: is_button && pdfium.FPDFAnnot_IsChecked(form, annotation) != 0,
                options: (0..count.max(0)).take(options).map(option).collect(),
                required: flags & REQUIRED != 0,
                read_only: flags & READ_ONLY != 0,
                drawn: pdfium.FPDFAnnot_GetFlags(annotation) & NOT_DRAWN == 0,
                font_size: Some(size).filter(|size| sized && *size > 0.0),
            })
        }
    }
}

/// PDFium's rectangles of annotations, with sides that may be exchanged.
fn rect(r: FS_RECTF) -> Rect {
    Rect {
        left: r.left.min(r.right),
        bottom: r.bottom.min(r.top),
        right: r.left.max(r.right),
        top: r.bottom.max(r.top),
    }
}
