//! What queries mean, by tables and against a naive reading of texts.

use proptest::prelude::*;

use super::{Analyzer, Kind, Matcher, Scorer, Statistics, TextQuery};

fn matches(kind: Kind, query: &str, analyzer: &str, text: &str) -> bool {
    let analyzer = analyzer.parse().expect("there is one");
    let mut matcher = Matcher::new(TextQuery::new(kind, query, analyzer).expect("it is short"));
    matcher.add(text);
    matcher.matches()
}

#[test]
fn queries_mean_what_is_written() {
    let text = "The quick brown fox, and the lazy dog's e-mail: Running!";
    for (query, expected) in [
        ("quick", true),
        ("QUICK fox", true),
        ("quick cat", false),
        ("cat OR dog", true),
        ("cat OR lazy quick", true),
        ("cat or dog", false),
        ("quick -fox", false),
        ("quick -cat", true),
        ("-cat", true),
        ("\"quick brown\"", true),
        ("\"brown quick\"", false),
        ("-\"brown quick\" fox", true),
        ("\"lazy dog", true),
        ("qui*", true),
        ("bro* fo*", true),
        ("\"quick bro\"*", true),
        ("e-mail", true),
        ("mail-e", false),
        ("run", false),
        ("", false),
        ("!!!", false),
        ("- *", false),
        ("OR", false),
        ("quick OR", true),
    ] {
        assert_eq!(matches(Kind::Search, query, "standard", text), expected, "{query}");
    }
    assert!(matches(Kind::Search, "run", "english", text), "words are reduced to stems");
    assert!(matches(Kind::Phrase, "quick brown FOX", "standard", text));
    assert!(!matches(Kind::Phrase, "quick fox", "standard", text));
    assert!(matches(Kind::Prefix, "brown f", "standard", text) && !matches(Kind::Prefix, "brown d", "standard", text));
}

#[test]
fn texts_of_an_array_are_apart() {
    let mut matcher = Matcher::new(TextQuery::new(Kind::Phrase, "a b", Analyzer::default()).expect("it is short"));
    matcher.add("x a");
    matcher.add("b y");
    assert!(!matcher.matches(), "a phrase does not go from one to the next");
    matcher.clear();
    matcher.add("b");
    matcher.add("a b");
    assert!(matcher.matches());
}

#[test]
fn queries_are_bounded() {
    let words: String = (0..1_001).map(|word| format!("w{word} ")).collect();
    let error = TextQuery::new(Kind::Search, &words, Analyzer::default()).expect_err("it has too many words");
    assert!(error.to_string().contains("more than 1000 words"), "{error}");
    let phrase = format!("\"{}\"", "a ".repeat(1_001));
    let error = TextQuery::new(Kind::Search, &phrase, Analyzer::default()).expect_err("its phrase is too long");
    assert!(error.to_string().contains("1001 words"), "{error}");
    let error = TextQuery::new(Kind::Search, &"x".repeat(70_000), Analyzer::default()).expect_err("it is too long");
    assert!(error.to_string().contains("70000 bytes"), "{error}");
}

/// What is asked again is evaluated once: else a query of 64 KB takes seconds for each thousand texts.
#[test]
fn what_is_asked_again_is_looked_for_once() {
    let read = |text: &str| TextQuery::new(Kind::Search, text, Analyzer::default()).expect("it is short");
    for (again, once) in [("a* b -c ", "a* b -c"), ("\"a b\" ", "\"a b\""), ("a OR b -\"c d\" OR ", "a OR b -\"c d\"")]
    {
        assert_eq!(read(&again.repeat(3_000)), read(once), "{again}");
    }
}

#[test]
fn rare_words_and_short_texts_count_more() {
    let query = TextQuery::new(Kind::Search, "rare OR common", Analyzer::default()).expect("it is short");
    let scorer = Scorer::new(&query, &Statistics { texts: 1_000, words: 10_000, found: vec![3, 700] });
    let score = |text: &str| {
        let mut matcher = Matcher::new(query.clone());
        matcher.add(text);
        scorer.score(matcher.places(), matcher.length())
    };
    assert!(score("rare thing") > score("common thing"));
    assert!(score("rare") > score("rare among many other words of a text"));
    assert!(score("rare rare thing") > score("rare new thing"));
    assert_eq!(score("nothing"), 0.0);
}

proptest! {
    /// Words without signs: all of them occur, in any order.
    #[test]
    fn plain_words_must_all_occur(text in "[abc ]{0,20}", words in prop::collection::vec("[abc]{1,2}", 1..4)) {
        let expected = words.iter().all(|word| text.split_whitespace().any(|there| there == word));
        prop_assert_eq!(matches(Kind::Search, &words.join(" "), "standard", &text), expected);
        let phrase = text.split_whitespace().collect::<Vec<_>>().windows(words.len()).any(|there| there == words.as_slice());
        prop_assert_eq!(matches(Kind::Phrase, &words.join(" "), "standard", &text), phrase);
    }

    /// Whatever is asked, there is an answer.
    #[test]
    fn any_query_is_read(query in "\\PC{0,60}", text in "\\PC{0,60}") {
        matches(Kind::Search, &query, "english", &text);
        matches(Kind::Prefix, &query, "standard", &text);
    }
}
