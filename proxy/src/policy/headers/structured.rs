//! Structured dictionaries as browsers read them (RFC 9651, 4.2.2), as far as policies are written
//! in them: each key with its tokens and strings.
//!
//! What breaks the grammar makes the whole field nothing, as it does in browsers; what is only
//! unknown (numbers, dates, parameters) is read and left out.

/// The members of a dictionary in the order of their keys; of a key that stands twice, the last.
pub(super) fn dictionary(text: &str) -> Option<Vec<(&str, Vec<&str>)>> {
    let mut reader = Reader { rest: text.trim_matches(' ') };
    let mut members: Vec<(&str, Vec<&str>)> = Vec::new();
    while !reader.rest.is_empty() {
        let key = reader.key()?;
        let items = if reader.takes('=') { reader.items()? } else { Vec::new() };
        reader.parameters()?;
        match members.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = items,
            None => members.push((key, items)),
        }
        reader.skip(&[' ', '\t']);
        if reader.rest.is_empty() {
            break;
        }
        reader.takes(',').then_some(())?;
        reader.skip(&[' ', '\t']);
        (!reader.rest.is_empty()).then_some(())?;
    }
    Some(members)
}

/// What has not been read yet.
struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn takes(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip(&mut self, these: &[char]) {
        self.rest = self.rest.trim_start_matches(these);
    }

    /// Everything up to the first character that is not `allowed`.
    fn run(&mut self, allowed: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !allowed(c)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    fn key(&mut self) -> Option<&'t str> {
        let begins = self.rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '*');
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.*".contains(c);
        begins.then(|| self.run(allowed))
    }

    /// An inner list, or one item.
    fn items(&mut self) -> Option<Vec<&'t str>> {
        if !self.takes('(') {
            return self.item().map(|item| item.into_iter().collect());
        }
        let mut items = Vec::new();
        loop {
            self.skip(&[' ']);
            if self.takes(')') {
                return Some(items);
            }
            items.extend(self.item()?);
            self.parameters()?;
            self.rest.starts_with([' ', ')']).then_some(())?;
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.takes(';') {
            self.skip(&[' ']);
            self.key()?;
            if self.takes('=') {
                self.item()?;
            }
        }
        Some(())
    }

    /// A token, or a string with its quotes; nothing of other items, and `None` if it is no item.
    #[expect(clippy::option_option, reason = "what is left out is not what is broken")]
    fn item(&mut self) -> Option<Option<&'t str>> {
        match self.rest.chars().next()? {
            '"' => self.string().map(Some),
            'A'..='Z' | 'a'..='z' | '*' => {
                let tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c);
                Some(Some(self.run(tchar)))
            }
            '-' | '0'..='9' => {
                let digits = self.run(|c| c.is_ascii_digit() || c == '.' || c == '-');
                digits.parse::<f64>().ok().map(|_| None)
            }
            '?' => {
                self.takes('?');
                (self.takes('0') || self.takes('1')).then_some(None)
            }
            '@' => {
                self.takes('@');
                self.run(|c| c.is_ascii_digit() || c == '-').parse::<i64>().ok().map(|_| None)
            }
            ':' => {
                self.takes(':');
                self.run(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
                self.takes(':').then_some(None)
            }
            '%' => {
                self.takes('%');
                self.string().map(|_| None)
            }
            _ => None,
        }
    }

    fn string(&mut self) -> Option<&'t str> {
        let whole = self.rest;
        self.takes('"').then_some(())?;
        loop {
            self.run(|c| c != '"' && c != '\\' && (' '..='~').contains(&c));
            if self.takes('"') {
                return whole.get(..whole.len() - self.rest.len());
            }
            self.takes('\\').then_some(())?;
            (self.takes('"') || self.takes('\\')).then_some(())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_are_read_as_browsers_read_them() {
        for (text, expected) in [
            ("", &[][..]),
            ("  a=()", &[("a", &[][..])]),
            ("a", &[("a", &[])]),
            ("a=?1,b=self", &[("a", &[]), ("b", &["self"])]),
            ("a=(self \"https://x\");report-to=y", &[("a", &["self", "\"https://x\""])]),
            ("a=( self;b=\"c\"  * ) ,\t c=*", &[("a", &["self", "*"]), ("c", &["*"])]),
            ("a=*, b=(), a=()", &[("a", &[]), ("b", &[])]),
            (
                "a=-1.5, b=@17, c=:YQ==:, d=%\"x\"",
                &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])],
            ),
            ("a=(\"x,y)\\\"\" self)", &[("a", &["\"x,y)\\\"\"", "self"])]),
        ] {
            let expected: Vec<_> =
                expected.iter().map(|(key, items)| (*key, items.to_vec())).collect();
            assert_eq!(dictionary(text), Some(expected), "{text}");
        }
        for text in [
            "A=()",
            "a=",
            "a=(",
            "a=(self",
            "a=('self')",
            "a=()b",
            "a=(),",
            "a=() b=()",
            ",a",
            "a=\"x",
            "a=\"\\x\"",
            "a=?2",
            "a=1.2.3",
            "a=:!:",
            "a;",
            "a;B",
            "a=(self\"x\")",
            "é=()",
        ] {
            assert_eq!(dictionary(text), None, "{text}");
        }
    }
}
