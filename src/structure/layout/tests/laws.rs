use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

use super::*;

/// What no printer draws, and files say all the same.
fn odd_number() -> impl Strategy<Value = f32> {
    const NAMED: [f32; 6] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, -0.0];
    prop_oneof![2 => prop::sample::select(&NAMED[..]), 1 => -1e9f32..1e9, 1 => -700.0..0f32]
}

fn any_line() -> impl Strategy<Value = Line> {
    let edge = prop_oneof![300 => (0..60u8).prop_map(|x| f32::from(x) * 10.0), 2 => odd_number()];
    let text = prop_oneof![6 => "[a-zA-Z0-9.•–:-]{1,9}( {1,12}[a-z0-9.]{1,9}){0,6}", 1 => Just(String::new()), 1 => "\\PC{0,20}"];
    let odd = prop_oneof![60 => Just(None), 1 => (odd_number(), any::<prop::sample::Index>(), 0..5u8).prop_map(Some)];
    (edge.clone(), edge, 6.0..30f32, text, any::<bool>(), prop::option::of(0.0..1f32), odd).prop_map(
        |(left, top, size, text, bold, confidence, odd)| {
            let mut line = line(left, top, size, &text);
            if let Some((number, at, what)) = odd {
                let count = line.words.len().max(1);
                match (what, line.words.get_mut(at.index(count))) {
                    (0, Some(word)) => word.bbox.left = number,
                    (1, Some(word)) => word.bbox.bottom = number,
                    (2, _) => line.bbox.right = number,
                    (3, _) => line.bbox.top = number,
                    _ => line.font_size = Some(number),
                }
            }
            let size = line.font_size.unwrap_or(size);
            let method = if confidence.is_some() { Method::Ocr } else { Method::TextLayer };
            Line { bold, confidence, method, font_size: if bold { None } else { Some(size) }, ..line }
        },
    )
}

fn any_box() -> impl Strategy<Value = Bbox> {
    let usual = (0.0..600f32, 0.0..800f32, 0.0..400f32, 0.0..400f32).prop_map(|(left, top, width, height)| Bbox {
        left,
        top,
        right: left + width,
        bottom: top + height,
    });
    let odd = [odd_number(), odd_number(), odd_number(), odd_number()];
    let odd = odd.prop_map(|[left, top, right, bottom]| Bbox { left, top, right, bottom });
    prop_oneof![30 => usual, 1 => odd]
}

fn any_region() -> impl Strategy<Value = Region> {
    use RegionKind::*;
    const KINDS: [RegionKind; 10] =
        [Text, Title, Figure, FigureCaption, Table, TableCaption, Header, Footer, Reference, Equation];
    let bbox = prop_oneof![20 => any_box(), 1 => Just(Bbox { left: f32::NAN, ..Bbox::default() })];
    (prop::sample::select(&KINDS[..]), bbox, 0.0..1f32).prop_map(|(kind, bbox, score)| Region { kind, bbox, score })
}

/// Rules on the same raster as the lines, so that they meet and make cells; and some that are none.
fn any_rule() -> impl Strategy<Value = Bbox> {
    let edge = (0..60u8).prop_map(|x| f32::from(x) * 10.0);
    let thin = prop_oneof![20 => 0.0..3f32, 1 => Just(f32::INFINITY)];
    (edge.clone(), edge.clone(), edge, thin, any::<bool>()).prop_map(|(left, top, long, thin, level)| {
        let (width, height) = if level { (long, thin) } else { (thin, long) };
        Bbox { left, top, right: left + width, bottom: top + height }
    })
}

fn any_page() -> impl Strategy<Value = Page> {
    let boxes = |most| prop::collection::vec(any_box(), 0..most);
    let rules = prop::collection::vec(prop_oneof![4 => any_rule(), 1 => any_box()], 0..30);
    let parts = (prop::collection::vec(any_line(), 0..80), boxes(4), rules, boxes(30));
    let sides = prop_oneof![9 => Just([600.0, 800.0]), 1 => [odd_number(), odd_number()]];
    (parts, prop::collection::vec(any_region(), 0..12), 1..4u32, any::<bool>(), sides).prop_map(
        |((lines, images, rules, paths), regions, page_no, is_scan, [width, height])| {
            let method = Some(if is_scan { Method::Ocr } else { Method::TextLayer });
            let drawing = Drawing { rules, paths };
            Page { images, drawing, regions, page_no, method, width, height, ..page(lines) }
        },
    )
}

proptest! {
    #[test]
    fn no_line_is_lost_and_none_doubled(mut page in any_page()) {
        analyse(&mut page);
        let mut seen: Vec<u32> = page.blocks.iter().flat_map(|block| block.line_indexes.clone()).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..page.lines.len() as u32).collect::<Vec<_>>());
        for block in &page.blocks {
            prop_assert!(block.prov.iter().all(|place| place.page_no == Some(page.page_no) && place.bbox.is_some()));
            prop_assert!(!block.line_indexes.is_empty() || block.kind == BlockKind::Picture);
        }
    }

    #[test]
    fn no_letter_is_lost(mut page in any_page()) {
        analyse(&mut page);
        let count = |text: &str| text.nfc().filter(|c| c.is_ascii_alphanumeric()).count();
        let given: usize = page.lines.iter().map(|line| count(&line.text)).sum();
        let kept = |block: &Block| count(&block.text) + block.marker.as_deref().map_or(0, count);
        prop_assert_eq!(page.blocks.iter().map(kept).sum::<usize>(), given);
        let (_, blocks) = assemble_blocks(vec![&page]);
        prop_assert_eq!(blocks.iter().map(kept).sum::<usize>(), given);
    }

    #[test]
    fn the_order_of_lines_in_the_file_does_not_matter(mut page in any_page()) {
        // Between lines with equal boxes it has to.
        let finite = |bbox: &Bbox| (bbox.left + bbox.top + bbox.right + bbox.bottom).abs() < 1e6;
        let mut boxes: Vec<Bbox> = Vec::new();
        page.lines.retain(|line| {
            let keep = finite(&line.bbox) && !boxes.contains(&line.bbox);
            boxes.push(line.bbox);
            keep
        });
        let mut turned = page.clone();
        turned.lines.reverse();
        analyse(&mut page);
        analyse(&mut turned);
        prop_assert_eq!(outline(&page.blocks), outline(&turned.blocks));
    }
}
