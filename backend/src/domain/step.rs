//! The language of a test: what the browser is told to do, one step after the other.
//!
//! A step is a JSON object whose `action` says what kind it is: `{"action": "click", "selector":
//! "#buy"}`. [`Steps::parse`] reads what a client sent and tells all faults; what it accepts is
//! stored as it is and read back by the worker.
//!
//! # Why
//! Only `http` and `https` can be navigated to: `file:` would show the worker's own files, and
//! `javascript:` or `data:` are no pages of anybody.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::url;

/// Most steps of one test.
pub const STEPS_MAX: usize = 100;
/// Longest `url`, in bytes.
const URL_MAX: usize = 2048;
/// Longest `selector`, in characters.
const SELECTOR_MAX: usize = 1000;
/// Longest `text` and `option`, in characters.
const TEXT_MAX: usize = 5000;
/// Longest `timeoutMs`.
const WAIT_MAX_MS: u32 = 60_000;
/// How long a step is tried that does not say otherwise.
const WAIT_STANDARD: Duration = Duration::from_secs(10);

/// One instruction. Selectors are CSS; where several elements match, the first is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(
    tag = "action",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Step {
    /// Opens a page and waits until it has loaded.
    Navigate {
        /// Where to, `http` or `https`.
        #[schema(max_length = 2048)]
        url: String,
    },
    /// Clicks an element, as soon as it can be clicked.
    Click {
        /// Which element.
        #[schema(min_length = 1, max_length = 1000)]
        selector: String,
    },
    /// Replaces what a field holds by typing; a line break is the Enter key.
    Type {
        /// Which field.
        #[schema(min_length = 1, max_length = 1000)]
        selector: String,
        /// What is typed.
        #[schema(max_length = 5000)]
        text: String,
    },
    /// Chooses an option of a drop-down list.
    Select {
        /// Which list.
        #[schema(min_length = 1, max_length = 1000)]
        selector: String,
        /// The option's value, or the text it shows.
        #[schema(max_length = 5000)]
        option: String,
    },
    /// Waits until an element is on the page.
    WaitFor {
        /// Which element.
        #[schema(min_length = 1, max_length = 1000)]
        selector: String,
        /// For how many milliseconds at most; 10000 when left out.
        #[serde(rename = "timeoutMs", default, skip_serializing_if = "Option::is_none")]
        #[schema(rename = "timeoutMs", minimum = 1, maximum = 60000)]
        timeout_ms: Option<u32>,
    },
    /// Fails unless an element comes to show a text.
    AssertText {
        /// Which element.
        #[schema(min_length = 1, max_length = 1000)]
        selector: String,
        /// What its text must contain.
        #[schema(min_length = 1, max_length = 5000)]
        text: String,
    },
    /// Fails unless an element comes to be visible.
    AssertVisible {
        /// Which element.
        #[schema(min_length = 1, max_length = 1000)]
        selector: String,
    },
    /// Takes a picture of what the page shows.
    Screenshot {},
}

impl Step {
    /// How long the step is tried before it has failed.
    #[must_use]
    pub fn patience(&self) -> Duration {
        match self {
            Self::WaitFor { timeout_ms: Some(ms), .. } => Duration::from_millis(u64::from(*ms)),
            Self::Navigate { .. }
            | Self::Click { .. }
            | Self::Type { .. }
            | Self::Select { .. }
            | Self::WaitFor { timeout_ms: None, .. }
            | Self::AssertText { .. }
            | Self::AssertVisible { .. }
            | Self::Screenshot {} => WAIT_STANDARD,
        }
    }

    /// The word for it in JSON.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Navigate { .. } => "navigate",
            Self::Click { .. } => "click",
            Self::Type { .. } => "type",
            Self::Select { .. } => "select",
            Self::WaitFor { .. } => "waitFor",
            Self::AssertText { .. } => "assertText",
            Self::AssertVisible { .. } => "assertVisible",
            Self::Screenshot {} => "screenshot",
        }
    }

    /// What is wrong with the fields, each with its name.
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut check = |name, wrong: Option<String>| {
            faults.extend(wrong.map(|detail| (name, detail)));
        };
        match self {
            Self::Navigate { url } => check("url", url_fault(url)),
            Self::Click { selector } | Self::AssertVisible { selector } => {
                check("selector", length_fault(selector, 1, SELECTOR_MAX));
            }
            Self::Type { selector, text } => {
                check("selector", length_fault(selector, 1, SELECTOR_MAX));
                check("text", length_fault(text, 0, TEXT_MAX).or_else(|| key_fault(text)));
            }
            Self::Select { selector, option } => {
                check("selector", length_fault(selector, 1, SELECTOR_MAX));
                check("option", length_fault(option, 0, TEXT_MAX));
            }
            Self::WaitFor { selector, timeout_ms } => {
                check("selector", length_fault(selector, 1, SELECTOR_MAX));
                let in_range = timeout_ms.is_none_or(|ms| (1..=WAIT_MAX_MS).contains(&ms));
                let wrong = || format!("must be from 1 to {WAIT_MAX_MS}");
                check("timeoutMs", (!in_range).then(wrong));
            }
            Self::AssertText { selector, text } => {
                check("selector", length_fault(selector, 1, SELECTOR_MAX));
                check("text", length_fault(text, 1, TEXT_MAX));
            }
            Self::Screenshot {} => {}
        }
        faults
    }
}

/// The steps of one test, as they were accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(max_items = 100)]
pub struct Steps(Vec<Step>);

/// What is wrong with a step, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFault {
    /// A JSON pointer within the steps, such as `/2/selector`; empty for the steps as a whole.
    pub pointer: String,
    /// The second half of a sentence that begins with the field's name.
    pub detail: String,
}

impl Steps {
    /// Reads steps that a client sent.
    ///
    /// # Errors
    /// Every fault of every step.
    pub fn parse(value: &Value) -> Result<Self, Vec<StepFault>> {
        let whole = |detail: String| vec![StepFault { pointer: String::new(), detail }];
        let Value::Array(items) = value else {
            return Err(whole("must be a list of steps".to_owned()));
        };
        if items.len() > STEPS_MAX {
            return Err(whole(format!("must have at most {STEPS_MAX} steps")));
        }
        let mut steps = Vec::with_capacity(items.len());
        let mut faults = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match Step::deserialize(item) {
                Ok(step) => {
                    faults.extend(step.faults().into_iter().map(|(field, detail)| StepFault {
                        pointer: format!("/{index}/{field}"),
                        detail,
                    }));
                    steps.push(step);
                }
                Err(error) => faults.push(StepFault {
                    pointer: format!("/{index}"),
                    detail: format!("is not a step: {error}"),
                }),
            }
        }
        if faults.is_empty() { Ok(Self(steps)) } else { Err(faults) }
    }

    /// The steps, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Step] {
        &self.0
    }
}

fn url_fault(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let known = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let is_one_word = !url.contains(|c: char| c.is_whitespace() || c.is_control());
    if known && url::has_host(rest) && is_one_word && url.len() <= URL_MAX {
        return None;
    }
    Some(format!(
        "must be a URL such as https://shop.example/cart, http or https, at most {URL_MAX} bytes"
    ))
}

fn length_fault(text: &str, min: usize, max: usize) -> Option<String> {
    if text.contains('\0') {
        return Some("must not contain the NUL character".to_owned());
    }
    (!(min..=max).contains(&text.chars().count()))
        .then(|| format!("must have {min} to {max} characters"))
}

/// The private use area stands for special keys in WebDriver (section 17.4.2): only the page's own
/// keys are for a test to press.
fn key_fault(text: &str) -> Option<String> {
    let is_key = |c: char| {
        ('\u{e000}'..='\u{f8ff}').contains(&c) || (c.is_control() && !matches!(c, '\n' | '\t'))
    };
    text.contains(is_key).then(|| "must have no control characters but tab and line break".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(value: &Value) -> Vec<String> {
        let faults = Steps::parse(value).unwrap_err();
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn every_action_is_read_and_written_alike() {
        let written = json!([
            { "action": "navigate", "url": "https://shop.example/" },
            { "action": "click", "selector": "#buy" },
            { "action": "type", "selector": "input", "text": "two\nlines" },
            { "action": "select", "selector": "select", "option": "red" },
            { "action": "waitFor", "selector": ".done", "timeoutMs": 500 },
            { "action": "waitFor", "selector": ".done" },
            { "action": "assertText", "selector": "h1", "text": "Thanks" },
            { "action": "assertVisible", "selector": "h1" },
            { "action": "screenshot" },
        ]);
        let steps = Steps::parse(&written).unwrap();
        assert_eq!(serde_json::to_value(&steps).unwrap(), written);
        assert_eq!(serde_json::from_value::<Steps>(written.clone()).unwrap(), steps);
        for (step, written) in steps.as_slice().iter().zip(written.as_array().unwrap()) {
            assert_eq!(step.action(), written["action"]);
        }
        assert_eq!(steps.as_slice()[4].patience(), Duration::from_millis(500));
    }

    #[test]
    fn all_faults_are_told_at_once_and_each_with_its_place() {
        let wrong = json!([
            { "action": "navigate", "url": "file:///etc/passwd" },
            { "action": "fly" },
            { "action": "click" },
            { "action": "click", "selector": "a", "speed": 1 },
            { "action": "type", "selector": "", "text": "\u{e007}" },
            { "action": "waitFor", "selector": "a", "timeoutMs": 0 },
            "click",
        ]);
        assert_eq!(
            faults(&wrong),
            ["/0/url", "/1", "/2", "/3", "/4/selector", "/4/text", "/5/timeoutMs", "/6"]
        );
        assert_eq!(faults(&json!({})), [""]);
        assert_eq!(faults(&json!(vec![json!({ "action": "screenshot" }); 101])), [""]);
    }

    #[test]
    fn only_pages_of_the_web_can_be_navigated_to() {
        for url in ["http://a", "HTTPS://a:1/b?c#d", "http://[::1]/", "https://mañana.example/ñ"]
        {
            assert_eq!(url_fault(url), None, "{url}");
        }
        for url in ["", "a", "//a", "http://", "http:///x", "http://a b", "javascript:1", "data:,"]
        {
            assert!(url_fault(url).is_some(), "{url}");
        }
    }
}
