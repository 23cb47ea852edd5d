//! The grammar of Permissions-Policy, a structured dictionary (RFC 9651) of allowlists
//! (<https://www.w3.org/TR/permissions-policy/>).

use super::structured;

/// Refuses what browsers would ignore; the error is the remedy.
pub(super) fn check(policy: &str) -> Result<(), String> {
    let mut seen = Vec::new();
    for member in policy.split(',').map(str::trim) {
        let Some((feature, allowlist)) = member.split_once('=') else {
            return Err("write FEATURE=ALLOWLIST: camera=(), fullscreen=(self)".to_owned());
        };
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !feature.starts_with(|c: char| c.is_ascii_lowercase()) || !feature.bytes().all(allowed) {
            return Err("names of features have lower-case letters and hyphens".to_owned());
        }
        if seen.contains(&feature) {
            return Err(format!("`{feature}` stands in it twice: keep one"));
        }
        seen.push(feature);
        check_allowlist(feature, allowlist)?;
    }
    Ok(())
}

/// What both of two policies allow: of a feature that both name, the origins that stand in both.
/// `None` if that is `ours`, also where browsers would not read `theirs`.
pub(super) fn intersect(ours: &str, theirs: &str) -> Option<String> {
    let (ours, theirs) = (features(ours)?, features(theirs)?);
    let mut both: Vec<(&str, Vec<&str>)> = Vec::new();
    for (feature, allowed) in &ours {
        let other = theirs.iter().find(|(known, _)| known == feature);
        let allowed = other.map_or_else(|| allowed.clone(), |(_, other)| common(allowed, other));
        both.push((feature, allowed));
    }
    let is_new = |feature: &&str| ours.iter().all(|(known, _)| known != feature);
    both.extend(theirs.iter().filter(|(feature, _)| is_new(feature)).cloned());
    if both == ours {
        return None;
    }
    let member = |(feature, allowed): &(&str, Vec<&str>)| match allowed.as_slice() {
        ["*"] => format!("{feature}=*"),
        allowed => format!("{feature}=({})", allowed.join(" ")),
    };
    Some(both.iter().map(member).collect::<Vec<_>>().join(", "))
}

/// The features of a policy and who may use each: `*`, or a list. What is no origin allows nobody.
fn features(policy: &str) -> Option<Vec<(&str, Vec<&str>)>> {
    let mut features = structured::dictionary(policy)?;
    for (_, allowed) in &mut features {
        allowed.retain(|item| is_origin(item));
        if allowed.contains(&"*") {
            *allowed = vec!["*"];
        }
    }
    Some(features)
}

fn common<'a>(ours: &[&'a str], theirs: &[&'a str]) -> Vec<&'a str> {
    match (ours, theirs) {
        (["*"], other) | (other, ["*"]) => other.to_vec(),
        _ => ours.iter().copied().filter(|item| theirs.contains(item)).collect(),
    }
}

fn check_allowlist(feature: &str, allowlist: &str) -> Result<(), String> {
    let inner = allowlist.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let allowed = match inner {
        Some(inner) => inner.split(' ').filter(|item| !item.is_empty()).all(is_origin),
        None => is_origin(allowlist),
    };
    match allowed {
        true => Ok(()),
        false if allowlist == "none" => Err(format!("write {feature}=() to forbid it")),
        false => Err("an allowlist is *, (), (self), or (self \"https://a.example\")".to_owned()),
    }
}

fn is_origin(item: &str) -> bool {
    match item.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(origin) => {
            origin.contains("://") && origin.bytes().all(|b| b.is_ascii_graphic() && b != b'"')
        }
        None => matches!(item, "*" | "self" | "src"),
    }
}
