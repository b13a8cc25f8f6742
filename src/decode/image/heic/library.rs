//! The few calls of libheif that deckle makes (its C interface is stable since 1.0), with handles that free themselves.
//!
//! Every `unsafe` of HEIC is in this file, and all rest on the same facts: signatures are those of `heif.h`; a handle is
//! freed once, by its owner; the library stays loaded as long as its functions can be called.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    marker::PhantomData,
    path::{Path, PathBuf},
    ptr,
};

use libloading::Symbol;

use super::unavailable;
use deckle_contract::error::{Failure, Result, code};

/// `heif_colorspace_RGB`.
const COLOURS_RGB: c_int = 1;
/// `heif_chroma_interleaved_RGB` and `…_RGBA`: 8 bits a channel.
const INTERLEAVED_RGB: c_int = 10;
const INTERLEAVED_RGBA: c_int = 11;
/// `heif_channel_interleaved`.
const CHANNEL_INTERLEAVED: c_int = 10;
/// `heif_error_Ok`, `…_Unsupported_filetype`, `…_Unsupported_feature`, `…_Memory_allocation_error`.
const OK: c_int = 0;
const UNSUPPORTED_FILE: c_int = 3;
const UNSUPPORTED_FEATURE: c_int = 4;
const MEMORY: c_int = 6;

/// `heif_error`. The message lives as long as the context.
#[repr(C)]
struct HeifError {
    code: c_int,
    subcode: c_int,
    message: *const c_char,
}

/// A handle of libheif: context, image handle or image.
type Handle = *mut c_void;

/// libheif's functions.
pub(super) struct Library {
    get_version: unsafe extern "C" fn() -> *const c_char,
    context_alloc: unsafe extern "C" fn() -> Handle,
    context_free: unsafe extern "C" fn(Handle),
    context_set_maximum_image_size_limit: unsafe extern "C" fn(Handle, c_int),
    context_read_from_memory: unsafe extern "C" fn(Handle, *const c_void, usize, *const c_void) -> HeifError,
    context_get_primary: unsafe extern "C" fn(Handle, *mut Handle) -> HeifError,
    handle_release: unsafe extern "C" fn(Handle),
    handle_width: unsafe extern "C" fn(Handle) -> c_int,
    handle_height: unsafe extern "C" fn(Handle) -> c_int,
    handle_has_alpha: unsafe extern "C" fn(Handle) -> c_int,
    decode: unsafe extern "C" fn(Handle, *mut Handle, c_int, c_int, *const c_void) -> HeifError,
    image_plane: unsafe extern "C" fn(Handle, c_int, *mut c_int) -> *const u8,
    image_width: unsafe extern "C" fn(Handle, c_int) -> c_int,
    image_height: unsafe extern "C" fn(Handle, c_int) -> c_int,
    image_release: unsafe extern "C" fn(Handle),
    /// After all functions, so that it goes after them; and what it stands on after it.
    _library: libloading::Library,
    _hevc: Option<libloading::Library>,
}

/// libheif's decoder of HEVC where it lies in the same folder: the system does not look for it there, but takes it when
/// it is loaded already.
fn beside(folder: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(folder).ok()?.flatten();
    files
        .map(|file| file.path())
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("libde265")))
}

impl Library {
    /// Loads `libheif.so.1` from a folder, or where there is none of that name, from the system's search path.
    ///
    /// # Errors
    /// `unsupported_type` when it is not installed.
    pub(super) fn load(folder: Option<&Path>) -> Result<Self> {
        const FILE: &str = "libheif.so.1";
        let own = folder.filter(|folder| folder.join(FILE).exists());
        let missing = |error: libloading::Error| unavailable(&error.to_string());
        // SAFETY: initialisers of both libraries set up tables of their own; each function has the signature of its
        // declaration in heif.h.
        unsafe {
            let hevc = own.and_then(beside).map(|path| libloading::Library::new(path)).transpose().map_err(missing)?;
            let path = own.map_or_else(|| FILE.into(), |folder| folder.join(FILE));
            let library = libloading::Library::new(path).map_err(missing)?;
            Self::bind(library, hevc).map_err(missing)
        }
    }

    unsafe fn bind(
        library: libloading::Library,
        hevc: Option<libloading::Library>,
    ) -> std::result::Result<Self, libloading::Error> {
        unsafe fn get<T: Copy>(
            library: &libloading::Library,
            name: &CStr,
        ) -> std::result::Result<T, libloading::Error> {
            // SAFETY: the caller's.
            let symbol: Symbol<'_, T> = unsafe { library.get(name.to_bytes_with_nul()) }?;
            Ok(*symbol)
        }
        // SAFETY: the caller's.
        unsafe {
            Ok(Self {
                get_version: get(&library, c"heif_get_version")?,
                context_alloc: get(&library, c"heif_context_alloc")?,
                context_free: get(&library, c"heif_context_free")?,
                context_set_maximum_image_size_limit: get(&library, c"heif_context_set_maximum_image_size_limit")?,
                context_read_from_memory: get(&library, c"heif_context_read_from_memory_without_copy")?,
                context_get_primary: get(&library, c"heif_context_get_primary_image_handle")?,
                handle_release: get(&library, c"heif_image_handle_release")?,
                handle_width: get(&library, c"heif_image_handle_get_width")?,
                handle_height: get(&library, c"heif_image_handle_get_height")?,
                handle_has_alpha: get(&library, c"heif_image_handle_has_alpha_channel")?,
                decode: get(&library, c"heif_decode_image")?,
                image_plane: get(&library, c"heif_image_get_plane_readonly")?,
                image_width: get(&library, c"heif_image_get_width")?,
                image_height: get(&library, c"heif_image_get_height")?,
                image_release: get(&library, c"heif_image_release")?,
                _library: library,
                _hevc: hevc,
            })
        }
    }

    /// Such as `1.15.1`.
    pub(super) fn version(&self) -> String {
        // SAFETY: a static text.
        unsafe { CStr::from_ptr((self.get_version)()) }.to_string_lossy().into_owned()
    }

    /// Opens the primary picture of a file; nothing is decoded yet.
    ///
    /// # Errors
    /// `image.damaged`, `unsupported_type`, `limit.pixels`.
    pub(super) fn open<'a>(&'a self, bytes: &'a [u8], max_pixels: u64) -> Result<Photo<'a>> {
        // SAFETY: the context is freed by `Photo`, whose lifetime keeps the bytes it reads from.
        unsafe {
            let context = (self.context_alloc)();
            if context.is_null() {
                return Err(Failure::rejected(code::LIMIT_MEMORY, "no memory to open the HEIC"));
            }
            let mut photo = Photo { library: self, context, handle: ptr::null_mut(), bytes: PhantomData };
            // A side, not an area: the square is what is allowed, and sizes are compared again by the caller.
            let side = c_int::try_from(max_pixels.isqrt().saturating_mul(4)).unwrap_or(c_int::MAX);
            (self.context_set_maximum_image_size_limit)(context, side);
            checked((self.context_read_from_memory)(context, bytes.as_ptr().cast(), bytes.len(), ptr::null()))?;
            checked((self.context_get_primary)(context, &raw mut photo.handle))?;
            Ok(photo)
        }
    }
}

/// The primary picture of an open file.
pub(super) struct Photo<'a> {
    library: &'a Library,
    context: Handle,
    handle: Handle,
    bytes: PhantomData<&'a [u8]>,
}

impl Drop for Photo<'_> {
    fn drop(&mut self) {
        // SAFETY: both are ours; a handle goes before its context.
        unsafe {
            if !self.handle.is_null() {
                (self.library.handle_release)(self.handle);
            }
            (self.library.context_free)(self.context);
        }
    }
}

impl Photo<'_> {
    /// Width and height once turned.
    pub(super) fn size(&self) -> (u32, u32) {
        // SAFETY: the handle is open.
        let (width, height) =
            unsafe { ((self.library.handle_width)(self.handle), (self.library.handle_height)(self.handle)) };
        (u32::try_from(width).unwrap_or(0), u32::try_from(height).unwrap_or(0))
    }

    /// Whether rows come with alpha.
    pub(super) fn has_alpha(&self) -> bool {
        // SAFETY: the handle is open.
        unsafe { (self.library.handle_has_alpha)(self.handle) != 0 }
    }

    /// Decodes it, turned and mirrored as the file says, and gives its rows: red, green, blue and, where it has one,
    /// alpha.
    ///
    /// # Errors
    /// As [`Library::open`].
    pub(super) fn decode(&self, mut put: impl FnMut(&[u8])) -> Result<()> {
        let (chroma, samples) = if self.has_alpha() { (INTERLEAVED_RGBA, 4) } else { (INTERLEAVED_RGB, 3) };
        let mut image = ptr::null_mut();
        // SAFETY: the handle is open; the plane holds `stride` bytes for each of `height` rows until the image is
        // released, which happens once, at the end.
        unsafe {
            checked((self.library.decode)(self.handle, &raw mut image, COLOURS_RGB, chroma, ptr::null()))?;
            let mut stride = 0;
            let plane = (self.library.image_plane)(image, CHANNEL_INTERLEAVED, &raw mut stride);
            let width = usize::try_from((self.library.image_width)(image, CHANNEL_INTERLEAVED)).unwrap_or(0);
            let height = usize::try_from((self.library.image_height)(image, CHANNEL_INTERLEAVED)).unwrap_or(0);
            let stride = usize::try_from(stride).unwrap_or(0);
            if !plane.is_null() && stride >= width * samples {
                (0..height).for_each(|y| put(std::slice::from_raw_parts(plane.add(y * stride), width * samples)));
            }
            (self.library.image_release)(image);
        }
        Ok(())
    }
}

/// # Safety
/// The error must be one that libheif returned, with its context still open.
unsafe fn checked(error: HeifError) -> Result<()> {
    if error.code == OK {
        return Ok(());
    }
    // SAFETY: a text of the library or of the open context.
    let says = (!error.message.is_null()).then(|| unsafe { CStr::from_ptr(error.message) }.to_string_lossy());
    let says = says.unwrap_or_default();
    Err(match error.code {
        UNSUPPORTED_FILE | UNSUPPORTED_FEATURE => Failure::rejected(
            code::UNSUPPORTED_TYPE,
            format!("the HEIC is of a kind that libheif cannot decode: {says}"),
        ),
        MEMORY => Failure::rejected(code::LIMIT_PIXELS, format!("the HEIC needs too much memory to decode: {says}")),
        _ => Failure::rejected(code::IMAGE_DAMAGED, format!("the HEIC is damaged: {says}")),
    })
}
