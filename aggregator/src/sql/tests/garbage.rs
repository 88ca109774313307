//! Whatever the text, there is an answer: no panic, no endless run, and a position inside the text.

use super::super::{Parameter, Parameters, fill, locate, parse, references};

/// Numbers that look random and are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as usize % limit
    }

    fn one<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const QUERIES: [&str; 12] = [
    "select a, b, c::int, d['e'][1], from w.t as x where a = :a and b in (:b, $c) order by 1 desc limit :n offset 5",
    "with recursive c as (select 1 as n union all select n + 1 from c where n < 10) select * except (n) from c",
    "select sum(a) over (partition by b order by c rows between 1 preceding and current row) s from t qualify s > 1",
    "explain analyze format json select case when a then 'x' else null end from t left join u using (k)",
    "select * from (values (1, 'a'), (2, 'b')) v(x, y), unnest([1, 2]) as n(i) where exists (select 1 from t)",
    "select {'a': 1, 'b': :b}, map {'k': -1.5e3}, x[1:2], interval '1 day', date '2024-01-01', e'\\n', x'ff'",
    "select count(*) filter (where a is not null), b from t group by rollup (b), c having count(*) > ?",
    "select a from t union select b from u except (select c from v) |> where a > 1 |> limit 3",
    "select trim(both ' ' from a), extract(day from b), substring(c from 1 for 2), position('a' in d), cast(e as text)",
    "select a from t tablesample (10) for update; insert into t values (1)",
    "show columns from w.c",
    "select \"quoted \"\"name\"\"\", `other`, 'it''s', $$dollar$$, -- comment\n /* more /* nested */ */ 1_000",
];

const SIGNS: [&str; 40] = [
    "(", ")", "[", "]", "{", "}", "<", ">", ",", ";", ".", ":", "::", ":=", "=", "?", "$", "$1", ":p", "@", "#", "'",
    "\"", "`", "\\", "/*", "*/", "--", "\n", "\r", "\t", "\0", "ä", "😀", "\u{a0}", "e'", "||", "|>", "->", "1e",
];

/// Asks everything of a text.
fn ask(sql: &str) {
    let lines = sql.matches('\n').count() as u64 + 1;
    let check = |line: Option<u64>, column: Option<u64>| {
        assert_eq!(line.is_some(), column.is_some(), "{sql:?}");
        let longest = sql.split('\n').map(|line| line.chars().count() as u64).max().unwrap_or_default();
        assert!(line.is_none_or(|line| (1..=lines).contains(&line)), "line {line:?} of {sql:?}");
        assert!(column.is_none_or(|column| (1..=longest + 1).contains(&column)), "column {column:?} of {sql:?}");
    };
    locate(sql, &["a".to_owned()]);
    let mut statement = match parse(sql) {
        Ok(statement) => statement,
        Err(error) => return check(error.line, error.column),
    };
    for name in references(&statement) {
        check(Some(name.line), Some(name.column));
    }
    let values = vec![Parameter::Array(vec![Parameter::Int(-1)]); 2];
    if let Err(error) = fill(&mut statement, &Parameters::Positional(values)) {
        check(error.line, error.column);
    }
    let _ = statement.to_string();
}

#[test]
fn bytes() {
    let mut numbers = Numbers(1);
    for _ in 0..2_000 {
        let length = numbers.below(60);
        let bytes: Vec<u8> = (0..length).map(|_| numbers.below(256) as u8).collect();
        let text = String::from_utf8_lossy(&bytes);
        ask(&text);
        ask(&format!("select {text}"));
    }
}

#[test]
fn signs_and_words() {
    let words: Vec<&str> = QUERIES.iter().flat_map(|query| query.split(' ')).collect();
    let mut numbers = Numbers(2);
    for _ in 0..4_000 {
        let mut text =
            numbers.one(&["select ", "select * from ", "with a as (", "", "explain ", "values ("]).to_owned();
        for _ in 0..numbers.below(30) {
            text.push_str(if numbers.below(3) == 0 { numbers.one(&SIGNS) } else { numbers.one(&words) });
            text.push_str(if numbers.below(4) == 0 { "" } else { " " });
        }
        ask(&text);
    }
}

#[test]
fn queries_with_mistakes() {
    let mut numbers = Numbers(3);
    for round in 0..6_000 {
        let mut text: Vec<char> = QUERIES[round % QUERIES.len()].chars().collect();
        for _ in 0..=numbers.below(4) {
            let from = numbers.below(text.len());
            let until = (from + numbers.below(12)).min(text.len());
            match numbers.below(4) {
                0 => drop(text.drain(from..until)),
                1 => text.splice(from..from, numbers.one(&SIGNS).chars()).for_each(drop),
                2 => {
                    let copied: Vec<char> = text[from..until].to_vec();
                    let place = numbers.below(text.len());
                    text.splice(place..place, copied).for_each(drop);
                }
                _ => text.truncate(until.max(1)),
            }
            if text.is_empty() {
                break;
            }
        }
        ask(&text.into_iter().collect::<String>());
    }
}
