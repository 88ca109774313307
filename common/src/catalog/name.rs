//! Names of workspaces and collections.
//!
//! In: text. Out: whether it can be a name: what needs no quotes in SQL and no escapes in a URL.

/// The longest name.
pub const NAME_BYTES_MAX: usize = 64;

/// Checks a name: letters, digits, `_` and `-`, beginning with a letter or `_`.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let starts = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    match name.as_bytes() {
        bytes if bytes.len() > NAME_BYTES_MAX => {
            Err(format!("a name has at most {NAME_BYTES_MAX} bytes, and this one {}", bytes.len()))
        }
        bytes if bytes.first().is_some_and(starts) && bytes.iter().all(|byte| good(*byte)) => Ok(()),
        _ => Err(format!("{name:?} is no name: letters, digits, _ and - are allowed, and a letter or _ comes first")),
    }
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_need_no_quotes_and_no_escapes() {
        let good = ["a", "_a", "events", "github-events_2"];
        assert!(good.iter().all(|name| check_name(name).is_ok()));
        let bad = ["", "1a", "-a", "a b", "a.b", "ä", "a/b", &"a".repeat(65)];
        assert!(bad.iter().all(|name| check_name(name).is_err()));
    }
}
