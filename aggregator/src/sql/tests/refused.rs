//! What is refused, where, and what the error says.

use basalt_common::scan::AccessPath;

use super::check;

#[test]
fn syntax_errors_say_where() {
    check(&[
        ("", "1:1 Syntax: there is no query in the text"),
        (" -- nothing\n ;", "2:3 Syntax: there is no query in the text"),
        ("select * frm t", "1:10 Syntax: expected the end of the query, found frm [did you mean FROM?]"),
        ("selec 1", "1:1 Syntax: expected a query, found selec [did you mean SELECT?]"),
        ("42", "1:1 Syntax: expected a query, found 42"),
        ("from t", "1:1 Syntax: expected a query, found from"),
        ("select * from t where", "1:22 Syntax: expected an expression, found the end of the text"),
        ("select *\nfrom t\nwhere  \n\n", "3:6 Syntax: expected an expression, found the end of the text"),
        ("select a\r\nfrom t\r\nwhere )", "3:7 Syntax: expected an expression, found )"),
        ("select 'äöü', 'λ' frm, from", "1:28 Syntax: expected identifier, found the end of the text"),
        ("select 'ä😀' )", "1:13 Syntax: expected the end of the query, found )"),
        ("select (1", "1:10 Syntax: expected ), found the end of the text"),
        ("select 'abc", "1:8 Syntax: unterminated string literal"),
        ("select 1,\n  \"abc", "2:3 Syntax: expected close delimiter '\"' before EOF"),
        ("select 1 /* abc", "1:16 Syntax: unexpected EOF while in a multi-line comment"),
        ("select a b c", "1:12 Syntax: expected the end of the query, found c"),
        ("select a from t wher a = 1", "1:22 Syntax: expected the end of the query, found a"),
        (
            "select a from t limit 1 ofset 2",
            "1:25 Syntax: expected the end of the query, found ofset [did you mean OFFSET?]",
        ),
        ("explain select * from", "1:22 Syntax: expected identifier, found the end of the text"),
        ("explain", "1:8 Syntax: expected a query, found the end of the text"),
        ("explain t", "1:9 Syntax: expected a query, found t"),
        ("explain explain select 1", "1:9 Syntax: expected a query, found explain"),
        ("explain format yaml select 1", "1:16 Syntax: expected TEXT, JSON, TREE or GRAPHVIZ, found yaml"),
        ("describe", "1:9 Syntax: expected identifier, found the end of the text"),
        ("show timezone", "1:6 Syntax: expected TABLES or COLUMNS, found timezone"),
        ("show", "1:5 Syntax: expected TABLES or COLUMNS, found the end of the text"),
        ("select a:b from t", "1:9 Syntax: expected the end of the query, found :b"),
        ("select a from t settings x = 1", "1:17 Syntax: expected the end of the query, found settings"),
        ("select a from t format json", "1:17 Syntax: expected the end of the query, found format"),
        ("select * ilike 'a%' from t", "1:10 Syntax: expected the end of the query, found ilike"),
        ("select cast(1 as int", "1:21 Syntax: expected ), found the end of the text"),
        ("select ]", "1:8 Syntax: expected an expression, found ]"),
    ]);
}

#[test]
fn hints_say_the_path_or_are_refused() {
    let path = |sql: &str| super::super::parse_with_hint(sql).map(|(_, path)| path).unwrap();
    assert_eq!(path("select * from t hint(access_path=row_scan) where a = 1"), Some(AccessPath::RowScan));
    assert_eq!(path("select * from t as x HINT ( Access_Path = Index_Filter )"), Some(AccessPath::IndexFilter));
    assert_eq!(path("select hint from t where (hint) = 1"), None);
    let known = "[HINT(access_path=index_filter | column_scan | row_scan)]";
    check(&[
        ("select * from t hint(x=1)", &format!("1:17 Syntax: there is no such hint {known}")),
        ("select * from t hint(access_path=x)", &format!("1:17 Syntax: there is no such hint {known}")),
        ("select * from t hint(", &format!("1:17 Syntax: there is no such hint {known}")),
        (
            "select * from t hint(access_path=row_scan), u hint(access_path=column_scan)",
            "1:47 Unsupported: hints of one query differ [a hint holds for the whole query: write it once]",
        ),
    ]);
}

#[test]
fn texts_are_no_names() {
    let expected = "Syntax: a text stands where the name of a collection is needed [quote names with \"…\"]";
    for (sql, place) in [
        ("select * from 'x.csv'", "1:15"),
        ("select 1 from a join w.'b' on true", "1:24"),
        ("describe 'x'", "1:10"),
        ("show columns from 'x'", "1:19"),
    ] {
        check(&[(sql, &format!("{place} {expected}"))]);
    }
}

#[test]
fn mistakes_in_subqueries_of_from_are_where_they_are() {
    check(&[
        ("select * from (select a, b from t whre c) s", "1:40 Syntax: expected ), found c"),
        ("select * from (select * frm t) s", "1:25 Syntax: expected ), found frm [did you mean FROM?]"),
        ("select * from a join (select * from (select a b c from t) s) u", "1:49 Syntax: expected ), found c"),
        ("select * from (select * from t where) s", "1:37 Syntax: expected an expression, found )"),
        ("select * from (select * from t where", "1:37 Syntax: expected an expression, found the end of the text"),
        ("select * from ((select 1) union (select 2 + )) s", "1:45 Syntax: expected an expression, found )"),
        ("select * from (a join b onn true)", "1:29 Syntax: expected ), found true"),
        ("select * from ((select 1) x join b onn true)", "1:40 Syntax: expected ), found true"),
        (
            "select * from (select 1) s wher a in (select 2)",
            "1:28 Syntax: expected the end of the query, found wher [did you mean WHERE?]",
        ),
    ]);
}

#[test]
fn a_long_token_is_not_repeated_whole() {
    let error = super::parse(&format!("select 1 limit 1 '{}'", "x".repeat(100_000))).unwrap_err();
    assert_eq!((error.line, error.column), (Some(1), Some(18)));
    assert_eq!(error.message.chars().count(), 301);
    assert!(error.message.ends_with("xx…"), "{}", error.message);
}

#[test]
fn only_queries_run() {
    const DOCUMENTS: &str = "/v1/workspaces/{w}/collections/{c}/documents";
    let insert = format!("1:1 NotAQuery: INSERT is not a query [send documents to POST {DOCUMENTS}]");
    let update = format!("1:1 NotAQuery: UPDATE is not a query [send changes to PATCH {DOCUMENTS}]");
    let delete = format!("1:1 NotAQuery: DELETE is not a query [send ids to DELETE {DOCUMENTS}]");
    let explained = format!("1:17 NotAQuery: INSERT is not a query [send documents to POST {DOCUMENTS}]");
    let defined = format!("1:12 NotAQuery: DELETE is not a query [send ids to DELETE {DOCUMENTS}]");
    let copy = format!("2:1 NotAQuery: COPY is not a query [send documents to POST {DOCUMENTS}]");
    check(&[
        ("insert into t values (1)", insert.as_str()),
        ("update t set a = 1", &update),
        ("delete from t", &delete),
        ("-- x\ncopy t to 'x.parquet'", &copy),
        ("explain analyze insert into t values (1)", &explained),
        ("with a as (delete from t) select * from a", &defined),
        ("create table t (a int)", "1:1 NotAQuery: CREATE TABLE is not a query [only queries can be run here]"),
        ("CREATE OR REPLACE", "1:1 NotAQuery: CREATE OR is not a query [only queries can be run here]"),
        ("drop collection t", "1:1 NotAQuery: DROP COLLECTION is not a query [only queries can be run here]"),
        ("drop", "1:1 NotAQuery: DROP is not a query [only queries can be run here]"),
        ("set a = 1", "1:1 NotAQuery: SET is not a query [only queries can be run here]"),
        ("attach 'x' as y", "1:1 NotAQuery: ATTACH is not a query [only queries can be run here]"),
        ("prepare p as select 1", "1:1 NotAQuery: PREPARE is not a query [only queries can be run here]"),
        ("execute p", "1:1 NotAQuery: EXECUTE is not a query [only queries can be run here]"),
        ("begin", "1:1 NotAQuery: BEGIN is not a query [only queries can be run here]"),
        ("start transaction", "1:1 NotAQuery: START TRANSACTION is not a query [only queries can be run here]"),
        ("commit", "1:1 NotAQuery: COMMIT is not a query [only queries can be run here]"),
        (
            "select 1; drop table t",
            "1:11 NotAQuery: only one statement can be run at a time [send each statement in a request of its own]",
        ),
        (
            "select * into u from t",
            "1:15 NotAQuery: SELECT INTO is not a query [only queries can be run here; leave out INTO]",
        ),
        (
            "select * from (select 1 into u) s",
            "1:30 NotAQuery: SELECT INTO is not a query [only queries can be run here; leave out INTO]",
        ),
    ]);
}

#[test]
fn clauses_that_would_be_ignored() {
    check(&[
        ("select * from t for update", "1:17 Unsupported: FOR UPDATE is not supported [leave it out]"),
        ("select * from (select * from t for share) s", "1:32 Unsupported: FOR SHARE is not supported [leave it out]"),
        ("select * from t for json auto", "1:17 Unsupported: FOR XML, JSON or BROWSE is not supported [leave it out]"),
        ("select * from w.t tablesample (10)", "1:15 Unsupported: TABLESAMPLE is not supported [leave it out]"),
        ("select * from (select 1) s tablesample (1)", "1:28 Unsupported: TABLESAMPLE is not supported [leave it out]"),
        ("select * from t with (nolock)", "1:15 Unsupported: WITH (…) is not supported [leave it out]"),
        ("select * from t partition (p)", "1:15 Unsupported: PARTITION is not supported [leave it out]"),
        ("select * from f(1) with ordinality", "1:15 Unsupported: WITH ORDINALITY is not supported [leave it out]"),
        ("select * from t distribute by a", "1:17 Unsupported: DISTRIBUTE BY is not supported [leave it out]"),
    ]);
}
