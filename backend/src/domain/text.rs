//! The one rule for text that people type.

/// Trims `raw` and accepts it when it has `min` to `max` characters and no control characters, of
/// which `multiline` allows line breaks and tabs.
///
/// PostgreSQL cannot store NUL, and the other control characters forge lines in whatever prints the
/// text.
///
/// # Errors
/// What is wrong, as the second half of a sentence that begins with the field's name.
pub fn parse(raw: &str, min: usize, max: usize, multiline: bool) -> Result<String, String> {
    let text = raw.trim();
    let length = text.chars().count();
    if length < min || length > max {
        return Err(if min == 0 {
            format!("must have at most {max} characters")
        } else {
            format!("must have {min} to {max} characters, blanks at the ends not counted")
        });
    }
    let allowed = |c: char| !c.is_control() || (multiline && matches!(c, '\n' | '\r' | '\t'));
    if !text.chars().all(allowed) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn trims_and_counts_characters_not_bytes() {
        assert_eq!(parse("  Zürich ", 1, 6, false).unwrap(), "Zürich");
        assert!(parse("Zürich!", 1, 6, false).is_err());
        assert!(parse(" \t ", 1, 6, false).is_err());
        assert_eq!(parse(" ", 0, 6, false).unwrap(), "");
    }

    #[test]
    fn control_characters_never_pass_but_line_breaks_may() {
        assert!(parse("a\u{0}b", 0, 9, true).is_err());
        assert!(parse("a\u{1b}[31m", 0, 9, true).is_err());
        assert!(parse("a\nb", 0, 9, false).is_err());
        assert_eq!(parse("a\r\n\tb", 0, 9, true).unwrap(), "a\r\n\tb");
    }
}
