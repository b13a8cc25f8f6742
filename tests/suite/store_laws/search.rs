//! The laws of a search: what filters leave out, what words find, and how both ways of finding come together.

use std::{collections::BTreeMap, sync::Arc};

use deckle::{
    contract::document::Chunk,
    store::{DocumentKey, Hit, PublishedVersion, Query, SearchFilter, Store},
};

use crate::support::values::*;

type Any = Arc<dyn Store>;

/// Publishes a document of one chunk for each text, the first nearest to the question's vector.
async fn publish_texts(store: &Any, key: &DocumentKey, current: &PublishedVersion, texts: &[&str]) {
    let run = run_of(key, current.run);
    let count = texts.len() as u32;
    let chunks: Vec<_> = texts
        .iter()
        .zip(0..)
        .map(|(text, no)| Chunk { text: (*text).into(), ..chunk(current.run, current.version, no) })
        .collect();
    let vectors: Vec<_> = (0..count).map(|no| (no, vector(no as f32))).collect();
    store.put_chunks(&run, current.version, &chunks).await.unwrap();
    store.put_vectors(&run, current.version, &space(), &vectors).await.unwrap();
    store.trim_chunks(&run, current.version, count).await.unwrap();
    store.set_current(key, &PublishedVersion { chunk_count: count, ..current.clone() }).await.unwrap();
}

/// Documents of the same tenant.
fn named(key: &DocumentKey, document_id: &str) -> DocumentKey {
    DocumentKey { document_id: document_id.into(), ..key.clone() }
}

/// The question by meaning, by words and by both.
fn each_way(key: &DocumentKey, words: &str, k: usize) -> [Query; 3] {
    let vector = question(key, k);
    let both = Query { keywords: Some(words.into()), ..vector.clone() };
    [vector, asking_for(key, words, k), both]
}

/// Searches until the documents found are as wanted, in whatever order; an index may be late.
async fn found_documents(store: &Any, query: &Query, wanted: &[&str]) -> Vec<Hit> {
    let hits = eventually(|| async {
        let hits = store.search(query).await.unwrap();
        let mut got: Vec<_> = hits.iter().map(|hit| hit.key.document_id.clone()).collect();
        got.sort();
        if got == wanted { Ok(hits) } else { Err(got) }
    });
    hits.await.unwrap_or_else(|got| panic!("{query:?} found {got:?} instead of {wanted:?}"))
}

/// Searches until the texts found are as wanted, best first.
async fn found_texts(store: &Any, query: &Query, wanted: &[&str]) -> Vec<Hit> {
    let hits = eventually(|| async {
        let hits = store.search(query).await.unwrap();
        let got: Vec<_> = hits.iter().map(|hit| hit.chunk.text.clone()).collect();
        if got == wanted { Ok(hits) } else { Err(got) }
    });
    hits.await.unwrap_or_else(|got| panic!("{query:?} found {got:?} instead of {wanted:?}"))
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub async fn each_filter_leaves_out_by_itself(store: Any) {
    let tenant = new_document();
    let of = |language: &str, media_type: &str, published_at, pairs: &[(&str, &str)], access: &[&str]| {
        let mut current = current(5, 5, 0, 1);
        current.language = language.into();
        current.source.media_type = media_type.into();
        current.published_at = published_at;
        current.attributes = attributes(pairs);
        current.access = names(access);
        current
    };
    for (name, current) in [
        ("a", of("de", "application/pdf", 100, &[("team", "blue"), ("year", "24")], &[])),
        ("b", of("zh-Hans", "image/png", 200, &[("team", "blue"), ("it's", "\"odd\"")], &["user:kim", "group:x"])),
        ("c", of("en", "image/jpeg", 300, &[("team", "red")], &["group:x"])),
    ] {
        publish_texts(&store, &named(&tenant, name), &current, &["the words of all three"]).await;
    }
    let mine = SearchFilter::of_tenant(&tenant.tenant);
    for (filter, wanted) in [
        (mine.clone(), &["a", "b", "c"][..]),
        (SearchFilter { languages: names(&["DE", "zh"]), ..mine.clone() }, &["a", "b"]),
        (SearchFilter { languages: names(&["fr"]), ..mine.clone() }, &[]),
        (SearchFilter { media_types: names(&["image/*"]), ..mine.clone() }, &["b", "c"]),
        (SearchFilter { media_types: names(&["application/pdf"]), ..mine.clone() }, &["a"]),
        (SearchFilter { since: Some(200), ..mine.clone() }, &["b", "c"]),
        (SearchFilter { until: Some(200), ..mine.clone() }, &["a"]),
        (SearchFilter { since: Some(101), until: Some(300), ..mine.clone() }, &["b"]),
        (SearchFilter { attributes: attributes(&[("team", "blue")]), ..mine.clone() }, &["a", "b"]),
        (SearchFilter { attributes: attributes(&[("team", "blue"), ("year", "24")]), ..mine.clone() }, &["a"]),
        (SearchFilter { attributes: attributes(&[("it's", "\"odd\"")]), ..mine.clone() }, &["b"]),
        (SearchFilter { attributes: attributes(&[("team", "")]), ..mine.clone() }, &[]),
        (SearchFilter { access: Some(names(&["user:kim"])), ..mine.clone() }, &["a", "b"]),
        (SearchFilter { access: Some(names(&["user:lee", "group:x"])), ..mine.clone() }, &["a", "b", "c"]),
        (SearchFilter { access: Some(names(&["group", "user:kim\0", ""])), ..mine.clone() }, &["a"]),
        (SearchFilter { access: Some(Vec::new()), ..mine.clone() }, &["a"]),
        (SearchFilter { languages: names(&["en"]), access: Some(names(&["user:kim"])), ..mine.clone() }, &[]),
    ] {
        for query in each_way(&tenant, "words", 9) {
            found_documents(&store, &Query { filter: filter.clone(), ..query }, wanted).await;
        }
    }
    // What the filter leaves out takes no place from what it admits.
    for query in each_way(&tenant, "words", 1) {
        let filter = SearchFilter { languages: names(&["en"]), ..mine.clone() };
        found_documents(&store, &Query { filter, ..query }, &["c"]).await;
    }
}

pub async fn nobody_finds_what_the_current_run_does_not_let_them_see(store: Any) {
    let key = new_document();
    let texts = ["a secret"];
    let run = |run: i64, version: i64, access: &[&str]| PublishedVersion {
        access: names(access),
        ..current(run, version, 0, 1)
    };
    let see = |principal: &'static str, wanted: &'static [&'static str]| {
        let (store, key) = (&store, &key);
        async move {
            for query in each_way(key, "secret", 9) {
                let filter = SearchFilter { access: Some(names(&[principal])), ..query.filter.clone() };
                found_documents(store, &Query { filter, ..query }, wanted).await;
            }
        }
    };
    publish_texts(&store, &key, &run(5, 5, &["group:a"]), &texts).await;
    see("group:a", &["document"]).await;
    see("group:b", &[]).await;
    // A newer run that is on its way changes nothing, whatever its upload says.
    store.put_intake(&key, &intake(6, 6), 6).await.unwrap();
    see("group:b", &[]).await;
    publish_texts(&store, &key, &run(6, 6, &["group:b"]), &texts).await;
    see("group:a", &[]).await;
    see("group:b", &["document"]).await;
    // The same run again, in a newer version.
    publish_texts(&store, &key, &run(6, 7, &["group:c"]), &texts).await;
    see("group:b", &[]).await;
    see("group:c", &["document"]).await;
    // An older one that comes late shows nothing to anybody.
    publish_texts(&store, &key, &run(5, 90, &[]), &texts).await;
    see("group:a", &[]).await;
    see("group:c", &["document"]).await;
    // From now on everybody may.
    publish_texts(&store, &key, &run(8, 8, &[]), &texts).await;
    see("group:a", &["document"]).await;
}

pub async fn words_are_found_as_they_are_typed(store: Any) {
    let key = new_document();
    let texts = [
        "Invoice INV-2024-001 of Herr Müller, Straße 7",
        "Invoice INV-2024-002, customer 4711",
        "The number 2024 and the number 001, and INV on its own",
        "東京タワーの高さ",
    ];
    publish_texts(&store, &key, &current(5, 5, 0, 4), &texts).await;
    for (typed, wanted) in [
        ("INV-2024-001", &texts[..1]),
        ("inv-2024-002", &texts[1..2]),
        ("4711", &texts[1..2]),
        ("471", &[]),
        ("MULLER", &texts[..1]),
        ("strasse", &texts[..1]),
        ("東京", &texts[3..]),
        ("京東", &[]),
        // A heading is found with the text below it.
        ("customer heading", &[texts[1], texts[0], texts[2], texts[3]]),
    ] {
        let query = asking_for(&key, typed, 9);
        let hits = eventually(|| async {
            let hits = store.search(&query).await.unwrap();
            let mut got: Vec<_> = hits.iter().map(|hit| hit.chunk.text.clone()).collect();
            let mut wanted = wanted.to_vec();
            // The best first, the others in whatever order.
            let is_best_first = got.first().map(String::as_str) == wanted.first().copied();
            got.sort();
            wanted.sort();
            if is_best_first && got == wanted { Ok(hits) } else { Err(got) }
        });
        let hits = hits.await.unwrap_or_else(|got| panic!("{typed} found {got:?} instead of {wanted:?}"));
        assert!(hits.iter().all(|hit| hit.similarity.is_none() && hit.keyword_score == Some(hit.score)), "{hits:?}");
        assert!(hits.is_sorted_by(|a, b| a.score >= b.score), "{hits:?}");
    }
    // The rarer word counts more, and hits end at k.
    found_texts(&store, &asking_for(&key, "invoice 4711", 1), &texts[1..2]).await;
    let elsewhere = new_document();
    found_texts(&store, &asking_for(&elsewhere, "4711", 9), &[]).await;
}

pub async fn what_stands_in_quotes_must_be_there(store: Any) {
    let key = new_document();
    let texts = ["net payment in 30 days", "30 days net", "payment after days"];
    publish_texts(&store, &key, &current(5, 5, 0, 3), &texts).await;
    found_texts(&store, &asking_for(&key, "\"30 days\"", 9), &[texts[1], texts[0]]).await;
    found_texts(&store, &asking_for(&key, "payment \"30 DAYS\"", 9), &[texts[0], texts[1]]).await;
    found_texts(&store, &asking_for(&key, "\"30 days\" \"payment in\"", 9), &[texts[0]]).await;
    found_texts(&store, &asking_for(&key, "„days net“", 9), &[texts[1]]).await;
    found_texts(&store, &asking_for(&key, "days \"net 30\"", 9), &[]).await;
}

pub async fn no_question_is_an_error(store: Any) {
    let key = new_document();
    publish_texts(&store, &key, &current(5, 5, 0, 1), &["all words"]).await;
    let long = "words ".repeat(20_000);
    let (operators, statement) =
        ("words AND OR NOT NEAR(words) words* ^words -words {words}:", "'; DROP TABLE chunks; --");
    for (typed, is_found) in [
        ("", false),
        ("\"\"", false),
        ("\" ' ( ) * : ^ - + { } \\ \0 %", false),
        ("\u{301}\u{200d}🙂", false),
        (statement, false),
        ("words \0 all", true),
        (operators, true),
        ("\"words", true),
        ("NOT words", true),
        (&long, true),
    ] {
        for query in each_way(&key, typed, 9) {
            let by_meaning = query.vector.is_some();
            found_documents(&store, &query, if is_found || by_meaning { &["document"] } else { &[] }).await;
        }
    }
    let nothing = Query { vector: None, ..question(&key, 9) };
    assert_eq!(store.search(&nothing).await.unwrap(), []);
    assert_eq!(store.search(&asking_for(&key, "words", 0)).await.unwrap(), []);
}

pub async fn words_of_other_runs_are_not_found(store: Any) {
    let key = new_document();
    publish_texts(&store, &key, &current(5, 5, 0, 2), &["the first words", "and more of them"]).await;
    found_texts(&store, &asking_for(&key, "first", 9), &["the first words"]).await;
    // Not yet current.
    store.put_chunks(&run_of(&key, 6), 6, &chunks(6, 6, 0..1)).await.unwrap();
    found_texts(&store, &asking_for(&key, "\"run 6\"", 9), &[]).await;
    publish_texts(&store, &key, &current(6, 6, 0, 1), &["the second words"]).await;
    found_texts(&store, &asking_for(&key, "words", 9), &["the second words"]).await;
    found_texts(&store, &asking_for(&key, "first more", 9), &[]).await;
    // The same run in a newer version, with other words.
    publish_texts(&store, &key, &current(6, 7, 0, 1), &["the third words"]).await;
    found_texts(&store, &asking_for(&key, "second", 9), &[]).await;
    found_texts(&store, &asking_for(&key, "third", 9), &["the third words"]).await;
    // An older version, late.
    store.put_chunks(&run_of(&key, 6), 5, &chunks(6, 5, 0..1)).await.unwrap();
    found_texts(&store, &asking_for(&key, "words version", 9), &["the third words"]).await;
}

pub async fn words_that_are_gone_are_not_found(store: Any) {
    let key = new_document();
    let other = named(&key, "other");
    let texts = ["one word", "two words", "three words"];
    for key in [&key, &other] {
        publish_texts(&store, key, &current(5, 5, 0, 3), &texts).await;
    }
    let of = |document_id: &str, texts: &[&str]| -> Vec<(String, String)> {
        texts.iter().map(|text| (document_id.to_owned(), (*text).to_owned())).collect()
    };
    let remain = |wanted: Vec<(String, String)>| {
        let (store, query) = (&store, asking_for(&key, "word words", 9));
        async move {
            let outcome = eventually(|| async {
                let hits = store.search(&query).await.unwrap();
                let mut got: Vec<_> = hits.into_iter().map(|hit| (hit.key.document_id, hit.chunk.text)).collect();
                got.sort();
                if got == wanted { Ok(()) } else { Err(got) }
            });
            outcome.await.unwrap_or_else(|got| panic!("{got:?} instead of {wanted:?}"));
        }
    };
    let in_order = ["one word", "three words", "two words"];
    remain([of("document", &in_order), of("other", &in_order)].concat()).await;
    store.trim_chunks(&run_of(&key, 5), 6, 1).await.unwrap();
    remain([of("document", &["one word"]), of("other", &in_order)].concat()).await;
    store.erase(&key, 5).await.unwrap();
    remain(of("other", &in_order)).await;
    // Late chunks of what was erased, and of what is removed.
    store.put_chunks(&run_of(&key, 5), 9, &chunks(5, 9, 0..3)).await.unwrap();
    store.set_current(&key, &current(5, 9, 0, 3)).await.unwrap();
    store.remove_runs_below(&other, 6).await.unwrap();
    remain(Vec::new()).await;
    publish_texts(&store, &other, &current(6, 6, 0, 1), &["a word again"]).await;
    remain(of("other", &["a word again"])).await;
}

pub async fn what_means_it_and_says_it_comes_first(store: Any) {
    let key = new_document();
    // In the order of their nearness to the question; the last ones make each word of the others a rare one.
    let texts = ["nothing of it", "neither this", "tax return of 2023", "tax office"];
    let fill: Vec<_> = (4..80).map(|number| format!("passage {number}")).collect();
    let all: Vec<_> = texts.into_iter().chain(fill.iter().map(String::as_str)).collect();
    publish_texts(&store, &key, &current(5, 5, 0, all.len() as u32), &all).await;
    let both = Query { keywords: Some("tax return".into()), ..question(&key, 4) };
    // By rank (meaning, words): 3rd and 1st, 4th and 2nd, 1st, 2nd.
    let hits = found_texts(&store, &both, &[texts[2], texts[3], texts[0], texts[1]]).await;
    let scores = [1.0 / 63.0 + 1.0 / 61.0, 1.0 / 64.0 + 1.0 / 62.0, 1.0 / 61.0, 1.0 / 62.0];
    for (hit, score) in hits.iter().zip(scores) {
        assert!((hit.score - score).abs() < 1e-6, "{hit:?}");
        let cosine = (hit.chunk.chunk_no as f32).to_radians().cos();
        assert!(hit.similarity.is_some_and(|similarity| (similarity - cosine).abs() < 1e-5), "{hit:?}");
        assert_eq!(hit.keyword_score.is_some(), hit.chunk.text.contains("tax"));
    }
    // Each way alone has its own scores.
    let by_meaning = found_texts(&store, &question(&key, 4), &texts).await;
    assert!(by_meaning.iter().all(|hit| hit.similarity == Some(hit.score) && hit.keyword_score.is_none()));
    found_texts(&store, &asking_for(&key, "tax return", 4), &[texts[2], texts[3]]).await;
    // A model without vectors leaves the words alone.
    let mut unknown = both;
    unknown.vector.as_mut().unwrap().model = "no such model".into();
    found_texts(&store, &unknown, &[texts[2], texts[3]]).await;
}

pub async fn beside_a_vector_common_words_say_nothing(store: Any) {
    let key = new_document();
    // Every chunk of every test stands below the same heading.
    let texts: Vec<_> = (0..40).map(|number| format!("passage {number}")).chain(["heading heading".into()]).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    publish_texts(&store, &key, &current(5, 5, 0, 41), &texts).await;
    let both = |words: &str| Query { keywords: Some(words.into()), ..question(&key, 2) };
    let hits = found_texts(&store, &both("what is the heading"), &texts[..2]).await;
    assert!(hits.iter().all(|hit| hit.keyword_score.is_none()), "{hits:?}");
    // Alone, or in quotes, they are looked for.
    found_texts(&store, &asking_for(&key, "heading", 1), &texts[40..]).await;
    let hits = found_texts(&store, &both("\"heading heading\""), &[texts[40], texts[0]]).await;
    assert_eq!(
        hits[0].similarity.map(|cosine| (cosine * 1e4).round()),
        Some((40_f32.to_radians().cos() * 1e4).round())
    );
}
