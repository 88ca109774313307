//! Dictionaries of every width, and compressed strings: read, taken, and with bytes that lie.

use super::*;

/// These strings over and over, in 3000 rows of which some have none.
fn drawn(strings: &[String], absent: impl Fn(usize) -> bool) -> ArrayRef {
    let draw = |row: usize| &strings[row * 7919 % 3001 % strings.len()];
    Arc::new(StringArray::from_iter((0..3000).map(|row| (!absent(row)).then(|| draw(row)))))
}

#[test]
fn dictionaries_of_every_width_are_read() {
    let picks = [0, 1, 77, 640, 1111, 2047, 2999, 4711, 5_555_555];
    for bytes in [0, 1, 2, 7, 8, 9, 16, 17, 31, 32, 33, 70] {
        let wide = |width: usize| "ü".repeat(width / 2) + &"x".repeat(width % 2);
        let mixed: Vec<String> = (0..=bytes).map(wide).chain([wide(bytes / 2)]).collect();
        let even: Vec<String> = (0..10).map(|digit| digit.to_string().repeat(bytes)).collect();
        for strings in [mixed, even] {
            check(&drawn(&strings, |_| false), 8, &picks);
            check(&drawn(&strings, |row| row % 5 == 2 || row / 256 == 3), 8, &picks);
        }
    }
    let many: Vec<String> = (0..700).map(|name| format!("service-{name}")).collect();
    check(&drawn(&many, |row| row % 97 == 0), 8, &picks);
    let too_many = (0..40_000).map(|row| format!("service-{}", row * 7919 % 5003));
    check(&(Arc::new(StringArray::from_iter_values(too_many)) as ArrayRef), BLOCK_BITS, &picks);
}

#[test]
fn dictionaries_that_lie_give_no_halves_of_characters() {
    let strings = ["aü", "bü", "cü", "dö"].map(String::from);
    let array = drawn(&strings, |_| false);
    let bytes = encoded(&array, 8);
    let at = bytes.windows(12).position(|bytes| bytes == "aübücüdö".as_bytes()).expect("a dictionary");
    // Where the second string begins: in the midst of a character, all bytes still being text together.
    let begin = at - 4 * 4;
    assert_eq!(bytes[begin], 3);
    let mut halved = bytes.to_vec();
    halved[begin] = 2;
    assert!(open(&array, &halved.into()).expect("it opens").read(0..3000).is_err());
    for at in begin - 4..at + 12 {
        for flip in [1_u8, 2, 4, 0x80, 0xff] {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= flip;
            ask(&array, bytes.into(), &[]);
        }
    }
}

#[test]
fn compressed_strings_with_escapes_are_read() {
    // Characters of all kinds, too many for symbols of their own, and lengths of all kinds, none at all too.
    let odd = |row: u32| char::from_u32(0x20 + row * 7919 % 0x5000).unwrap_or('?');
    let text = |row: u32| match row % 7 {
        0 => String::new(),
        1 => odd(row).to_string(),
        _ => format!("{}{} took the request of {} in {row} ms{}", odd(row + 1), odd(row), row % 977, odd(row * 3)),
    };
    let picks = [0, 1, 77, 640, 4711, 5_555_555];
    let full: ArrayRef = Arc::new(StringArray::from_iter_values((0..6000).map(text)));
    let absent: ArrayRef = Arc::new(StringArray::from_iter((0..6000).map(|row| (row % 3 > 0).then(|| text(row)))));
    for array in [full, absent] {
        let plain = array.to_data().get_slice_memory_size().expect("buffers");
        assert!(encoded(&array, 12).len() * 10 < plain * 9, "it is compressed");
        check(&array, 12, &picks);
    }
}
