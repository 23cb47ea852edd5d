//! Durations and sizes as the file writes them: `"250ms"`, `"60s"`, `"30d"`, `"16KiB"`, `"500B"`.
//!
//! Whole numbers with one unit and no space. Every error is a sentence that says what to write.

use std::time::Duration;

const MILLISECONDS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const BYTES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads a duration.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const REMEDY: &str =
        "write a whole number and a unit: \"250ms\", \"60s\", \"5m\", \"1h\", \"30d\"";
    scaled(text, &MILLISECONDS, REMEDY).map(Duration::from_millis)
}

/// Reads a size in bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const REMEDY: &str =
        "write a whole number and a unit: \"500B\", \"16KiB\", \"1MiB\", \"2GiB\", or a number";
    scaled(text, &BYTES, REMEDY)
}

/// The duration as [`duration`] reads it, in the largest unit that is exact.
pub(crate) fn format_duration(duration: Duration) -> String {
    match u64::try_from(duration.as_millis()) {
        Ok(0) => "0s".to_owned(),
        milliseconds => format(milliseconds.unwrap_or(u64::MAX), &MILLISECONDS),
    }
}

/// The size as [`size`] reads it, in the largest unit that is exact.
pub(crate) fn format_size(bytes: u64) -> String {
    format(bytes, &BYTES)
}

fn scaled(text: &str, units: &[(&str, u64)], remedy: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    match (number, factor) {
        ("", _) | (_, None) => Err(remedy.to_owned()),
        (number, Some(factor)) => number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .ok_or_else(|| "this is too large".to_owned()),
    }
}

fn format(value: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .rev()
        .find(|(_, factor)| value != 0 && value.is_multiple_of(*factor))
        .or_else(|| units.first())
        .map_or_else(String::new, |(name, factor)| format!("{}{name}", value / factor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_whole_numbers_with_a_unit() {
        for (text, milliseconds) in [("250ms", 250), ("60s", 60_000), ("1m", 60_000), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for (text, bytes) in [("500B", 500), ("16KiB", 16_384), ("1MiB", 1 << 20), ("007B", 7)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "s", "1", "1 s", "+1s", "-1s", "1.5s", "1S", "1w", "1s ", "1s1s", "１s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["1KB", "1kib", "1k", "1MiB/s"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn too_much_is_no_smaller_number() {
        for text in ["18446744073709551615d", "18446744073709551616ms", "213503982335d"] {
            assert_eq!(duration(text), Err("this is too large".to_owned()), "{text}");
        }
        assert!(size("17179869184GiB").is_err());
        assert!(size("17179869183GiB").is_ok());
    }

    proptest! {
        #[test]
        fn what_is_formatted_is_read(value in any::<u64>(), shift in 0..64_u32) {
            let value = value >> shift;
            let milliseconds = Duration::from_millis(value);
            prop_assert_eq!(duration(&format_duration(milliseconds)), Ok(milliseconds));
            prop_assert_eq!(size(&format_size(value)), Ok(value));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = (duration(&text), size(&text));
        }
    }
}
