//! Pictures of every kind, through real children: what stands on them is read, upright, and within limits.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use deckle::{
    contract::{error::code, record::Lane},
    decode::{
        Config, Decoders, PageImage,
        sandbox::{self, File},
    },
    imaging::{Channels, Pixmap},
    models::{inference, on_demand::OnDemand, orientation::Orientation},
    recognition::upright::{Oriented, Upright},
};

fn home() -> PathBuf {
    let home = std::env::var_os("DECKLE_HOME").map(PathBuf::from);
    home.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".deckle"))
}

fn decoders_with(config: Config, sandbox: sandbox::Config) -> Decoders {
    let lib = home().join("lib");
    assert!(lib.join("libpdfium.so").exists(), "no libpdfium.so in {}; run `make setup`", lib.display());
    let config = Config { pdfium: Some(lib.clone()), heif: Some(lib), ..config };
    Decoders::start(Path::new(env!("CARGO_BIN_EXE_deckle")), sandbox, config)
}

fn decoders() -> Decoders {
    decoders_with(Config::default(), sandbox::Config { children: Some(1), ..sandbox::Config::default() })
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/reading").join(name)).unwrap()
}

fn file(bytes: Vec<u8>) -> File {
    use sha2::Digest;
    File { sha256: hex::encode(sha2::Sha256::digest(&bytes)), bytes: bytes.into() }
}

fn picture(raster: &PageImage) -> Pixmap {
    Pixmap::from_png(&raster.png, u64::MAX).unwrap()
}

/// The pages of the truth beside a document.
fn truth(name: &str) -> Vec<String> {
    let stem = name.rsplit_once('.').unwrap().0;
    String::from_utf8(bytes(&format!("{stem}.txt"))).unwrap().split('\x0c').map(str::to_owned).collect()
}

/// The share of the words of a truth that were found.
fn found_share(truth: &str, found: &str) -> f64 {
    let mut left: HashMap<&str, usize> = HashMap::new();
    found.split_whitespace().for_each(|word| *left.entry(word).or_default() += 1);
    let words: Vec<&str> = truth.split_whitespace().collect();
    let hits =
        words.iter().filter(|word| left.get_mut(*word).is_some_and(|n| std::mem::replace(n, n.saturating_sub(1)) > 0));
    hits.count() as f64 / words.len() as f64
}

async fn assert_reads(decoders: &Decoders, raster: &PageImage, truth: &str, name: &str) {
    let lines = decoders.recognise(&raster.png, raster.dpi, &["en".to_owned()]).await.unwrap().value.lines;
    let found = lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join(" ");
    let share = found_share(truth, &found);
    assert!(share >= 0.95, "{name}: {share:.2} of the words in:\n{found}");
}

/// Opens a document and renders all its pages.
async fn rendered(decoders: &Decoders, name: &str, media_type: &str) -> Vec<PageImage> {
    let file = file(bytes(name));
    // The name lies: content decides.
    let opened = decoders.open(&file, "a.txt", None).await.unwrap_or_else(|e| panic!("{name}: {e}")).value;
    assert_eq!(opened.media_type, media_type, "{name}");
    let mut pages = Vec::new();
    for page_no in 1..=opened.page_count.unwrap() {
        let raster = decoders.render_page(&file, media_type, page_no, None).await;
        pages.push(raster.unwrap_or_else(|e| panic!("{name} page {page_no}: {e}")).value);
    }
    pages
}

#[tokio::test]
async fn a_page_in_any_kind_of_picture_is_read() {
    let decoders = decoders();
    for (name, media_type, dpi, channels) in [
        ("notice-16-bit.png", "image/png", 100.0, Channels::Grey),
        ("notice-transparent.png", "image/png", 100.0, Channels::Grey),
        ("notice.webp", "image/webp", 72.0, Channels::Rgb),
        ("notice.gif", "image/gif", 72.0, Channels::Grey),
        ("notice.bmp", "image/bmp", 100.0, Channels::Grey),
        ("notice-cmyk.jpg", "image/jpeg", 100.0, Channels::Rgb),
        ("notice-palette.tif", "image/tiff", 72.0, Channels::Rgb),
        ("notice-turned.tif", "image/tiff", 101.6, Channels::Grey),
        ("notice-jpeg.tif", "image/tiff", 100.0, Channels::Rgb),
        ("notice-lzw.tif", "image/tiff", 100.0, Channels::Grey),
        ("notice.heic", "image/heic", 72.0, Channels::Rgb),
    ] {
        let [raster] = &rendered(&decoders, name, media_type).await[..] else { panic!("{name} has one page") };
        assert_eq!((raster.width_px, raster.height_px), (850, 1100), "{name}");
        assert!((raster.dpi - dpi).abs() < 0.1, "{name}: {}", raster.dpi);
        assert!((raster.page_width - 850.0 * 72.0 / dpi).abs() < 1.0, "{name}: {}", raster.page_width);
        let picture = picture(raster);
        assert_eq!(picture.channels, channels, "{name}");
        let corner = &picture.pixels[..channels.count()];
        assert!(corner.iter().all(|value| *value > 180), "{name}: paper is light, not {corner:?}");
        assert_reads(&decoders, raster, &truth(name)[0], name).await;
    }
}

#[tokio::test]
async fn each_picture_of_a_tiff_is_a_page() {
    let decoders = decoders();
    let (pages, truth) = (rendered(&decoders, "sheets-group4.tif", "image/tiff").await, truth("sheets-group4.tif"));
    assert_eq!(pages.len(), truth.len());
    for (raster, truth) in pages.iter().zip(&truth) {
        assert_reads(&decoders, raster, truth, "sheets-group4.tif").await;
    }
    // The other codings of faxes lose nothing either.
    for name in ["sheets-group3.tif", "sheets-group3-2d.tif", "sheets-huffman.tif"] {
        assert_eq!(rendered(&decoders, name, "image/tiff").await, pages, "{name}");
    }
}

#[tokio::test]
async fn a_damaged_page_of_a_tiff_fails_alone() {
    let (decoders, file) = (decoders(), file(bytes("sheets-damaged.tif")));
    let opened = decoders.open(&file, "a.tif", None).await.unwrap().value;
    assert_eq!(opened.page_count, Some(3));
    let truth = truth("sheets-damaged.tif");
    for page_no in [1, 3] {
        let raster = decoders.render_page(&file, "image/tiff", page_no, None).await.unwrap().value;
        assert_reads(&decoders, &raster, &truth[page_no as usize - 1], "sheets-damaged.tif").await;
    }
    let failure = decoders.render_page(&file, "image/tiff", 2, None).await.unwrap_err();
    assert_eq!(failure.code(), code::IMAGE_DAMAGED, "{failure}");
}

#[tokio::test]
async fn a_cut_picture_of_any_kind_is_damaged() {
    let decoders = decoders();
    for (name, media_type) in [
        ("notice-16-bit.png", "image/png"),
        ("notice-cmyk.jpg", "image/jpeg"),
        ("notice.webp", "image/webp"),
        ("notice.gif", "image/gif"),
        ("notice.bmp", "image/bmp"),
        ("notice-lzw.tif", "image/tiff"),
        ("notice-jpeg.tif", "image/tiff"),
        ("notice.heic", "image/heic"),
    ] {
        let whole = bytes(name);
        for share in [0.3, 0.6, 0.95] {
            let cut = file(whole[..(whole.len() as f64 * share) as usize].to_vec());
            let failure = match decoders.open(&cut, "a", None).await {
                Ok(_) => decoders.render_page(&cut, media_type, 1, None).await.map(|_| ()).expect_err(name),
                Err(failure) => failure,
            };
            assert_eq!(failure.code(), code::IMAGE_DAMAGED, "{name} cut at {share}: {failure}");
        }
    }
}

#[tokio::test]
async fn every_orientation_shows_the_same_picture() {
    let decoders = decoders();
    let [upright] = &rendered(&decoders, "orientation-1.jpg", "image/jpeg").await[..] else { panic!() };
    let expected = picture(upright).into_grey();
    let jpegs = (2..=8).map(|value| (format!("orientation-{value}.jpg"), "image/jpeg"));
    let others = [("png", "image/png"), ("webp", "image/webp")];
    let others =
        others.into_iter().flat_map(|(end, kind)| [5, 6].map(|value| (format!("orientation-{value}.{end}"), kind)));
    for (name, media_type) in jpegs.chain(others) {
        let [raster] = &rendered(&decoders, &name, media_type).await[..] else { panic!("{name}") };
        let found = picture(raster).into_grey();
        assert_eq!((found.width, found.height), (expected.width, expected.height), "{name}");
        // JPEG's squares lie elsewhere in each: not the same bytes, but far from any other orientation.
        let differences = found.pixels.iter().zip(&expected.pixels).map(|(a, b)| f64::from(a.abs_diff(*b)));
        let mean = differences.sum::<f64>() / found.pixels.len() as f64;
        assert!(mean < 4.0, "{name} differs by {mean:.1}");
    }
}

#[tokio::test]
async fn a_picture_too_large_to_keep_is_read_smaller_in_little_memory() {
    // Decoded as a whole, its 144 million pixels would not fit.
    let little = sandbox::Config { memory_mb: 192, children: Some(1), ..sandbox::Config::default() };
    let decoders = decoders_with(Config { max_pixels: 1_000_000, ..Config::default() }, little);
    let [raster] = &rendered(&decoders, "poster.png", "image/png").await[..] else { panic!() };
    assert_eq!((raster.width_px, raster.height_px), (1000, 1000));
    assert!((raster.dpi - 100.0 / 12.0).abs() < 0.01 && (raster.page_width - 8_640.0).abs() < 1.0, "{raster:?}");
    let picture = picture(raster);
    let at = |x: usize, y: usize| picture.pixels[y * 1000 + x];
    assert_eq!([at(0, 0), at(499, 499), at(500, 499), at(499, 500), at(999, 999)], [0, 0, 255, 255, 255]);
}

#[tokio::test]
async fn what_is_beyond_the_limit_is_refused_before_it_is_decoded() {
    // Decoded, either would not fit.
    let little = sandbox::Config { memory_mb: 256, children: Some(1), ..sandbox::Config::default() };
    let decoders = decoders_with(Config::default(), little);
    let pdf = file(bytes("huge-picture.pdf"));
    let opened = decoders.open(&pdf, "a.pdf", None).await.unwrap().value;
    decoders.read_page(&pdf, &opened.media_type, 1, None).await.unwrap();
    let failure = decoders.render_page(&pdf, &opened.media_type, 1, None).await.unwrap_err();
    assert_eq!(failure.code(), code::LIMIT_PIXELS);
    assert!(failure.to_string().contains("35000 × 35000"), "{failure}");
    let bomb = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bad/bomb.png");
    let failure = decoders.open(&file(std::fs::read(bomb).unwrap()), "a.png", None).await.unwrap_err();
    assert_eq!(failure.code(), code::LIMIT_PIXELS);
    assert!(failure.to_string().contains("decode.max_source_pixels"), "{failure}");
}

async fn stood(decoders: &Decoders, upright: &Upright, name: &str) -> Oriented {
    let raster = rendered(decoders, name, "image/png").await.swap_remove(0);
    let lying = Arc::new(picture(&raster));
    upright.orient(raster, lying, Lane::default(), name.into()).await.unwrap()
}

fn upright() -> Upright {
    let config = inference::Config { library: Some(home().join("lib/libonnxruntime.so")), ..Default::default() };
    Upright::new(OnDemand::new(move || Orientation::load(&home().join("models"), &config)))
}

#[tokio::test]
async fn a_page_stands_upright_however_it_lay() {
    let (decoders, upright) = (decoders(), upright());
    let straight = stood(&decoders, &upright, "notice-turned-0.png").await;
    assert_eq!((straight.raster.rotation, straight.skew), (0, 0.0));
    for turned in [90, 180, 270] {
        let oriented = stood(&decoders, &upright, &format!("notice-turned-{turned}.png")).await;
        assert_eq!(oriented.raster.rotation, 360 - turned, "confidence {}", oriented.confidence);
        assert_eq!(oriented.picture, straight.picture);
        assert_eq!((oriented.raster.page_width, oriented.raster.page_height), (612.0, 792.0));
    }
}

#[tokio::test]
async fn a_page_askew_is_laid_level_and_read() {
    let (decoders, upright) = (decoders(), upright());
    let oriented = stood(&decoders, &upright, "notice-skewed.png").await;
    assert!((oriented.skew - 5.0).abs() <= 0.15, "{}", oriented.skew);
    assert!(oriented.picture.skew().abs() <= 0.1, "{}", oriented.picture.skew());
    assert_eq!(picture(&oriented.raster), *oriented.picture, "the picture that is kept is the one that is read");
    assert_reads(&decoders, &oriented.raster, &truth("notice-skewed.png")[0], "notice-skewed.png").await;
}
