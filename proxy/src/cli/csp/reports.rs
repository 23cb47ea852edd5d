//! `gatehouse csp reports`: the answer of `/api/csp`, for a person and for `suggest`.

use serde_json::Value;

use super::print;

/// A violation and its reports, as far as the command line looks at them.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) site: String,
    pub(super) page: String,
    pub(super) directive: String,
    pub(super) blocked: String,
    /// Whether it was of the policy that is enforced.
    pub(super) enforced: bool,
    pub(super) count: u64,
}

/// The reports of the document.
pub(super) fn read(document: &Value) -> Vec<Report> {
    let entries = document.get("reports").and_then(Value::as_array).into_iter().flatten();
    let report = |entry: &Value| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Report {
            site: text("site")?,
            page: text("page")?,
            directive: text("directive")?,
            blocked: text("blocked")?,
            enforced: entry.get("enforced").and_then(Value::as_bool)?,
            count: entry.get("count").and_then(Value::as_u64)?,
        })
    };
    entries.filter_map(report).collect()
}

/// One line per distinct violation.
pub(in crate::cli) fn say(document: &Value) {
    let entries = document.get("reports").and_then(Value::as_array);
    let Some(entries) = entries.filter(|entries| !entries.is_empty()) else {
        return print(
            "no reports; they are collected where a policy says csp_report = { collect = true }",
        );
    };
    print(&format!("{:>7}  {:20} {:16} {:8} BLOCKED", "COUNT", "SITE", "DIRECTIVE", "POLICY"));
    for entry in entries {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or("-");
        let count = entry.get("count").and_then(Value::as_u64).unwrap_or_default();
        let enforced = entry.get("enforced") == Some(&Value::Bool(true));
        let policy = if enforced { "enforced" } else { "trial" };
        let (site, directive, blocked) = (text("site"), text("directive"), text("blocked"));
        print(&format!("{count:>7}  {site:20} {directive:16} {policy:8} {blocked}"));
        print(&format!("{:9}on {} {}", "", text("page"), text("source")));
    }
    let dropped = document.get("dropped").and_then(Value::as_u64).unwrap_or_default();
    if dropped > 0 {
        print(&format!("{dropped} more were too many to keep all"));
    }
    print("what would let them through: gatehouse csp suggest");
}
