//! Docling's names for our kinds, media types and languages of code. Its validator refuses any other.

use super::super::BlockKind;

/// Docling's label of a text item.
pub(super) fn label(kind: BlockKind) -> &'static str {
    match kind {
        BlockKind::Title => "title",
        BlockKind::SectionHeader => "section_header",
        BlockKind::ListItem => "list_item",
        BlockKind::Caption => "caption",
        BlockKind::Code => "code",
        BlockKind::PageHeader => "page_header",
        BlockKind::PageFooter => "page_footer",
        BlockKind::Footnote => "footnote",
        BlockKind::Text | BlockKind::Table | BlockKind::Picture => "text",
    }
}

/// The file name without its last extension.
pub(super) fn stem(filename: &str) -> &str {
    match filename.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => filename,
    }
}

/// Media types that docling-core accepts whatever the machine's mime table says: those of its own list, and of
/// Python's built-in one.
const MEDIA_TYPES: &[&str] = &[
    "application/epub+zip",
    "application/json",
    "application/msword",
    "application/pdf",
    "application/rtf",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/zip",
    "image/bmp",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/tiff",
    "message/rfc822",
    "text/calendar",
    "text/csv",
    "text/html",
    "text/markdown",
    "text/plain",
    "text/xml",
];

/// The media type where docling accepts it; else `application/octet-stream`.
pub(super) fn media_type(media_type: &str) -> &str {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if MEDIA_TYPES.contains(&essence) { essence } else { "application/octet-stream" }
}

/// Docling's languages of code (`CodeLanguageLabel`).
const CODE_LANGUAGES: &[&str] = &[
    "Ada",
    "Awk",
    "Bash",
    "bc",
    "C",
    "C#",
    "C++",
    "CMake",
    "COBOL",
    "CSS",
    "Ceylon",
    "Clojure",
    "Crystal",
    "Cuda",
    "Cython",
    "D",
    "Dart",
    "dc",
    "Dockerfile",
    "Elixir",
    "Erlang",
    "FORTRAN",
    "Forth",
    "Go",
    "HTML",
    "Haskell",
    "Haxe",
    "Java",
    "JavaScript",
    "JSON",
    "Julia",
    "Kotlin",
    "Latex",
    "Lisp",
    "Lua",
    "Matlab",
    "MoonScript",
    "Nim",
    "OCaml",
    "ObjectiveC",
    "Octave",
    "PHP",
    "Pascal",
    "Perl",
    "Prolog",
    "Python",
    "Racket",
    "Ruby",
    "Rust",
    "SML",
    "SQL",
    "Scala",
    "Scheme",
    "Swift",
    "Tikz",
    "TypeScript",
    "VisualBasic",
    "XML",
    "YAML",
];

/// Docling's name of a language of code; `unknown` for any other.
pub(super) fn code_language(language: Option<&str>) -> &'static str {
    let wanted = match language.map(str::to_ascii_lowercase).as_deref() {
        Some("sh" | "shell" | "zsh") => "bash".to_owned(),
        Some("js") => "javascript".to_owned(),
        Some("ts") => "typescript".to_owned(),
        Some("py") => "python".to_owned(),
        Some("rs") => "rust".to_owned(),
        Some("cpp") => "c++".to_owned(),
        Some("cs" | "csharp") => "c#".to_owned(),
        Some("yml") => "yaml".to_owned(),
        Some("tex") => "latex".to_owned(),
        Some(other) => other.to_owned(),
        None => return "unknown",
    };
    CODE_LANGUAGES.iter().find(|known| known.eq_ignore_ascii_case(&wanted)).copied().unwrap_or("unknown")
}
