//! What is too large is refused, and nothing that is not needs more stack than a thread has.

use std::thread;

use super::super::limits::{DEPTH_MAX, NESTING_MAX, PARTS_MAX, SUBQUERIES_MAX, TEXT_BYTES_MAX, TOKENS_MAX};
use super::super::{Parameter, Parameters, SqlErrorKind, fill, parse, references};
use super::{read, shown};

/// The stack of a thread where nothing else is said.
const THREAD_STACK_BYTES: usize = 2 << 20;

/// Does everything with a text that this module does, on a thread like any other; an overflow would end the test run.
#[track_caller]
fn survives(sql: String) -> Option<SqlErrorKind> {
    let run = move || {
        let mut statement = match parse(&sql) {
            Ok(statement) => statement,
            Err(error) => return Some(error.kind),
        };
        references(&statement);
        let printed = statement.to_string();
        let filled = fill(&mut statement, &Parameters::Positional(vec![Parameter::Int(-1)]));
        assert_eq!(filled.is_ok(), printed.contains("$1"), "{filled:?}");
        None
    };
    thread::Builder::new().stack_size(THREAD_STACK_BYTES).spawn(run).unwrap().join().unwrap()
}

fn nested(open: &str, inside: &str, close: &str, count: usize) -> String {
    format!("{}{inside}{}", open.repeat(count), close.repeat(count))
}

const OPENED: [(&str, &str, &str); 13] = [
    ("(", "$1", ")"),
    ("f(", "$1", ")"),
    ("[", "$1", "]"),
    ("cast(", "$1", " as int)"),
    ("case when a then ", "$1", " end"),
    ("not ", "$1", ""),
    ("interval ", "'1'", ""),
    ("sum(a) over (order by ", "$1", ")"),
    ("{'a':", "$1", "}"),
    ("1 in (", "$1", ")"),
    ("extract(day from ", "$1", ")"),
    ("trim(", "$1", ")"),
    ("(select ", "$1", ")"),
];

#[test]
fn brackets() {
    for (open, inside, close) in OPENED {
        let kind = survives(format!("select {}", nested(open, inside, close, 10)));
        assert_eq!(kind, None, "10 times {open}");
        for count in [40, 45, NESTING_MAX, NESTING_MAX + 1, 1_000] {
            let kind = survives(format!("select {}", nested(open, inside, close, count)));
            assert!(matches!(kind, None | Some(SqlErrorKind::TooComplex | SqlErrorKind::Syntax)), "{open}: {kind:?}");
            survives(format!("select {}", open.repeat(count)));
        }
    }
    for open in ["select * from (", "select * from lateral (", "with a as (", "(", "select 1 union (", "values (("] {
        for count in [10, 24, 25, 50, 100, 10_000] {
            survives(nested(open, "select 1", ")", count));
            survives(open.repeat(count));
        }
    }
}

#[test]
fn types() {
    assert_eq!(survives(format!("select a::{}", nested("array<", "int", ">", 40))), None);
    for open in ["array<", "struct<", "struct<a ", "struct<a int, b ", "map<int, ", "struct(a ", "case struct<"] {
        for count in [40, NESTING_MAX, 1_000, 20_000] {
            survives(format!("select a::{}", nested(open, "int", ">", count)));
            survives(format!("select {}", open.repeat(count)));
        }
    }
    // What is no type is a comparison.
    assert_eq!(survives(format!("select * from t where a > 1{}", " and array < 2 and array > 1".repeat(40))), None);
}

#[test]
fn a_hundred_thousand_brackets_say_where_it_was_too_much() {
    assert_eq!(
        read(&format!("select {}", "(".repeat(90_000))),
        "1:58 TooComplex: the query is too complex: more than 50 brackets in one another \
         [use IN, an array or a parameter for long lists, and WITH for parts of a query]"
    );
}

#[test]
fn chains() {
    let chains = [
        ("1", " + 1"),
        ("a = 1", " and a = 1"),
        ("a", " || a"),
        ("a", " is null"),
        ("a", "::int"),
        ("a", "[1]"),
        ("a", " like b"),
        ("a", " at time zone 'utc'"),
        ("a", " is distinct from b"),
        ("a::timestamp with time zone", " + a::timestamp with time zone"),
        // Words that are clauses elsewhere, and do not end an expression here.
        ("limit", " + limit"),
        ("a", " + select"),
        ("a", " is distinct from union(b)"),
        ("a", " + case when a then b end"),
        ("a", " and a = case limit when 1 then 2 end"),
        ("1 from a", " union select 1 from a"),
        ("1", " union all select 1"),
        ("1 from t", " pivot(sum(a) for b in (1))"),
        ("a::int", "[]"),
    ];
    for (first, next) in chains {
        assert_eq!(survives(format!("select {first}{}", next.repeat(40))), None, "{next}");
        for count in [DEPTH_MAX / 2, DEPTH_MAX, 5_000] {
            let kind = survives(format!("select {first}{}", next.repeat(count)));
            assert!(matches!(kind, None | Some(SqlErrorKind::TooComplex)), "{count} times {next}: {kind:?}");
            assert!(count <= DEPTH_MAX || kind.is_some(), "{next}");
        }
    }
    let deepest = format!("select $1{}", " + 1".repeat(DEPTH_MAX));
    assert_eq!(survives(deepest.clone()), None);
    assert_eq!(survives(format!("{deepest} + 1")), Some(SqlErrorKind::TooComplex));
    let error = parse(&format!("select 1{}", "+1".repeat(50_000 - 10))).unwrap_err();
    assert_eq!(
        shown(&error),
        "1:1009 TooComplex: the query is too complex: more than 500 operators in one another \
         [use IN, an array or a parameter for long lists, and WITH for parts of a query]"
    );
}

#[test]
fn a_chain_in_brackets_adds_to_the_chain_around_it() {
    let inner = format!("({})", ["1"; 260].join("+"));
    assert_eq!(survives(format!("select {inner}{}", "+1".repeat(240))), None);
    assert_eq!(survives(format!("select {inner}{}", "+1".repeat(241))), Some(SqlErrorKind::TooComplex));
    // Chains side by side do not.
    assert_eq!(survives(format!("select {}", [inner.as_str(); 50].join(", "))), None);
    let both = format!("select {inner} from t where {inner} = 1 group by {inner} having {inner} > 1 order by {inner}");
    assert_eq!(survives(both), None);
}

#[test]
fn what_is_wide_is_allowed() {
    let many: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
    assert_eq!(survives(format!("select * from t where a in ({})", many.join(", "))), None);
    assert_eq!(survives(format!("values ({})", many.join("), ("))), None);
    let columns: Vec<String> = (0..5_000).map(|number| format!("a{number} + 1 as b{number}")).collect();
    assert_eq!(survives(format!("select {} from t", columns.join(", "))), None);
    let cases: String = (0..2_000).map(|number| format!(" when a = {number} then {number}")).collect();
    assert_eq!(survives(format!("select case{cases} end from t")), None);
}

#[test]
fn sizes() {
    let text = format!("select '{}'", "x".repeat(TEXT_BYTES_MAX));
    assert_eq!(read(&text), "TooLarge: the query has 1048585 bytes, more than 1048576 [send long lists as parameters]");
    assert_eq!(
        read(&format!("select {}1", "1,".repeat(TOKENS_MAX / 2))),
        "1:100007 TooLarge: the query has more than 100000 words and signs [send long lists as parameters]"
    );
}

#[test]
fn parts_of_a_query() {
    let with = |count: usize, next: &str| {
        let definitions: String = (1..=count)
            .map(|number| format!(", a{number} as ({})", next.replace('#', &format!("a{}", number - 1))))
            .collect();
        format!("with a0 as (select 1){definitions} select * from a{count}")
    };
    // Each reads the one before once: a chain. Twice: 2, 4, 8, …
    assert_eq!(survives(with(100, "select * from #")), None);
    assert_eq!(survives(with(5, "select * from # x join # y on true")), None);
    assert_eq!(survives(with(30, "select * from # x join # y on true")), Some(SqlErrorKind::TooComplex));
    assert_eq!(survives(with(200, "select * from # x, # y")), Some(SqlErrorKind::TooComplex));
    let join = |count: usize| format!("select * from t{}", " join u on true".repeat(count - 1));
    assert_eq!(survives(join(PARTS_MAX / 2)), None);
    assert_eq!(
        read(&join(PARTS_MAX / 2 + 1)),
        "TooComplex: the query is too complex: 251 parts, more than 250; a SELECT or UNION is one, a join two \
         [a WITH counts wherever its name is used; split the query]"
    );
}

#[test]
fn subqueries() {
    let scalar = |count: usize| format!("select {}", nested("(select ", "1", ")", count));
    assert_eq!(survives(scalar(SUBQUERIES_MAX)), None);
    assert_eq!(
        read(&scalar(SUBQUERIES_MAX + 1)),
        "1:105 TooComplex: the query is too complex: more than 12 subqueries in one another \
         [join with the subqueries instead]"
    );
    let side_by_side = vec!["(select 1)"; 100].join(", ");
    assert_eq!(survives(format!("select {side_by_side}")), None);
    let exists = nested("exists (select * from t where a in (select b from t where ", "true", "))", 7);
    assert_eq!(survives(format!("select * from t where {exists}")), Some(SqlErrorKind::TooComplex));
}

#[test]
fn texts_of_many_readings_end_soon() {
    for (open, close) in [("array[", "]"), ("cast(", " as int)"), ("ceil(", ")"), ("floor(", ")"), ("case ", " end")] {
        let sql = format!("select {}", nested(open, "1 1", close, 45));
        assert!(survives(sql).is_some(), "{open}");
    }
    assert_eq!(
        read(&format!("select {}", nested("array[", "1 1", "]", 20))),
        "1:128 TooComplex: the query cannot be read from here: it is no SQL, or too complex \
         [name parts of it with WITH, and use the names]"
    );
}

#[test]
fn sets_of_columns() {
    let group = |by: &str| format!("select count(*) from t group by {by}");
    for few in
        ["cube(a, b, c, d, e, f, g, h, i, j)", "rollup(a, b), cube(c, d)", "grouping sets ((a), (b), ())", "a, b"]
    {
        assert_eq!(survives(group(few)), None, "{few}");
    }
    assert_eq!(
        read(&group("cube(a, b, c, d, e, f, g, h, i, j), rollup(k)")),
        "1:24 TooComplex: the query is too complex: it groups by 2048 sets of columns, more than 1024 \
         [name the sets that you need with GROUPING SETS]"
    );
    let columns = vec!["a"; 100].join(", ");
    assert_eq!(survives(group(&format!("cube({columns})"))), Some(SqlErrorKind::TooComplex));
}
