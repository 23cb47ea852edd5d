//! The grammar of Permissions-Policy, a structured dictionary (RFC 9651) of allowlists
//! (<https://www.w3.org/TR/permissions-policy/>).

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
