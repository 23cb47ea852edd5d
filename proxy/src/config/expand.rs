//! Variables in strings: `${NAME}`, `${NAME:-default}`, `${file:/path}`, and `$$` for a dollar sign.
//!
//! Strings are expanded after the file is parsed, so no value can inject TOML. As in a shell, `:-` gives its default
//! also for a variable that is set to nothing. What was expanded is not expanded again.

use std::path::Path;

use super::source::read_secret;

/// How the reader sees the environment: a function, so that tests need not change the process's own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is wrong with a string, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unexpandable {
    pub(super) message: String,
    pub(super) remedy: String,
}

/// Replaces every variable of `text`. Relative files are looked up in `folder`.
pub(super) fn expand(
    text: &str,
    environment: Environment<'_>,
    folder: &Path,
) -> Result<String, Unexpandable> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(variable) = after.strip_prefix('{') {
            let (variable, after) = variable.split_once('}').ok_or_else(|| Unexpandable {
                message: "`${` without `}`".to_owned(),
                remedy: "close the variable with `}`, or write `$$` for a dollar sign".to_owned(),
            })?;
            expanded.push_str(&value(variable, environment, folder)?);
            rest = after;
        } else {
            return Err(Unexpandable {
                message: "a lone `$`".to_owned(),
                remedy: "write `$$` for a dollar sign, `${NAME}` for a variable".to_owned(),
            });
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
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
