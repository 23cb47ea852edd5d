//! What a misspelt name probably was meant to be.

/// Longer names are compared with nothing: the distance costs time and memory by the product of the lengths.
const LONGEST: usize = 64;

/// The candidate that is at most a third of its length (at least one edit, swaps counting as one) away from `text`.
pub(crate) fn nearest<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let text = text.to_ascii_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .filter(|_| text.len() <= LONGEST)
        .map(|candidate| {
            let folded = candidate.to_ascii_lowercase().replace('-', "_");
            (strsim::damerau_levenshtein(&text, &folded), candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The remedy for an unknown name: the nearest known one, or all of them.
pub(crate) fn suggestion<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    if let Some(nearest) = nearest(text, candidates.clone()) {
        return format!("did you mean `{nearest}`?");
    }
    let known: Vec<String> = candidates.into_iter().map(|name| format!("`{name}`")).collect();
    match known.is_empty() {
        true => "none is known here".to_owned(),
        false => format!("known: {}", known.join(", ")),
    }
}
