//! Colours, on a terminal only.

use std::io::IsTerminal;

/// An ANSI colour or weight.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Style {
    Bold,
    Red,
    Green,
    Cyan,
    Magenta,
}

/// `text` in that style where standard output is read by a person who did not ask for plain text.
pub(crate) fn paint(style: Style, text: &str) -> String {
    if !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return text.to_owned();
    }
    let code = match style {
        Style::Bold => 1,
        Style::Red => 31,
        Style::Green => 32,
        Style::Cyan => 36,
        Style::Magenta => 35,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}
