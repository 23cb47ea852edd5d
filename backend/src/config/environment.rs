//! Reads variables and collects what is wrong with them.

use std::fmt;
use std::ops::RangeInclusive;

use super::{Lookup, Secret};

/// What is wrong with one variable.
#[derive(Debug)]
struct Fault {
    name: &'static str,
    what: String,
    remedy: String,
}

/// Everything that is wrong with the environment, in the order in which it was read.
#[derive(Debug, thiserror::Error)]
pub struct Faults(Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the environment cannot be used:")?;
        for Fault { name, what, remedy } in &self.0 {
            write!(f, "\n  {name} {what}\n    remedy: {remedy}")?;
        }
        Ok(())
    }
}

/// The environment while it is being read.
pub(super) struct Environment<'a> {
    lookup: Lookup<'a>,
    faults: Vec<Fault>,
}

impl<'a> Environment<'a> {
    pub(super) fn new(lookup: Lookup<'a>) -> Self {
        Self { lookup, faults: Vec::new() }
    }

    /// The value of `name`, unless it is missing or blank.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.raw(name, name)
    }

    /// The value of `name`, or the content of the file that `name_FILE` names, without the line
    /// break at its end.
    pub(super) fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let value = self.raw(name, name);
        let Some(path) = self.raw(name, &format!("{name}_FILE")) else {
            return value.map(Secret::new);
        };
        if value.is_some() {
            self.fault(name, format!("is set, and so is {name}_FILE"), "unset one of the two");
            return None;
        }
        match std::fs::read_to_string(&path) {
            Ok(content) if !content.trim().is_empty() => {
                Some(Secret::new(content.trim_end_matches(['\r', '\n']).to_owned()))
            }
            Ok(_blank) => {
                self.fault(
                    name,
                    format!("is empty in the file {path}"),
                    "write the value to the file",
                );
                None
            }
            Err(error) => {
                self.fault(
                    name,
                    format!("cannot be read from the file {path}: {error}"),
                    format!("correct {name}_FILE, or let this user read the file"),
                );
                None
            }
        }
    }

    /// The whole number in `name`, which lies in `range`; `default` when it is not set.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        self.number_or(name, range, &default.to_string()).unwrap_or(default)
    }

    /// The same, where what is not set is for the reader to decide.
    pub(super) fn optional_number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        self.number_or(name, range, "as fits the engine")
    }

    fn number_or(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
        default: &str,
    ) -> Option<u32> {
        let text = self.text(name)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (min, max) = (range.start(), range.end());
            let remedy = format!("a whole number from {min} to {max}; {default} unless set");
            self.fault(name, format!("is {text:?}"), remedy);
        }
        number
    }

    /// Notes that something is wrong with `name`.
    pub(super) fn fault(
        &mut self,
        name: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.faults.push(Fault { name, what: what.into(), remedy: remedy.into() });
    }

    /// Whether something is already known to be wrong with `name`.
    pub(super) fn is_faulty(&self, name: &str) -> bool {
        self.faults.iter().any(|fault| fault.name == name)
    }

    /// Gives `read` out if nothing was wrong. The stand-ins that readers return for wrong values
    /// end here.
    pub(super) fn finish<T>(self, read: T) -> Result<T, Faults> {
        if self.faults.is_empty() { Ok(read) } else { Err(Faults(self.faults)) }
    }

    fn raw(&mut self, name: &'static str, variable: &str) -> Option<String> {
        match (self.lookup)(variable)?.into_string() {
            Ok(value) => Some(value).filter(|value| !value.trim().is_empty()),
            Err(_not_unicode) => {
                self.fault(name, format!("is not UTF-8 in {variable}"), "write it in UTF-8");
                None
            }
        }
    }
}
