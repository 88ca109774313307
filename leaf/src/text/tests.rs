//! The index of words against looking at each text, and an index whose bytes lie.

use basalt_common::text::{Analyzer, Kind, Matcher, Scorer, Statistics, TextQuery};
use bytes::Bytes;
use datafusion::arrow::array::{Array, StringArray};
use proptest::prelude::*;

use super::{TextIndex, encode, is_prose};

fn open(analyzer: Analyzer, texts: &StringArray) -> TextIndex {
    let mut bytes = Vec::new();
    encode(analyzer, texts, &mut bytes).expect("texts are indexed");
    TextIndex::open(bytes.into(), texts.len() as u64).expect("it was just written")
}

fn check(analyzer: Analyzer, texts: &StringArray, kind: Kind, text: &str) {
    let query = TextQuery::new(kind, text, analyzer).expect("it is short");
    let (index, mut matcher) = (open(analyzer, texts), Matcher::new(query.clone()));
    let statistics = Statistics { texts: 50, words: 300, found: vec![3; query.units.len()] };
    let scorer = Scorer::new(&query, &statistics);
    let rows: Vec<u32> = (0..texts.len() as u32).collect();
    let scores = index.scores(&query, &scorer, &rows).expect("it is whole");
    let (mut expected, mut known) = (Vec::new(), Statistics::default());
    known.found.resize(query.units.len(), 0);
    for (row, score) in rows.iter().zip(scores) {
        matcher.clear();
        if texts.is_valid(*row as usize) {
            matcher.add(texts.value(*row as usize));
            known.texts += 1;
            if matcher.matches() {
                expected.push(*row);
            }
        }
        let direct = scorer.score(matcher.places(), matcher.length());
        assert!((score - direct).abs() < 1e-4, "{kind:?} {text:?}: row {row} has {score}, not {direct}");
    }
    if index.answers(&query) {
        let found: Vec<u32> = index.rows(&query).expect("it is whole").iter().collect();
        assert_eq!(found, expected, "{kind:?} {text:?}");
        let most = index.rows_at_most(&query).expect("it is whole");
        assert!(most >= found.len() as u64, "{kind:?} {text:?}: {most} at most");
    }
    assert_eq!(index.statistics(&query, known.texts).expect("it is whole").texts, known.texts);
}

/// Few words, so that they meet.
fn texts() -> impl Strategy<Value = Vec<Option<String>>> {
    let word =
        prop::sample::select(vec!["a", "ab", "abc", "b", "Runs", "running", "fox", "fox's", "ünder", "中文", "x-1"]);
    let text = prop::collection::vec(word, 0..12).prop_map(|words| words.join(" "));
    prop::collection::vec(prop::option::weighted(0.9, text), 0..300)
}

fn query() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a",
        "AB",
        "b",
        "run",
        "running",
        "fox",
        "x-1",
        "a*",
        "-ab",
        "-fox",
        "OR",
        "\"a b\"",
        "\"b a b\"",
        "-\"a a\"",
        "\"fox a*",
        "\"run f\"*",
        "-",
        "\"",
        "nothing",
        "中文",
    ]);
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_what_the_texts_say(texts in texts(), queries in prop::collection::vec(query(), 8), english in any::<bool>()) {
        let analyzer = if english { "english".parse().expect("there is one") } else { Analyzer::default() };
        let texts = StringArray::from(texts);
        for query in queries {
            for kind in Kind::ALL {
                check(analyzer, &texts, kind, &query);
            }
        }
    }
}

#[test]
fn many_rows_are_found_in_turn() {
    let text = |row: usize| match row % 3 {
        0 => Some(format!("even words of row {row}")),
        1 => Some("words even more words even".to_string()),
        _ => None,
    };
    let texts: StringArray = (0..20_000).map(text).collect();
    for query in ["even words", "\"even words\"", "row 3*", "\"words even\" -more", "more OR \"row 6\""] {
        check(Analyzer::default(), &texts, Kind::Search, query);
    }
}

/// Every text with all the pieces somewhere is among those found; a word that is too long may have any piece.
#[test]
fn pieces_of_words_are_found() {
    let long = format!("long {}needle{} end", "x".repeat(200), "y".repeat(200));
    let texts = ["a Needlework", "no such", "NEEDLE or pin", "pin", &long, "pins and needles"];
    let texts: StringArray = texts.into_iter().map(Some).chain([None]).collect();
    let index = open(Analyzer::default(), &texts);
    let found = |pieces: &[&str]| {
        let pieces: Vec<String> = pieces.iter().map(ToString::to_string).collect();
        index.rows_with_pieces(&pieces).expect("it is whole").iter().collect::<Vec<u32>>()
    };
    assert_eq!(found(&["needle"]), [0, 2, 4, 5]);
    assert_eq!(found(&["needle", "pin"]), [2, 4, 5]);
    assert_eq!(found(&["such"]), [1, 4]);
}

#[test]
fn prose_has_words() {
    let prose: StringArray = (0..100).map(|row| Some(format!("the {row} quick brown foxes"))).collect();
    let names: StringArray = (0..100).map(|row| Some(format!("name {row}"))).collect();
    assert!(is_prose(&prose) && !is_prose(&names) && !is_prose(&StringArray::new_null(9)));
}

/// Checksums keep damage from here; what comes all the same is no panic where its directory lies.
#[test]
fn a_directory_that_lies_is_refused() {
    let texts: StringArray = (0..50).map(|row| Some(format!("some words of row {row}"))).collect();
    let mut bytes = Vec::new();
    encode(Analyzer::default(), &texts, &mut bytes).expect("texts are indexed");
    assert!(TextIndex::open(bytes.clone().into(), 49).is_err(), "it has another number of rows");
    for length in (0..bytes.len()).step_by(7) {
        let cut = Bytes::copy_from_slice(&bytes[..length]);
        assert!(TextIndex::open(cut, 50).is_err(), "{length} bytes of it were taken");
    }
    let directory = bytes.len() - 4 - u32::from_le_bytes(*bytes.last_chunk().expect("it has a length")) as usize;
    for at in directory..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x55;
        drop(TextIndex::open(flipped.into(), 50));
    }
}
