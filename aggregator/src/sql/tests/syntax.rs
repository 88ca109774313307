//! What is read, and how.

use datafusion::sql::sqlparser::ast::{AnalyzeFormat, Statement};

use super::super::{parse, take_explain_format};
use super::check;

/// Texts that print as they are, but for the case of words.
#[track_caller]
fn same(texts: &[&str]) {
    check(&texts.iter().map(|text| (*text, *text)).collect::<Vec<_>>());
}

#[test]
fn one_statement_with_comments_and_semicolons() {
    check(&[
        ("select 1", "SELECT 1"),
        ("SELECT 1;", "SELECT 1"),
        (" ;; select 1 ; ; ", "SELECT 1"),
        ("-- one\nselect /* two /* three */ */ 1 -- four", "SELECT 1"),
        ("select /*+ hint */ /*!50110 2, */ 1; -- done;", "SELECT 1"),
        ("select ';'", "SELECT ';'"),
    ]);
}

#[test]
fn queries() {
    same(&[
        "VALUES (1, 'a'), (2, 'b')",
        "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT * FROM a) SELECT * FROM a",
        "SELECT * EXCEPT (a, b), t.* REPLACE (1 AS c) FROM t",
        "SELECT a::INT, a::DOUBLE PRECISION::TEXT, TRY_CAST(a AS INT) FROM t",
        "SELECT a['b'], a[1], a.b['c'][2].d, a[1:2], a[1:n] FROM t",
        "SELECT a, sum(b) OVER (PARTITION BY c) AS s FROM t QUALIFY s > 1",
        "SELECT \"a b\", `c` FROM \"T\" AS \"x\"",
        "SELECT item FROM t, UNNEST(t.items) AS i (item)",
        "SELECT * FROM (VALUES (1), (2)) AS t (a)",
        "SELECT * FROM a LEFT JOIN b ON a.k = b.k CROSS JOIN c, LATERAL (SELECT 1) AS d",
        "SELECT * FROM a ASOF JOIN b MATCH_CONDITION (a.ts >= b.ts) ON a.k = b.k",
        "SELECT count(*) FILTER (WHERE a > 1), first_value(a IGNORE NULLS) OVER w FROM t WINDOW w AS (ORDER BY b)",
        "SELECT a, count(*) FROM t GROUP BY ROLLUP (a) HAVING count(*) > 1 ORDER BY a DESC NULLS LAST LIMIT 10 OFFSET 5",
        "SELECT {'a': 1, 'b': {'c': 2}}, MAP {'k': 1}, [1, 2], ARRAY[1, 2]",
        "SELECT a FROM t |> WHERE a > 1 |> LIMIT 3",
        "SELECT INTERVAL '5 minutes', DATE '2024-01-01', EXTRACT(DAY FROM ts), 'a' || 'b', X'ff' FROM t",
        "SELECT a FROM t WHERE a IS DISTINCT FROM b AND c BETWEEN 1 AND 2 AND d LIKE 'x%' ESCAPE '!' AND e = ANY([1, 2])",
    ]);
    check(&[
        ("select a, b, from t", "SELECT a, b FROM t"),
        ("select a, b,", "SELECT a, b"),
        ("select 1_000", "SELECT 1_000"),
        ("select 1 from t limit 5, 10", "SELECT 1 FROM t LIMIT 5, 10"),
        (r"select 'a\', E'a\n'", "SELECT 'a\\', E'a\\n'"),
    ]);
}

#[test]
fn explain_describe_and_show() {
    same(&[
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPLAIN ANALYZE VERBOSE (SELECT 1)",
        "EXPLAIN FORMAT JSON WITH a AS (SELECT 1) SELECT * FROM a",
        "DESCRIBE w.c",
        "DESCRIBE SELECT 1",
        "SHOW TABLES",
        "SHOW COLUMNS FROM w.c",
    ]);
    check(&[
        ("desc table t", "DESCRIBE TABLE t"),
        ("describe table", "DESCRIBE table"),
        ("show full columns in t", "SHOW FULL COLUMNS IN t"),
    ]);
}

#[test]
fn a_format_is_taken_out_of_explain() {
    let mut statement = parse("explain format json select 1").unwrap();
    assert_eq!(take_explain_format(&mut statement), Some(AnalyzeFormat::JSON));
    assert_eq!(take_explain_format(&mut statement), None);
    assert_eq!(statement.to_string(), "EXPLAIN SELECT 1");
    assert!(matches!(statement, Statement::Explain { .. }));
    assert_eq!(take_explain_format(&mut parse("select 1").unwrap()), None);
}
