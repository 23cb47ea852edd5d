//! The grammars of `Reporting-Endpoints` (<https://www.w3.org/TR/reporting-1/>, 3.3) and `NEL`
//! (<https://www.w3.org/TR/network-error-logging/>, 4).

use serde_json::Value;

/// Where reports of a site are sent to, on the site itself.
pub(crate) const PATH: &str = "/.gatehouse/reports";

/// What a policy calls that place.
pub(crate) const GROUP: &str = "gatehouse";

/// The names in a structured dictionary of quoted URLs (RFC 9651, 3.2); the error is the remedy.
pub(crate) fn endpoints(text: &str) -> Result<Vec<&str>, String> {
    let mut names = Vec::new();
    for member in text.split(',').map(str::trim) {
        let Some((name, url)) = member.split_once('=') else {
            return Err("write NAME=\"URL\": csp=\"https://reports.example.com/csp\"".to_owned());
        };
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b);
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '*');
        if !begins || !name.bytes().all(allowed) {
            return Err("a name has lower-case letters, digits and `_-.*`".to_owned());
        }
        if names.contains(&name) {
            return Err(format!("`{name}` stands in it twice: keep one"));
        }
        let url = url.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let is_place = |url: &str| {
            (url.starts_with("https://") || url.starts_with('/'))
                && url.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        };
        if !url.is_some_and(is_place) {
            return Err("write a URL in quotes that begins with https:// or /".to_owned());
        }
        names.push(name);
    }
    Ok(names)
}

/// Refuses what browsers would ignore; the error is the remedy.
pub(super) fn check_nel(text: &str) -> Result<(), String> {
    const EXAMPLE: &str = "write {\"report_to\":\"default\",\"max_age\":86400}";
    let Ok(Value::Object(members)) = serde_json::from_str(text) else {
        return Err(EXAMPLE.to_owned());
    };
    let is_fraction = |value: &Value| value.as_f64().is_some_and(|n| (0.0..=1.0).contains(&n));
    for (key, value) in &members {
        let valid = match key.as_str() {
            "report_to" => value.is_string(),
            "max_age" => value.is_u64(),
            "include_subdomains" => value.is_boolean(),
            "success_fraction" | "failure_fraction" => is_fraction(value),
            "request_headers" | "response_headers" => value.is_array(),
            _ => return Err(format!("NEL has no `{key}`; {EXAMPLE}")),
        };
        if !valid {
            return Err(format!("`{key}` has another type or range; {EXAMPLE}"));
        }
    }
    let reports = members.contains_key("report_to") || members.get("max_age") == Some(&0.into());
    match members.contains_key("max_age") && reports {
        true => Ok(()),
        false => Err(EXAMPLE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_a_dictionary_of_urls() {
        let names = endpoints("csp=\"https://r.example/csp\", default=\"/r?x=1\"");
        assert_eq!(names.unwrap(), ["csp", "default"]);
        for bad in [
            "",
            "csp",
            "csp=https://r.example",
            "csp=\"http://r.example\"",
            "Csp=\"/r\"",
            "csp=\"/r\", csp=\"/s\"",
            "csp=\"/a b\"",
        ] {
            assert!(endpoints(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nel_is_json_with_a_place_and_an_age() {
        for good in [
            "{\"report_to\":\"default\",\"max_age\":86400,\"failure_fraction\":0.5}",
            "{\"max_age\":0}",
        ] {
            assert_eq!(check_nel(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "[]",
            "{\"max_age\":5}",
            "{\"report_to\":\"a\"}",
            "{\"report_to\":\"a\",\"max_age\":-1}",
            "{\"report_to\":\"a\",\"max_age\":1,\"success_fraction\":2}",
            "{\"report_to\":\"a\",\"maxage\":1}",
        ] {
            assert!(check_nel(bad).is_err(), "{bad}");
        }
    }
}
