//! Numbers, strings, bytes and times.

use super::*;
use datafusion::arrow::datatypes::*;

#[test]
fn numbers() {
    check(NullArray::new(2), "null", &["null", "null"]);
    check(BooleanArray::from(vec![Some(true), None, Some(false)]), "bool", &["true", "null", "false"]);
    check(Int8Array::from(vec![Some(-128), None, Some(0)]), "int", &["-128", "null", "0"]);
    check(Int16Array::from(vec![-32768, 32767]), "int", &["-32768", "32767"]);
    check(Int32Array::from(vec![i32::MIN, 9, 10, 99, 100]), "int", &["-2147483648", "9", "10", "99", "100"]);
    check(Int64Array::from(vec![i64::MIN, i64::MAX]), "int", &["-9223372036854775808", "9223372036854775807"]);
    check(UInt8Array::from(vec![0, 255]), "int", &["0", "255"]);
    check(UInt16Array::from(vec![65535]), "int", &["65535"]);
    check(UInt32Array::from(vec![u32::MAX]), "int", &["4294967295"]);
    check(UInt64Array::from(vec![u64::MAX, 1_000_000]), "int", &["18446744073709551615", "1000000"]);
    let floats = vec![0.0, -0.0, 1.0, -1.5, 0.1, 1e15, 1e16, 1e-5, 9007199254740991.0, 5e-324, f64::MAX];
    let texts =
        ["0.0", "-0.0", "1.0", "-1.5", "0.1", "1000000000000000.0", "1e16", "1e-5", "9007199254740991.0", "5e-324"];
    check(Float64Array::from(floats), "float", &[texts.as_slice(), &["1.7976931348623157e308"]].concat());
    check(
        Float32Array::from(vec![0.1, 16777216.0, f32::MIN_POSITIVE]),
        "float",
        &["0.1", "16777216.0", "1.1754944e-38"],
    );
    check(Float64Array::from(vec![f64::NAN, f64::INFINITY]), "float", &["null", "null"]);
    let halves = DataType::Float16;
    let halves = ArrayData::builder(halves).len(2).add_buffer(vec![0x3c00u16, 0xc100].into()).build().unwrap();
    check(Float16Array::from(halves), "float", &["1.0", "-2.5"]);
}

#[test]
fn decimals() {
    let small = Decimal32Array::from(vec![Some(12345), Some(-5), Some(100), None, Some(0)]);
    let small = small.with_precision_and_scale(9, 2).unwrap();
    check(small, "decimal", &["123.45", "-0.05", "1", "null", "0"]);
    let exact = Decimal64Array::from(vec![120, -1]).with_precision_and_scale(18, 0).unwrap();
    check(exact, "decimal", &["120", "-1"]);
    let negative_scale = Decimal128Array::from(vec![120, -7, 0]).with_precision_and_scale(38, -3).unwrap();
    check(negative_scale, "decimal", &["120000", "-7000", "0"]);
    let long = 10i128.pow(37);
    let long = Decimal128Array::from(vec![long, -long - 1, 1]).with_precision_and_scale(38, 37).unwrap();
    let least = format!("0.{}1", "0".repeat(36));
    check(long, "decimal", &["1", &format!("-1.{}1", "0".repeat(36)), &least]);
    let ten_to = |power: u32| i256::from_i128(10).wrapping_pow(power);
    let longest = ten_to(76).wrapping_sub(i256::ONE);
    let values =
        vec![i256::from_i128(u64::MAX.into()).wrapping_mul(ten_to(38)), longest, longest.wrapping_neg(), i256::MIN];
    let values = Decimal256Array::from(values).with_precision_and_scale(76, 38).unwrap();
    let least = "-578960446186580977117854925043439539266.34992332820282019728792003956564819968";
    let nines = "9".repeat(38);
    let expected = ["18446744073709551615", &format!("{nines}.{nines}"), &format!("-{nines}.{nines}")];
    check(values, "decimal", &[expected.as_slice(), &[least]].concat());
}

#[test]
fn big_integers() {
    let limit = 1i64 << 53;
    let integers = Int64Array::from(vec![limit, limit + 1, -limit, -limit - 1]);
    let unsigned = UInt64Array::from(vec![0, u64::MAX, 1, 2]);
    let decimals = Decimal128Array::from(vec![
        i128::from(limit) * 10,
        i128::from(limit + 1) * 10,
        i128::from(limit) * 100 + 5,
        -10i128.pow(20),
    ]);
    let decimals = decimals.with_precision_and_scale(38, 1).unwrap();
    let fields = [("i", DataType::Int64), ("u", DataType::UInt64), ("d", decimals.data_type().clone())];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, false));
    let batch = batch_of(fields.to_vec(), vec![Arc::new(integers), Arc::new(unsigned), Arc::new(decimals)]);
    let style = JsonStyle { shape: Shape::Arrays, big_integers_as_strings: true };
    let expected = r#"[9007199254740992,0,9007199254740992]
["9007199254740993","18446744073709551615","9007199254740993"]
[-9007199254740992,1,90071992547409920.5]
["-9007199254740993",2,"-10000000000000000000"]
"#;
    assert_eq!(json_of(&batch, style, Separator::Newline), expected);
}

#[test]
fn strings_and_bytes() {
    let strings =
        ["", "plain", "a\"b\\c", "\u{0}\u{1f}\u{7f}", "\n\r\t", "müde 🌙", "sixteen bytes.. \"and more, long after\""];
    let expected = [
        r#""""#,
        r#""plain""#,
        r#""a\"b\\c""#,
        "\"\\u0000\\u001f\u{7f}\"",
        r#""\n\r\t""#,
        "\"müde 🌙\"",
        r#""sixteen bytes.. \"and more, long after\"""#,
    ];
    check(StringArray::from(strings.to_vec()), "string", &expected);
    check(LargeStringArray::from(strings.to_vec()), "string", &expected);
    check(StringViewArray::from(strings.to_vec()), "string", &expected);
    let dictionary: DictionaryArray<Int8Type> = [Some("b"), None, Some("a"), Some("b")].into_iter().collect();
    check(dictionary, "string", &[r#""b""#, "null", r#""a""#, r#""b""#]);
    let nulls: DictionaryArray<UInt32Type> = [None::<&str>, None].into_iter().collect();
    check(nulls, "string", &["null", "null"]);
    let runs: RunArray<Int16Type> = [Some("x"), Some("x"), None, Some("y")].into_iter().collect();
    check(runs, "string", &[r#""x""#, r#""x""#, "null", r#""y""#]);
    let bytes: Vec<Option<&[u8]>> = vec![Some(b"\x00\xff\xfe"), None, Some(b"a"), Some(b"")];
    let expected = [r#""AP/+""#, "null", r#""YQ==""#, r#""""#];
    check(BinaryArray::from(bytes.clone()), "bytes", &expected);
    check(LargeBinaryArray::from(bytes.clone()), "bytes", &expected);
    check(BinaryViewArray::from_iter(bytes.clone()), "bytes", &expected);
    let fixed = FixedSizeBinaryArray::try_from_iter([b"ab", b"cd"].into_iter()).unwrap();
    check(fixed, "bytes", &[r#""YWI=""#, r#""Y2Q=""#]);
    let field = extended(Field::new("g", DataType::Binary, true), EXTENSION_GEOGRAPHY);
    check_field(field, Arc::new(BinaryArray::from(bytes)), "geography", &[r#""00FFFE""#, "null", r#""61""#, r#""""#]);
}

#[test]
fn days_and_times() {
    let days = [0, 11016, -719529, -719528, 2932896, 2932897, i32::MIN, i32::MAX];
    let texts = ["1970-01-01", "2000-02-29", "-000001-12-31", "0000-01-01", "9999-12-31", "+010000-01-01"];
    let quoted: Vec<String> =
        texts.iter().chain(&["-5877641-06-23", "+5881580-07-11"]).map(|t| format!("\"{t}\"")).collect();
    let quoted: Vec<&str> = quoted.iter().map(String::as_str).collect();
    check(Date32Array::from(days.to_vec()), "date", &quoted);
    let millis = Date64Array::from(days.iter().map(|day| i64::from(*day) * 86_400_000 + 5).collect::<Vec<_>>());
    check(millis, "date", &quoted);
    let (second, seconds) = (r#""2026-01-02T03:04:05.000000Z""#, 1_767_323_045);
    let before = r#""1969-12-31T23:59:59.999999Z""#;
    check(TimestampSecondArray::from(vec![seconds]).with_timezone("+05:00"), "timestamp", &[second]);
    let (first, last) = (r#""-292277022657-01-27T08:29:52.000000Z""#, r#""+292277026596-12-04T15:30:07.000000Z""#);
    check(TimestampSecondArray::from(vec![i64::MIN, i64::MAX]), "timestamp", &[first, last]);
    let milli = r#""1969-12-31T23:59:59.999000Z""#;
    check(TimestampMillisecondArray::from(vec![seconds * 1000, -1]), "timestamp", &[second, milli]);
    let micros = TimestampMicrosecondArray::from(vec![Some(seconds * 1_000_000 + 6), None, Some(-1), Some(i64::MIN)]);
    let least = r#""-290308-12-21T19:59:05.224192Z""#;
    check(micros, "timestamp", &[r#""2026-01-02T03:04:05.000006Z""#, "null", before, least]);
    let nanos = TimestampNanosecondArray::from(vec![seconds * 1_000_000_000 + 6_999, -1]).with_timezone_utc();
    check(nanos, "timestamp", &[r#""2026-01-02T03:04:05.000006Z""#, before]);
    let (time, zero) = (r#""12:34:56.000000""#, r#""00:00:00.000000""#);
    check(Time32SecondArray::from(vec![45_296, 0]), "string", &[time, zero]);
    check(Time32MillisecondArray::from(vec![45_296_789]), "string", &[r#""12:34:56.789000""#]);
    let odd = Time64MicrosecondArray::from(vec![45_296_000_001, -1, 360_000_000_000]);
    check(odd, "string", &[r#""12:34:56.000001""#, r#""-00:00:00.000001""#, r#""100:00:00.000000""#]);
    check(Time64NanosecondArray::from(vec![86_399_999_999_999]), "string", &[r#""23:59:59.999999""#]);
}

#[test]
fn intervals() {
    let months = IntervalYearMonthArray::from(vec![14, 0, -1, 12]);
    check(months, "interval", &[r#""P1Y2M""#, r#""PT0S""#, r#""P-1M""#, r#""P1Y""#]);
    let days = IntervalDayTimeArray::from(vec![IntervalDayTime::new(2, 3500), IntervalDayTime::new(-1, -7_200_000)]);
    check(days, "interval", &[r#""P2DT3.5S""#, r#""P-1DT-2H""#]);
    let span = |months, days, nanoseconds| IntervalMonthDayNano { months, days, nanoseconds };
    let spans =
        vec![span(1, 2, 3_500_000_000), span(0, 0, -1), span(0, 0, 3_661_000_000_010), span(i32::MIN, 0, i64::MIN)];
    let texts = [r#""P1M2DT3.5S""#, r#""PT-0.000000001S""#, r#""PT1H1M1.00000001S""#];
    let least = r#""P-178956970Y-8MT-2562047H-47M-16.854775808S""#;
    check(IntervalMonthDayNanoArray::from(spans), "interval", &[texts.as_slice(), &[least]].concat());
    check(
        DurationSecondArray::from(vec![i64::MAX, 0, 60]),
        "interval",
        &[r#""PT2562047788015215H30M7S""#, r#""PT0S""#, r#""PT1M""#],
    );
    check(DurationMillisecondArray::from(vec![100_010]), "interval", &[r#""PT1M40.01S""#]);
    check(DurationMicrosecondArray::from(vec![-1_500_000]), "interval", &[r#""PT-1.5S""#]);
    check(DurationNanosecondArray::from(vec![Some(1), None]), "interval", &[r#""PT0.000000001S""#, "null"]);
}

#[test]
fn floats_without_json_are_counted() {
    let floats = batch_of(
        vec![Field::new("f", DataType::Float64, true)],
        vec![Arc::new(Float64Array::from(vec![Some(f64::NAN), None, Some(1.0), Some(f64::NEG_INFINITY)]))],
    );
    let writer = RowWriter::try_new(&floats.schema(), JsonStyle::default()).unwrap();
    let mut out = Vec::new();
    writer.write_rows(&floats, Separator::Comma, &mut true, &mut out).unwrap();
    assert_eq!(writer.non_finite(), 2);
    writer.write_csv_rows(&floats, &mut out).unwrap();
    assert_eq!(writer.non_finite(), 4);
}
