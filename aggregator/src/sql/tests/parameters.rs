//! Values in the place of parameters.

use std::collections::BTreeMap;

use super::super::limits::PARAMETER_VALUES_MAX;
use super::super::{Parameter, Parameters, fill, parse};
use super::shown;

fn named(values: &[(&str, Parameter)]) -> Parameters {
    Parameters::Named(values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn text(text: &str) -> Parameter {
    Parameter::String(text.to_owned())
}

fn filled(sql: &str, parameters: &Parameters) -> String {
    let mut statement = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    match fill(&mut statement, parameters) {
        Ok(()) => statement.to_string(),
        Err(error) => shown(&error),
    }
}

#[track_caller]
fn check(parameters: &Parameters, cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        assert_eq!(filled(sql, parameters), *expected, "{sql}");
    }
}

#[test]
fn every_place() {
    use Parameter::Int;
    check(
        &named(&[("a", Int(1)), ("from", Int(2))]),
        &[
            ("select :a, :from", "SELECT 1, 2"),
            ("select $a, $from", "SELECT 1, 2"),
            ("select * from t where x = :a and y > :from", "SELECT * FROM t WHERE x = 1 AND y > 2"),
            ("select * from t where x in (:a, :from)", "SELECT * FROM t WHERE x IN (1, 2)"),
            ("select * from t where (x, y) = (:a,:from)", "SELECT * FROM t WHERE (x, y) = (1, 2)"),
            ("select :a::int, (:from)::text", "SELECT 1::INT, (2)::TEXT"),
            (
                "select x[:a], x[:a]['y'], x[1:from] from t where :a=:from",
                "SELECT x[1], x[1]['y'], x[1:from] FROM t WHERE 1 = 2",
            ),
            ("select case when :a then :from else :a end", "SELECT CASE WHEN 1 THEN 2 ELSE 1 END"),
            ("select case :a when :from then 1 end", "SELECT CASE 1 WHEN 2 THEN 1 END"),
            ("select * from t limit :a offset :from", "SELECT * FROM t LIMIT 1 OFFSET 2"),
            ("select * from t limit:a offset:from", "SELECT * FROM t LIMIT 1 OFFSET 2"),
            ("select * from t limit :a, :from", "SELECT * FROM t LIMIT 1, 2"),
            (
                "select * from t where x like :a or x between :a and :from",
                "SELECT * FROM t WHERE x LIKE 1 OR x BETWEEN 1 AND 2",
            ),
            ("select {'k': :a, 'l':from, 'm': {'n': :from}}", "SELECT {'k': 1, 'l': from, 'm': {'n': 2}}"),
            ("select [:a,:from], array[:a, -:from]", "SELECT [1, 2], ARRAY[1, -2]"),
            (
                "select f(:a, x => :from), sum(x) filter (where y = :a)",
                "SELECT f(1, x => 2), sum(x) FILTER (WHERE y = 1)",
            ),
            ("select * from (select :a) s join t on t.x = :from", "SELECT * FROM (SELECT 1) s JOIN t ON t.x = 2"),
            ("values (:a), (:from)", "VALUES (1), (2)"),
            ("explain select :a, :from", "EXPLAIN SELECT 1, 2"),
            ("with c as (select :a) select :from from c", "WITH c AS (SELECT 1) SELECT 2 FROM c"),
            ("select ':a', \":a\", :a -- :b\n, :from", "SELECT ':a', \":a\", 1, 2"),
            ("select :a + :a, :from", "SELECT 1 + 1, 2"),
            ("select * from t |> where x = :a |> limit :from", "SELECT * FROM t |> WHERE x = 1 |> LIMIT 2"),
            ("select * from f(:a, :from)", "SELECT * FROM f(1, 2)"),
        ],
    );
    check(&named(&[("a b", Int(1))]), &[("select :\"a b\"", "SELECT 1")]);
    check(&named(&[("ä_1", Int(1))]), &[("select :ä_1", "SELECT 1")]);
    check(&named(&[("1", Int(7))]), &[("select $1, :1", "SELECT 7, 7")]);
    check(&Parameters::None, &[("select 1", "SELECT 1")]);
    check(&named(&[]), &[("select 1", "SELECT 1")]);
    check(&Parameters::Positional(vec![]), &[("select x[:] from t", "SELECT x[:] FROM t")]);
}

#[test]
fn positions() {
    use Parameter::Int;
    check(
        &Parameters::Positional(vec![Int(10), Int(20)]),
        &[
            ("select $1, $2, $1", "SELECT 10, 20, 10"),
            ("select $2 from t where x = $1", "SELECT 20 FROM t WHERE x = 10"),
            ("select ?, ?", "SELECT 10, 20"),
            ("select ?2, ?1", "SELECT 20, 10"),
            // In the order of the text, whatever the order in the tree.
            ("select * from t offset ? limit ?", "SELECT * FROM t LIMIT 20 OFFSET 10"),
            ("select * from t limit ?, ?", "SELECT * FROM t LIMIT 10, 20"),
            (
                "select sum(x) over (order by ?) from t where y = ?",
                "SELECT sum(x) OVER (ORDER BY 10) FROM t WHERE y = 20",
            ),
            ("select\n?,\n?", "SELECT 10, 20"),
        ],
    );
}

#[test]
fn every_value() {
    let cases = [
        (Parameter::Null, "NULL"),
        (Parameter::Bool(true), "true"),
        (Parameter::Bool(false), "false"),
        (Parameter::Int(0), "0"),
        (Parameter::Int(-5), "(-5)"),
        (Parameter::Int(i64::MAX), "9223372036854775807"),
        (Parameter::Int(i64::MIN), "(-9223372036854775808)"),
        (Parameter::Number("1.5".to_owned()), "1.5"),
        (Parameter::Number("-1.5e-3".to_owned()), "(-1.5e-3)"),
        (Parameter::Number("1E+400".to_owned()), "1E+400"),
        (Parameter::Number("123456789012345678901234567890".to_owned()), "123456789012345678901234567890"),
        (text(""), "''"),
        (text("it's \\ \"x\" :a $1 ?\n--"), "'it''s \\ \"x\" :a $1 ?\n--'"),
        (Parameter::Array(vec![]), "ARRAY[]"),
        (
            Parameter::Array(vec![Parameter::Int(-1), Parameter::Null, text("a"), Parameter::Array(vec![text("b")])]),
            "ARRAY[(-1), NULL, 'a', ARRAY['b']]",
        ),
    ];
    for (value, expected) in cases {
        let expected = format!("SELECT 1 - {expected}");
        assert_eq!(filled("select 1 - :v", &named(&[("v", value.clone())])), expected, "{value:?}");
    }
    for number in ["", "-", "1.", ".5", "1e", "0x10", "NaN", "1 + 1", "--1", "1e5.5", "١"] {
        assert_eq!(
            filled("select :v", &named(&[("v", Parameter::Number(number.to_owned()))])),
            "1:8 Parameter: the value of parameter :v holds a number that is not one",
            "{number}"
        );
    }
}

#[test]
fn places_that_take_a_value_only() {
    let day = named(&[("d", text("2024-01-01"))]);
    check(
        &day,
        &[("select date :d", "SELECT DATE '2024-01-01'"), ("select interval :d", "SELECT INTERVAL '2024-01-01'")],
    );
    check(&named(&[("e", text("!"))]), &[("select a like 'x' escape :e", "SELECT a LIKE 'x' ESCAPE '!'")]);
    check(
        &named(&[("d", Parameter::Int(-1))]),
        &[("select date :d", "1:13 Parameter: parameter :d must be text, a truth value or a number from 0 here")],
    );
}

#[test]
fn values_missing() {
    use Parameter::Int;
    let from = named(&[("from", Int(1)), ("until", Int(2))]);
    check(
        &from,
        &[
            ("select :frm, :until", "1:8 Parameter: no value for parameter :frm; did you mean :from?"),
            ("select :until,\n  $frm", "2:3 Parameter: no value for parameter $frm; did you mean $from?"),
            ("select :FROM, :until", "1:8 Parameter: no value for parameter :FROM; did you mean :from?"),
            ("select :from, :until, 'ä', :other", "1:28 Parameter: no value for parameter :other"),
            (
                "select $1",
                "1:8 Parameter: parameter $1 is numbered, but the values are given by name [give the values in order, as an array]",
            ),
            (
                "select ?",
                "1:8 Parameter: parameter ? is numbered, but the values are given by name [give the values in order, as an array]",
            ),
        ],
    );
    check(
        &Parameters::None,
        &[
            ("select 1, :a", "1:11 Parameter: no value for parameter :a"),
            ("select $1", "1:8 Parameter: no value for parameter $1"),
            ("select ?", "1:8 Parameter: no value for parameter ?"),
        ],
    );
    check(
        &Parameters::Positional(vec![Int(1)]),
        &[
            ("select $1, $2", "1:12 Parameter: no value for parameter $2: 1 value is given"),
            ("select ?, ?", "1:11 Parameter: no value for parameter ?: 1 value is given"),
            (
                "select $99999999999999999999999",
                "1:8 Parameter: no value for parameter $99999999999999999999999: 1 value is given",
            ),
            ("select $0", "1:8 Parameter: there is no parameter $0: they count from 1"),
            (
                "select :a",
                "1:8 Parameter: parameter :a has a name, but the values are given in order [give the values by name, as an object]",
            ),
            (
                "select ?, $1",
                "1:11 Parameter: the query has both `?` and numbered parameters [write $1, $2, … for all of them]",
            ),
        ],
    );
}

#[test]
fn values_unused() {
    use Parameter::Int;
    check(
        &named(&[("from", Int(1)), ("unti", Int(2))]),
        &[
            ("select :from", "Parameter: the query has no parameter :unti, but a value is given for it"),
            ("select 1", "Parameter: the query has no parameter :from, but a value is given for it"),
        ],
    );
    check(
        &named(&[("from", Int(1)), ("until", Int(2)), ("unti", Int(2))]),
        &[(
            "select :from, :until",
            "Parameter: the query has no parameter :unti, but a value is given for it; did you mean :until?",
        )],
    );
    check(
        &Parameters::Positional(vec![Int(1), Int(2), Int(3)]),
        &[
            ("select $1, $3", "Parameter: the query has no parameter $2, but 3 values are given"),
            ("select ?, ?", "Parameter: the query has no parameter $3, but 3 values are given"),
            ("select 1", "Parameter: the query has no parameter $1, but 3 values are given"),
        ],
    );
}

#[test]
fn parameters_are_values_and_not_names() {
    super::check(&[
        ("select t.$1 from t", "1:10 Syntax: parameter $1 stands where a name is needed; parameters are values"),
        ("select t.:a from t", "1:10 Syntax: parameter :a stands where a name is needed; parameters are values"),
        (
            "select @a",
            "1:8 Syntax: `@` stands for nothing here \
             [quote a name that holds it, \"@name\"; parameters are written :name, $name, $1 or ?]",
        ),
        ("select $ from t", "1:8 Syntax: a parameter needs a name or a number after `$`"),
        ("select * from :t", "1:15 Syntax: expected identifier, found :t"),
        ("select 1 as :a", "1:13 Syntax: expected an identifier after AS, found :a"),
    ]);
}

#[test]
fn values_are_bounded() {
    let list = |count: usize| named(&[("v", Parameter::Array(vec![Parameter::Int(1); count]))]);
    assert!(filled("select :v", &list(1_000)).starts_with("SELECT ARRAY[1, 1, "));
    assert_eq!(
        filled("select :v", &list(PARAMETER_VALUES_MAX)),
        "1:8 TooLarge: the parameters up to :v have more than 100000 values"
    );
    assert_eq!(
        filled("select :v, :v", &list(PARAMETER_VALUES_MAX / 2)),
        "1:12 TooLarge: the parameters up to :v have more than 100000 values"
    );
    let nested = |levels: usize| {
        let value = (0..levels).fold(Parameter::Null, |value, _| Parameter::Array(vec![value]));
        Parameters::Named(BTreeMap::from([("v".to_owned(), value)]))
    };
    assert!(filled("select :v", &nested(50)).starts_with("SELECT ARRAY[ARRAY["));
    assert_eq!(
        filled("select :v", &nested(51)),
        "1:8 TooComplex: the value of parameter :v has more than 50 levels of arrays"
    );
}
