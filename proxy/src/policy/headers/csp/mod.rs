//! Content-Security-Policy (CSP Level 3, <https://www.w3.org/TR/CSP3/>).

mod source;

use super::nonce::PLACEHOLDER;
use super::preset::Preset;
use crate::config::nearest;

/// A directive that browsers know.
#[derive(Debug)]
pub(crate) struct Directive {
    pub(crate) name: &'static str,
    values: Values,
}

/// What may follow a directive's name.
#[derive(Debug, PartialEq, Eq)]
enum Values {
    /// A list of sources, at least one.
    Sources,
    /// The same, of which only a few can hold a page that frames this one.
    Ancestors,
    /// Nothing.
    Nothing,
    /// Any of these, possibly none.
    OneOf(&'static [&'static str]),
    /// Names of Trusted Types policies.
    PolicyNames,
    /// Tokens.
    Tokens,
}

const fn sources(name: &'static str) -> Directive {
    Directive { name, values: Values::Sources }
}

const fn other(name: &'static str, values: Values) -> Directive {
    Directive { name, values }
}

const fn tokens(name: &'static str) -> Directive {
    Directive { name, values: Values::Tokens }
}

/// Every directive of CSP 3 and of the specifications that extend it.
pub(crate) const DIRECTIVES: [Directive; 26] = [
    sources("default-src"),
    sources("base-uri"),
    sources("child-src"),
    sources("connect-src"),
    sources("fenced-frame-src"),
    sources("font-src"),
    sources("form-action"),
    other("frame-ancestors", Values::Ancestors),
    sources("frame-src"),
    sources("img-src"),
    sources("manifest-src"),
    sources("media-src"),
    sources("object-src"),
    sources("script-src"),
    sources("script-src-attr"),
    sources("script-src-elem"),
    sources("style-src"),
    sources("style-src-attr"),
    sources("style-src-elem"),
    sources("worker-src"),
    tokens("report-to"),
    tokens("report-uri"),
    other("require-trusted-types-for", Values::OneOf(&["'script'"])),
    other("sandbox", Values::OneOf(&SANDBOX)),
    other("trusted-types", Values::PolicyNames),
    other("upgrade-insecure-requests", Values::Nothing),
];

impl Directive {
    /// The directive of a name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        DIRECTIVES.iter().find(|directive| directive.name == name)
    }

    /// Refuses a value that browsers would ignore or read as something else; the error is the
    /// remedy.
    pub(crate) fn check_value(&self, value: &str) -> Result<(), String> {
        match value.bytes().find(|byte| !byte.is_ascii_graphic() || matches!(byte, b';' | b',')) {
            Some(b' ') => return Err("write a list, one value in each string".to_owned()),
            Some(b';' | b',') => return Err("percent-encode `;` as %3B and `,` as %2C".to_owned()),
            Some(_) => return Err("only printable ASCII can stand in a policy".to_owned()),
            None if value.is_empty() => return Err("remove the empty string".to_owned()),
            None => {}
        }
        let takes_nonces = self.name == "default-src"
            || ["script-src", "style-src"].iter().any(|kind| self.name.starts_with(kind));
        match self.values {
            Values::Sources if value == PLACEHOLDER && !takes_nonces => {
                Err("a nonce is for default-src, script-src and style-src".to_owned())
            }
            Values::Sources => source::check(value),
            Values::Ancestors => check_ancestor(value),
            Values::OneOf(known) if known.contains(&value) => Ok(()),
            Values::OneOf(known) => Err(nearest::suggestion(value, known.iter().copied())),
            Values::PolicyNames => check_policy_name(value),
            Values::Nothing => Err(format!("`{}` takes no value: write []", self.name)),
            Values::Tokens => Ok(()),
        }
    }

    /// Refuses a list that says nothing or contradicts itself; the error is the remedy.
    pub(crate) fn check_list(&self, values: &[&str]) -> Result<(), String> {
        if !matches!(self.values, Values::Sources | Values::Ancestors) {
            return Ok(());
        }
        match values {
            [] => Err("write [\"'none'\"] to allow nothing".to_owned()),
            [_] => Ok(()),
            _ if values.contains(&"'none'") => {
                Err("browsers ignore `'none'` beside other sources: remove it".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What in a list probably does not mean what its author thinks: which value, and why.
    pub(crate) fn doubts(&self, values: &[&str]) -> Vec<(usize, &'static str)> {
        if self.values == Values::Sources { source::doubts(values) } else { Vec::new() }
    }
}

/// What a sandbox may be allowed (HTML, 7.1.6).
const SANDBOX: [&str; 13] = [
    "allow-downloads",
    "allow-forms",
    "allow-modals",
    "allow-orientation-lock",
    "allow-pointer-lock",
    "allow-popups",
    "allow-popups-to-escape-sandbox",
    "allow-presentation",
    "allow-same-origin",
    "allow-scripts",
    "allow-top-navigation",
    "allow-top-navigation-by-user-activation",
    "allow-top-navigation-to-custom-protocols",
];

fn check_ancestor(source: &str) -> Result<(), String> {
    let folded = source.to_ascii_lowercase();
    match folded.starts_with('\'') && !matches!(folded.as_str(), "'self'" | "'none'") {
        true => Err("only 'self', 'none', schemes and hosts can stand here".to_owned()),
        false => source::check(source),
    }
}

fn check_policy_name(value: &str) -> Result<(), String> {
    let is_name = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-#=_/@.%".contains(&b));
    match is_name || matches!(value, "*" | "'none'" | "'allow-duplicates'") {
        true => Ok(()),
        false => Err("write the name of a policy, *, 'none' or 'allow-duplicates'".to_owned()),
    }
}

/// A policy: directives in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Csp {
    directives: Vec<(&'static str, String)>,
    separator: &'static str,
}

impl Csp {
    /// A whole policy as it stands in a header; the error is the remedy.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut csp = Self { directives: Vec::new(), separator: "; " };
        for directive in text.split(';').map(str::trim).filter(|text| !text.is_empty()) {
            let (name, values) = directive.split_once(' ').unwrap_or((directive, ""));
            let known = Directive::named(&name.to_ascii_lowercase());
            let known = known.ok_or_else(|| {
                nearest::suggestion(name, DIRECTIVES.iter().map(|directive| directive.name))
            })?;
            let values: Vec<_> = values.split(' ').filter(|value| !value.is_empty()).collect();
            values.iter().try_for_each(|value| known.check_value(value))?;
            known.check_list(&values)?;
            if csp.directives.iter().any(|(name, _)| *name == known.name) {
                return Err(format!("`{name}` stands in it twice: browsers read the first only"));
            }
            csp.set(known, &values);
        }
        match csp.directives.is_empty() {
            true => Err("write at least one directive: default-src 'self'".to_owned()),
            false => Ok(csp),
        }
    }

    pub(super) fn new(preset: Preset) -> Self {
        let defaults = preset.csp().iter();
        Self {
            directives: defaults.map(|(name, value)| (*name, (*value).to_owned())).collect(),
            separator: preset.csp_separator(),
        }
    }

    /// Replaces a directive where it stands, or adds it at the end, as helmet does.
    pub(super) fn set(&mut self, directive: &Directive, values: &[&str]) {
        self.put(directive.name, values.join(" "));
    }

    fn put(&mut self, name: &'static str, value: String) {
        match self.directives.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.directives.push((name, value)),
        }
    }

    pub(super) fn remove(&mut self, directive: &Directive) {
        self.directives.retain(|(name, _)| *name != directive.name);
    }

    pub(super) fn clear(&mut self) {
        self.directives.clear();
    }

    /// The values of a directive, if it is there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut directives = self.directives.iter();
        directives.find_map(|(known, value)| (*known == name).then_some(value.as_str()))
    }

    /// Leaves out what browsers ignore in a policy that is reported and not enforced.
    pub(super) fn keep_reportable(&mut self) {
        let ignored = |name: &str| matches!(name, "sandbox" | "upgrade-insecure-requests");
        self.directives.retain(|(name, _)| !ignored(name));
    }

    /// Has violations reported to a path, by browsers that know endpoints and by those that do not.
    pub(super) fn report_to(&mut self, path: &str, group: &str) {
        let uris =
            self.get("report-uri").map_or_else(|| path.to_owned(), |uris| format!("{uris} {path}"));
        self.put("report-uri", uris);
        if self.get("report-to").is_none() {
            self.put("report-to", group.to_owned());
        }
    }

    /// The policy where there is no nonce.
    pub(super) fn without_nonces(&self) -> Self {
        let mut plain = self.clone();
        for (_, value) in &mut plain.directives {
            let kept: Vec<_> = value.split(' ').filter(|source| *source != PLACEHOLDER).collect();
            let none = kept.is_empty() && !value.is_empty();
            *value = if none { "'none'".to_owned() } else { kept.join(" ") };
        }
        plain
    }

    /// The value of the header; `None` if there is no directive.
    pub(super) fn value(&self) -> Option<String> {
        let directives = self.directives.iter().map(|(name, value)| match value.is_empty() {
            true => (*name).to_owned(),
            false => format!("{name} {value}"),
        });
        let value = directives.collect::<Vec<_>>().join(self.separator);
        (!value.is_empty()).then_some(value)
    }
}
