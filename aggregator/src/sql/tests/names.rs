//! Relations, near names and places.

use super::super::{locate, nearest, parse, references};

/// Names and places of the relations of a text.
fn relations(sql: &str) -> String {
    let found = references(&parse(sql).unwrap());
    let shown = found.iter().map(|name| format!("{}@{}:{}", name.parts.join("."), name.line, name.column));
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn relations_read() {
    let cases = [
        ("select 1", ""),
        ("select * from T", "t@1:15"),
        ("select * from \"T\"", "T@1:15"),
        ("select * from W.\"C d\".e", "w.C d.e@1:15"),
        ("select * from a, b x join c on true\nleft join d using (k)", "a@1:15 b@1:18 c@1:27 d@2:11"),
        ("select * from (select * from a) s", "a@1:30"),
        ("select * from (a join b on true)", "a@1:16 b@1:23"),
        ("select (select max(x) from a) from b where y in (select 1 from c)", "a@1:28 b@1:36 c@1:64"),
        ("select * from a union select * from b except (select * from c)", "a@1:15 b@1:37 c@1:61"),
        ("select * from unnest(x) as u(y), generate_series(1, 2)", ""),
        ("select a.x from b as a", "b@1:17"),
        ("select * from t where exists (select 1 from u where u.k = t.k)", "t@1:15 u@1:45"),
        ("explain analyze select * from t", "t@1:31"),
        ("describe w.c", "w.c@1:10"),
        ("show columns from w.c", "w.c@1:19"),
        ("select a from t |> join u on true", "t@1:15 u@1:25"),
        ("select * from t order by (select 1 from u) limit 1", "t@1:15 u@1:41"),
    ];
    for (sql, expected) in cases {
        assert_eq!(relations(sql), expected, "{sql}");
    }
}

#[test]
fn names_of_with_are_no_relations_where_they_are_visible() {
    let cases = [
        ("with a as (select * from b) select * from a", "b@1:26"),
        ("with A as (select 1) select * from a, \"A\"", "A@1:39"),
        ("with \"A\" as (select 1) select * from a, \"A\"", "a@1:38"),
        // With a workspace it is the collection.
        ("with a as (select 1) select * from a, w.a", "w.a@1:39"),
        // A definition does not see itself, unless it is recursive, nor those after it.
        ("with a as (select * from a) select * from a", "a@1:26"),
        ("with recursive a as (select 1 union all select * from a) select * from a", ""),
        ("with a as (select * from b), b as (select * from a) select * from b", "b@1:26"),
        // Inner queries see outer names, also in a definition.
        ("with a as (select 1) select * from (select * from a) s where x in (select y from a)", ""),
        ("with a as (select 1), b as (with c as (select * from a) select * from c) select * from b, c", "c@1:91"),
        // An inner name ends with its query.
        ("select * from (with a as (select 1) select * from a) s, a", "a@1:57"),
        ("with a as (select * from (with a as (select * from t) select * from a) s) select * from a", "t@1:52"),
    ];
    for (sql, expected) in cases {
        assert_eq!(relations(sql), expected, "{sql}");
    }
}

#[test]
fn nearest_names() {
    let known = ["orders", "Order_Items", "customers", "customer", "a", "ab", "Straße"];
    let cases = [
        ("orders", Some("orders")),
        ("ORDERS", Some("orders")),
        ("order_items", Some("Order_Items")),
        ("oders", Some("orders")),
        ("ordesr", Some("orders")),
        ("custmers", Some("customers")),
        // As near to both; the shorter is first in the order of bytes.
        ("customerz", Some("customer")),
        ("b", Some("a")),
        ("strasse", Some("Straße")),
        ("payments", None),
        ("", Some("a")),
    ];
    for (name, expected) in cases {
        assert_eq!(nearest(name, known.into_iter()), expected, "{name}");
        assert_eq!(nearest(name, known.into_iter().rev()), expected, "{name}, from the other end");
    }
    // Equal but for case is nearer than any other.
    assert_eq!(nearest("AB", ["ac", "aB", "b"].into_iter()), Some("aB"));
    assert_eq!(nearest("x", std::iter::empty()), None);
}

#[test]
fn places_of_names() {
    type Case = (&'static str, &'static [&'static str], Option<(u64, u64)>);
    let cases: [Case; 14] = [
        ("select foo from t", &["foo"], Some((1, 8))),
        ("select 'foo', -- foo\n foo from t", &["foo"], Some((2, 2))),
        ("select Foo from t", &["foo"], Some((1, 8))),
        ("select \"Foo\", foo from t", &["foo"], Some((1, 15))),
        ("select \"Foo\" from t", &["Foo"], Some((1, 8))),
        ("select foo from t", &["Foo"], None),
        ("select t . foo from t", &["t", "foo"], Some((1, 8))),
        ("select foo.a, foo from t", &["foo"], Some((1, 15))),
        ("select t.foo from t", &["foo"], Some((1, 10))),
        ("select a.b.c, b.c from t", &["b", "c"], Some((1, 15))),
        ("select 'ä', foo(1)", &["foo"], Some((1, 13))),
        ("select a", &[], None),
        ("select a, b", &["a", "b"], None),
        ("select a, 'unfinished", &["a"], Some((1, 8))),
    ];
    for (sql, parts, expected) in cases {
        let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        assert_eq!(locate(sql, &parts), expected, "{sql} {parts:?}");
    }
}
