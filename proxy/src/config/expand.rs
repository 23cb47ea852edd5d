//! Variables in strings: `${NAME}`, `${NAME:-default}`, `${file:/path}`, and `$$` for a dollar
//! sign.
//!
//! Strings are expanded after the file is parsed, so no value can inject TOML. As in a shell, `:-`
//! gives its default also for a variable that is set to nothing. What was expanded is not expanded
//! again.

use std::path::Path;

use super::source::read_secret;

/// How the reader sees the environment: a function, so that tests need not change the process's
/// own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is wrong with a string, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unexpandable {
    pub(super) message: String,
    pub(super) remedy: String,
}

/// Replaces every variable of `text`, or finds every one that cannot be. Relative files are looked
/// up in `folder`.
pub(super) fn expand(
    text: &str,
    environment: Environment<'_>,
    folder: &Path,
) -> Result<String, Vec<Unexpandable>> {
    let mut expanded = String::with_capacity(text.len());
    let mut faults = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((variable, after)) = braces(after) {
            match value(variable, environment, folder) {
                Ok(value) => expanded.push_str(&value),
                Err(fault) => faults.push(fault),
            }
            rest = after;
        } else {
            faults.push(Unexpandable {
                message: "a `$` that begins no variable".to_owned(),
                remedy: "write `$$` for a dollar sign, `${NAME}` for a variable".to_owned(),
            });
            rest = after;
        }
    }
    expanded.push_str(rest);
    if faults.is_empty() { Ok(expanded) } else { Err(faults) }
}

/// What stands between the braces at the start of `text`, and what follows them.
fn braces(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('{')?.split_once('}')
}

/// The value of what stands between the braces.
fn value(
    variable: &str,
    environment: Environment<'_>,
    folder: &Path,
) -> Result<String, Unexpandable> {
    if let Some(path) = variable.strip_prefix("file:") {
        return read_secret(&folder.join(path)).map_err(|(message, remedy)| Unexpandable {
            message: format!("`{path}`: {message}"),
            remedy: remedy.to_owned(),
        });
    }
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    if !is_name(name) {
        return Err(Unexpandable {
            message: format!("`{name}` is not the name of a variable"),
            remedy: "a name has letters, digits and `_`; a default follows `:-`".to_owned(),
        });
    }
    match (environment(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Unexpandable {
            message: format!("the variable `{name}` is not set"),
            remedy: format!("set it, or write `${{{name}:-default}}`"),
        }),
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${SET}".to_owned()),
            _ => None,
        }
    }

    fn expanded(text: &str) -> Result<String, Vec<String>> {
        let folder = Path::new("tests/config");
        expand(text, &environment, folder)
            .map_err(|faults| faults.into_iter().map(|fault| fault.message).collect())
    }

    #[test]
    fn variables_become_their_values() {
        for (text, value) in [
            ("", ""),
            ("plain } text", "plain } text"),
            ("${SET}", "value"),
            ("a${SET}b${SET}c", "avaluebvaluec"),
            ("${EMPTY}", ""),
            ("${EMPTY:-default}", "default"),
            ("${MISSING:-default}", "default"),
            ("${MISSING:-}", ""),
            ("${MISSING:-a:-b}", "a:-b"),
            ("${SET:-default}", "value"),
            ("$$", "$"),
            ("$${SET}", "${SET}"),
            ("$$$$${SET}", "$$value"),
            ("${NESTED}", "${SET}"),
            ("${file:secret}", "two\nlines"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn every_fault_of_a_string_is_found() {
        for (text, faults) in [
            ("$", &["a `$` that begins no variable"][..]),
            ("$SET", &["a `$` that begins no variable"]),
            ("${SET", &["a `$` that begins no variable"]),
            ("${}", &["`` is not the name of a variable"]),
            ("${A B}", &["`A B` is not the name of a variable"]),
            ("${A}${SET}${B}", &["the variable `A` is not set", "the variable `B` is not set"]),
        ] {
            let faults = faults.iter().map(|fault| fault.to_string()).collect();
            assert_eq!(expanded(text), Err(faults), "{text}");
        }
        assert!(expanded("${file:}").is_err() && expanded("${file:missing}").is_err());
    }

    proptest! {
        #[test]
        fn a_text_with_doubled_dollars_is_itself(text in any::<String>()) {
            prop_assert_eq!(expanded(&text.replace('$', "$$")), Ok(text));
        }
    }
}
