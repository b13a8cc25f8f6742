//! The decoders, through real children, PDFium and Tesseract: what stands in the samples comes out, at its place, and
//! each bad file has its own code.

mod reading;

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use deckle::{
    contract::{
        document::{Bbox, BlockKind, Line},
        error::{Failure, code},
    },
    decode::{
        Config, Decoders,
        sandbox::{self, File},
        text_layer::{self, Decision},
    },
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Where `make setup` puts the native libraries.
fn libraries() -> PathBuf {
    let home = std::env::var_os("DECKLE_HOME").map(PathBuf::from);
    let folder = home.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".deckle")).join("lib");
    assert!(folder.join("libpdfium.so").exists(), "no libpdfium.so in {}; run `make setup`", folder.display());
    folder
}

fn decoders_with(config: Config, sandbox: sandbox::Config) -> Decoders {
    Decoders::start(
        Path::new(env!("CARGO_BIN_EXE_deckle")),
        sandbox,
        Config { pdfium: Some(libraries()), heif: Some(libraries()), ..config },
    )
}

fn decoders() -> Decoders {
    decoders_with(Config::default(), sandbox::Config { children: Some(1), ..sandbox::Config::default() })
}

fn file(bytes: impl Into<Vec<u8>>) -> File {
    use sha2::Digest;
    let bytes = bytes.into();
    File { sha256: hex::encode(sha2::Sha256::digest(&bytes)), bytes: bytes.into() }
}

fn sample(name: &str) -> File {
    file(std::fs::read(data(name)).unwrap())
}

async fn refusal(bytes: File, name: &str) -> Failure {
    decoders().open(&bytes, name, None).await.expect_err(name)
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// All text of a sample's page, from where it is to come.
async fn page_text(decoders: &Decoders, file: &File, media_type: &str, page_no: u32, from: &str) -> String {
    let page = decoders.read_page(file, media_type, page_no, None).await.unwrap().value;
    let decision = text_layer::classify(&page.signals);
    if from == "text_layer" {
        assert!(matches!(decision, Decision::TextLayer | Decision::TextLayerAndImages(_)), "{decision:?}");
        return text(&page.lines);
    }
    assert!(matches!(decision, Decision::Ocr(_)), "{decision:?}");
    let raster = decoders.render_page(file, media_type, page_no, None).await.unwrap().value;
    assert_eq!((raster.page_width, raster.page_height), (page.width, page.height));
    let found = decoders.recognise(&raster.png, raster.dpi, &["en".to_owned()]).await.unwrap().value;
    assert!(found.engine.starts_with("tesseract 5"), "{}", found.engine);
    for line in &found.lines {
        assert!(line.confidence.is_some_and(|c| (0.0..=1.0).contains(&c)));
        assert!(line.bbox.right <= page.width + 1.0 && line.bbox.bottom <= page.height + 1.0, "{line:?}");
    }
    text(&found.lines)
}

#[tokio::test]
async fn what_stands_in_the_samples_is_read() {
    let truth: serde_json::Value = serde_json::from_slice(&std::fs::read(data("truth.json")).unwrap()).unwrap();
    let decoders = decoders();
    let mut pages = 0;
    for (name, document) in truth["documents"].as_object().unwrap() {
        let file = sample(&format!("samples/{name}"));
        let opened = decoders.open(&file, name, None).await.unwrap().value;
        assert_eq!(opened.media_type, document["media_type"].as_str().unwrap(), "{name}");
        for page in document["pages"].as_array().unwrap() {
            let (page_no, from) = (page["page_no"].as_u64().unwrap() as u32, page["text_from"].as_str().unwrap());
            // A long document of one kind: its first pages tell.
            if page_no > 4 {
                continue;
            }
            let found = if from == "text" {
                opened.blocks.iter().map(|b| b.text.as_str()).collect::<Vec<_>>().join(" ")
            } else {
                page_text(&decoders, &file, &opened.media_type, page_no, from).await
            };
            let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
            let snippets: Vec<&str> = page["snippets"].as_array().unwrap().iter().filter_map(|s| s.as_str()).collect();
            let missing: Vec<&&str> = snippets.iter().filter(|snippet| !found.contains(**snippet)).collect();
            assert!(missing.is_empty(), "{name} page {page_no} lacks {missing:?} in:\n{found}");
            pages += 1;
        }
    }
    assert!(pages > 10);
}

#[tokio::test]
async fn decomposed_text_comes_out_composed() {
    use unicode_normalization::is_nfc;
    let plain = sample("samples/plain.txt");
    assert!(!is_nfc(std::str::from_utf8(&plain.bytes).unwrap()), "the sample no longer tests anything");
    let opened = decoders().open(&plain, "plain.txt", None).await.unwrap().value;
    assert!(opened.blocks.len() > 1 && opened.blocks.iter().all(|block| is_nfc(&block.text)));
    assert_eq!(opened.page_count, None);
}

#[tokio::test]
async fn markdown_keeps_its_structure() {
    let text = "---\nauthor: nobody\n---\n# One\n\nSome *text*\nin two lines.\n\n# Two\n\n- a\n  - b\n\n3. c\n4. d\n\n```rust\nfn x() {}\n```\n\n\
                | k | v |\n|---|---|\n| 1 | 2 |\n\n> quoted\n\n![a map](map.png)\n";
    let opened = decoders().open(&file(text), "x.md", None).await.unwrap().value;
    assert_eq!(opened.title.as_deref(), Some("One"));
    let found: Vec<_> = opened.blocks.iter().map(|b| (b.kind, b.level, b.marker.as_deref(), b.text.as_str())).collect();
    use BlockKind::{Code, ListItem, Picture, SectionHeader, Table, Text, Title};
    assert_eq!(
        found,
        [
            (Title, None, None, "One"),
            (Text, None, None, "Some text in two lines."),
            (SectionHeader, Some(1), None, "Two"),
            (ListItem, Some(1), Some("-"), "a"),
            (ListItem, Some(2), Some("-"), "b"),
            (ListItem, Some(1), Some("3."), "c"),
            (ListItem, Some(1), Some("4."), "d"),
            (Code, None, None, "fn x() {}"),
            (Table, None, None, "k\tv\n1\t2"),
            (Text, None, None, "quoted"),
            (Picture, None, None, "a map"),
        ]
    );
    let table = opened.blocks[8].table.as_ref().unwrap();
    assert_eq!((table.rows, table.columns, table.cells.len()), (2, 2, 4));
    assert!(table.cells[1].header && !table.cells[2].header && table.cells[3].column_index == 1);
    assert_eq!(opened.blocks[7].code_language.as_deref(), Some("rust"));
}

/// A PDF of one page: 300 × 400 points of which the CropBox shows 200 × 300.
fn pdf(page: &str, content: &str, more: &[&str]) -> Vec<u8> {
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] /Contents 4 0 R {page} >>"),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold >>".to_owned(),
    ];
    objects.extend(more.iter().map(|object| (*object).to_owned()));
    written(&objects)
}

/// A PDF of objects, of which the first is the catalogue.
fn written(objects: &[String]) -> Vec<u8> {
    let mut out = "%PDF-1.4\n".to_owned();
    let mut offsets = Vec::new();
    for (i, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        write!(out, "{} 0 obj\n{object}\nendobj\n", i + 1).unwrap();
    }
    let start = out.len();
    write!(out, "xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).unwrap();
    offsets.iter().for_each(|offset| writeln!(out, "{offset:010} 00000 n ").unwrap());
    write!(out, "trailer << /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n", objects.len() + 1).unwrap();
    out.into_bytes()
}

fn assert_near(found: Bbox, [left, top, right, bottom]: [f32; 4]) {
    let far = [found.left - left, found.top - top, found.right - right, found.bottom - bottom];
    assert!(far.iter().all(|d| d.abs() < 1.0), "{found:?} is not near {:?}", [left, top, right, bottom]);
}

#[tokio::test]
async fn a_words_box_is_right_upright_and_turned() {
    // H in Helvetica Bold: 722 wide of 1000, ink from 71 to 651, 718 high. At 50 points from (100, 200):
    // ink of HH from 103.5 to 168.7, from 200 up to 235.9. The CropBox begins at (50, 50) and ends at (250, 350).
    let words = [
        ("", [53.5, 114.1, 118.7, 150.0], (200.0, 300.0), 0),
        ("/Rotate 90", [150.0, 53.5, 185.9, 118.7], (300.0, 200.0), 90),
        ("/Rotate 180", [81.3, 150.0, 146.5, 185.9], (200.0, 300.0), 180),
        ("/Rotate 270", [114.1, 81.3, 150.0, 146.5], (300.0, 200.0), 270),
    ];
    let decoders = decoders();
    for (rotate, expected, size, rotation) in words {
        let page = format!("/CropBox [50 50 250 350] {rotate} /Resources << /Font << /F 5 0 R >> >>");
        let file = file(pdf(&page, "BT /F 50 Tf 100 200 Td (HH) Tj ET", &[]));
        let page = decoders.read_page(&file, "application/pdf", 1, None).await.unwrap().value;
        assert_eq!(((page.width, page.height), page.rotation), (size, rotation), "{rotate}");
        let [line] = &page.lines[..] else { panic!("{:?}", page.lines) };
        assert_eq!((line.words[0].text.as_str(), line.bold), ("HH", true));
        assert_near(line.words[0].bbox, expected);
        assert!(line.font_size.is_some_and(|size| (size - 50.0).abs() < 0.1), "{:?}", line.font_size);
        // The rendering is turned alike: ink inside the box, none elsewhere.
        let raster = decoders.render_page(&file, "application/pdf", 1, None).await.unwrap().value;
        assert_eq!((raster.page_width, raster.page_height), size);
        assert_near(ink_box(&raster.png, raster.dpi), expected);
    }
}

/// The box around everything dark, in points.
fn ink_box(png: &[u8], dpi: f32) -> Bbox {
    let decoder = image::codecs::png::PngDecoder::new(std::io::Cursor::new(png)).unwrap();
    let picture = image::DynamicImage::from_decoder(decoder).unwrap();
    assert_eq!(picture.color(), image::ColorType::L8);
    let dark = picture
        .to_luma8()
        .enumerate_pixels()
        .filter(|(_, _, p)| p.0[0] < 128)
        .map(|(x, y, _)| (x, y))
        .collect::<Vec<_>>();
    let point = |pixel: u32| pixel as f32 * 72.0 / dpi;
    Bbox {
        left: point(dark.iter().map(|(x, _)| *x).min().unwrap()),
        top: point(dark.iter().map(|(_, y)| *y).min().unwrap()),
        right: point(dark.iter().map(|(x, _)| *x).max().unwrap() + 1),
        bottom: point(dark.iter().map(|(_, y)| *y).max().unwrap() + 1),
    }
}

#[tokio::test]
async fn a_picture_inside_a_form_is_found_at_its_place() {
    let form = "<< /Type /XObject /Subtype /Form /BBox [0 0 200 200] /Matrix [2 0 0 2 10 20] /Length 34 \
                /Resources << /XObject << /I 7 0 R >> >> >>\nstream\nq 50 0 0 25 5 5 cm /I Do Q         \nendstream";
    let picture = "<< /Type /XObject /Subtype /Image /Width 2 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 \
                   /Length 2 >>\nstream\nAB\nendstream";
    let page = "/Resources << /XObject << /X 6 0 R >> >>";
    let file = file(pdf(page, "q 1 0 0 1 30 40 cm /X Do Q", &[form, picture]));
    let page = decoders().read_page(&file, "application/pdf", 1, None).await.unwrap().value;
    let [found] = page.images[..] else { panic!("{:?}", page.images) };
    assert_near(found, [50.0, 280.0, 150.0, 330.0]);
}

#[tokio::test]
async fn an_invisible_layer_over_a_scan_is_read_again() {
    let picture = "<< /Type /XObject /Subtype /Image /Width 2 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 \
                   /Length 2 >>\nstream\nAB\nendstream";
    let page = "/Resources << /Font << /F 5 0 R >> /XObject << /I 6 0 R >> >>";
    let content = "q 300 0 0 400 0 0 cm /I Do Q BT 3 Tr /F 12 Tf 20 200 Td (Read by somebody else) Tj ET";
    let file = file(pdf(page, content, &[picture]));
    let page = decoders().read_page(&file, "application/pdf", 1, None).await.unwrap().value;
    assert_eq!(text_layer::classify(&page.signals), Decision::Ocr("invisible"));
    assert_eq!(text(&page.lines), "Read by somebody else");
}

#[tokio::test]
async fn every_bad_file_has_its_code() {
    for (name, expected, says) in [
        ("bad/empty.pdf", code::EMPTY, "empty"),
        ("bad/encrypted.pdf", code::PDF_ENCRYPTED, "needs a password"),
        ("bad/truncated.pdf", code::PDF_DAMAGED, "it is cut off"),
        ("bad/not-a.pdf", code::UNSUPPORTED_TYPE, "an HTML page (text/html)"),
        ("bad/truncated.png", code::IMAGE_DAMAGED, "damaged"),
        ("bad/truncated.jpg", code::IMAGE_DAMAGED, "damaged"),
        ("bad/bomb.png", code::LIMIT_PIXELS, "30000 × 30000"),
        ("bad/table.docx", code::UNSUPPORTED_TYPE, "a Word document"),
        ("bad/binary.bin", code::UNSUPPORTED_TYPE, "application/octet-stream"),
    ] {
        let failure = refusal(sample(name), name).await;
        assert_eq!(failure.code(), expected, "{name}: {failure}");
        assert!(failure.to_string().contains(says), "{name}: {failure}");
    }
}

#[tokio::test]
async fn a_type_is_told_by_content_and_named() {
    let csv = "a,b,c,d\n1,2,3,4\n".repeat(8);
    for (bytes, says) in [
        (&b"PK\x03\x04\x14\0\0\0\0\0rest of an archive"[..], "a ZIP archive (application/zip)"),
        (b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", "an AVIF image (image/avif)"),
        (b"II*\0\x10\0\0\0CR\x02\0", "an image of another format"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a sound recording"),
        (b"{\"a\": [1, 2, 3]}", "a JSON file"),
        (b"From: a@b\r\nTo: c@d\r\nSubject: x\r\n\r\nhello", "an e-mail message"),
        (b"<!DOCTYPE html><p>x", "an HTML page"),
        (csv.as_bytes(), "separated values"),
    ] {
        // The name lies.
        let failure = refusal(file(bytes), "letter.txt").await;
        assert_eq!(failure.code(), code::UNSUPPORTED_TYPE, "{says}");
        let message = failure.to_string();
        assert!(message.contains(says) && message.contains("deckle reads PDF, PNG, JPEG"), "{message}");
    }
}

#[tokio::test]
async fn text_is_read_in_its_encoding() {
    let decoders = decoders();
    let utf16: Vec<u8> = [0xFF, 0xFE].into_iter().chain("Größe".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    for (bytes, expected) in [
        ("Größe".as_bytes().to_vec(), "Größe"),
        (b"\xEF\xBB\xBFGr\xC3\xB6\xC3\x9Fe".to_vec(), "Größe"),
        (utf16, "Größe"),
        (b"Die Gr\xF6\xDFe des \x84Hauses\x93 war bekannt".to_vec(), "Die Größe des „Hauses“ war bekannt"),
    ] {
        let opened = decoders.open(&file(bytes), "a.txt", None).await.unwrap().value;
        assert_eq!(opened.blocks[0].text, expected);
    }
    // Cyrillic in Windows-1251 is not guessed.
    let cyrillic = b"\xCF\xF0\xE8\xE2\xE5\xF2, \xEC\xE8\xF0! \xCA\xE0\xEA \xE4\xE5\xEB\xE0?".to_vec();
    let failure = decoders.open(&file(cyrillic), "a.txt", None).await.unwrap_err();
    assert_eq!(failure.code(), code::TEXT_ENCODING);
}

#[tokio::test]
async fn a_password_opens_and_is_never_repeated() {
    let (decoders, file) = (decoders(), sample("bad/encrypted.pdf"));
    let failure = decoders.open(&file, "x.pdf", Some("wr0ng-secret")).await.unwrap_err();
    assert_eq!(failure.code(), code::PDF_ENCRYPTED);
    assert!(failure.to_string().contains("wrong") && !failure.to_string().contains("wr0ng-secret"), "{failure}");
    let opened = decoders.open(&file, "x.pdf", Some("open-sesame")).await.unwrap().value;
    assert!(opened.page_count.is_some());
    decoders.read_page(&file, "application/pdf", 1, Some("open-sesame")).await.unwrap();
    // An open document does not stay open for those without the password.
    assert!(decoders.read_page(&file, "application/pdf", 1, None).await.is_err());
}

/// A PNG of one colour per pixel.
fn png(width: u32, height: u32, color: image::ExtendedColorType, pixels: &[u8]) -> Vec<u8> {
    use image::ImageEncoder;
    let mut out = Vec::new();
    image::codecs::png::PngEncoder::new(&mut out).write_image(pixels, width, height, color).unwrap();
    out
}

#[tokio::test]
async fn pictures_become_upright_grey_pages() {
    let decoders = decoders();
    // What is transparent shows the paper.
    let transparent = png(2, 1, image::ExtendedColorType::Rgba8, &[0, 0, 0, 0, 0, 0, 0, 255]);
    // 16 bits.
    let deep = png(2, 1, image::ExtendedColorType::L16, &[0xFF, 0xFF, 0, 0]);
    for bytes in [transparent, deep] {
        let raster = decoders.render_page(&file(bytes), "image/png", 1, None).await.unwrap().value;
        let decoder = image::codecs::png::PngDecoder::new(std::io::Cursor::new(&raster.png[..])).unwrap();
        assert_eq!(image::DynamicImage::from_decoder(decoder).unwrap().into_luma8().into_raw(), [255, 0]);
        assert_eq!((raster.page_width, raster.page_height, raster.dpi), (2.0, 1.0, 72.0));
    }
    let raster = decoders.render_page(&sample("samples/photo.jpg"), "image/jpeg", 1, None).await.unwrap().value;
    assert_eq!((raster.rotation, raster.width_px, raster.height_px), (90, 1200, 1600));
    let raster = decoders.render_page(&sample("samples/letter.png"), "image/png", 1, None).await.unwrap().value;
    assert!(
        (raster.dpi - 200.0).abs() < 0.1 && (raster.page_width - 595.4).abs() < 1.0,
        "{} {}",
        raster.dpi,
        raster.page_width
    );
}

#[tokio::test]
async fn a_page_over_the_pixel_limit_is_rendered_smaller_or_refused() {
    let few = |max_pixels| decoders_with(Config { max_pixels, ..Config::default() }, sandbox::Config::default());
    let file = sample("samples/handbook.pdf");
    let raster = few(500_000).render_page(&file, "application/pdf", 1, None).await.unwrap().value;
    assert!(raster.width_px * raster.height_px <= 500_000 && raster.dpi < 100.0, "{raster:?}");
    let failure = few(5_000).render_page(&file, "application/pdf", 1, None).await.unwrap_err();
    assert_eq!(failure.code(), code::LIMIT_PIXELS);
}

#[tokio::test]
async fn limits_on_bytes_and_pages_hold() {
    let file = sample("samples/long.pdf");
    for (config, expected) in [
        (Config { max_bytes: 100, ..Config::default() }, code::LIMIT_BYTES),
        (Config { max_pages: 29, ..Config::default() }, code::LIMIT_PAGES),
    ] {
        let decoders = decoders_with(config, sandbox::Config::default());
        assert_eq!(decoders.open(&file, "long.pdf", None).await.unwrap_err().code(), expected);
    }
}

#[tokio::test]
async fn a_language_that_is_not_installed_is_named_with_its_package() {
    let decoders = decoders();
    let raster = decoders.render_page(&sample("samples/letter.png"), "image/png", 1, None).await.unwrap().value;
    let failure = decoders.recognise(&raster.png, raster.dpi, &["en".to_owned(), "km".to_owned()]).await.unwrap_err();
    assert_eq!(failure.code(), code::OCR_LANGUAGE);
    let failure = decoders.recognise(&raster.png, raster.dpi, &["is-IS".to_owned()]).await.unwrap_err();
    assert_eq!(failure.code(), code::OCR_LANGUAGE);
    let message = failure.to_string();
    assert!(message.contains("tesseract-ocr-isl") && message.contains("eng"), "{message}");
}

#[tokio::test]
async fn check_finds_everything_in_place() {
    let found = decoders().check().await;
    assert!(found.len() >= 3 && found.iter().all(|check| check.ok && check.advice.is_empty()), "{found:#?}");
    let nowhere = Config { pdfium: Some("/nowhere".into()), ..Config::default() };
    let decoders = Decoders::start(Path::new(env!("CARGO_BIN_EXE_deckle")), sandbox::Config::default(), nowhere);
    let found = decoders.check().await;
    assert!(found.iter().any(|check| check.name == "pdfium" && !check.ok && check.advice.contains("pypdfium2")));
    let failure = decoders.open(&sample("samples/handbook.pdf"), "x.pdf", None).await.unwrap_err();
    assert_eq!(failure.code(), code::UNAVAILABLE);
}

#[tokio::test]
async fn equal_pages_read_equal_whatever_came_before() {
    let decoders = decoders();
    let raster = decoders.render_page(&sample("samples/letter.png"), "image/png", 1, None).await.unwrap().value;
    let other = decoders.render_page(&sample("samples/photo.jpg"), "image/jpeg", 1, None).await.unwrap().value;
    let first = decoders.recognise(&raster.png, raster.dpi, &[]).await.unwrap().value;
    decoders.recognise(&other.png, other.dpi, &[]).await.unwrap();
    assert_eq!(first, decoders.recognise(&raster.png, raster.dpi, &[]).await.unwrap().value);
}
