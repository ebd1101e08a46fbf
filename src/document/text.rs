//! The small languages inside values. Each says what it got and what it expected.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::quoted;

/// Reads `"250 ms"`, `"20 s"`, `"5 min"`, `"1 h"`.
pub(crate) fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let milliseconds = match unit.trim() {
        "ms" => Some(1),
        "s" => Some(1000),
        "min" => Some(60 * 1000),
        "h" => Some(60 * 60 * 1000),
        _ => None,
    };
    let duration = milliseconds
        .zip(number.parse::<u64>().ok())
        .and_then(|(unit, number)| number.checked_mul(unit))
        .map(Duration::from_millis);
    let Some(duration) = duration else {
        return Err(format!(
            "got {} when expecting a duration such as \"250 ms\", \"20 s\", \"5 min\" or \"1 h\"",
            quoted(text)
        ));
    };
    if !range.contains(&duration) {
        return Err(format!(
            "got {} when expecting a duration from \"{}\" to \"{}\"",
            quoted(text),
            shown_duration(*range.start()),
            shown_duration(*range.end())
        ));
    }
    Ok(duration)
}

/// Writes a duration so that [`duration`] reads it again; whole milliseconds are all there is.
pub(crate) fn shown_duration(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms >= 1000 && ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}

/// Names of robots, cameras and profiles go into URLs, log fields and file names: letters that survive all of them.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(is_fine) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "got {} when expecting 1 to 64 characters out of A-Z a-z 0-9 . _ -",
        quoted(text)
    ))
}

pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err(format!(
            "got {} when expecting the path of a file",
            quoted(text)
        ));
    }
    Ok(PathBuf::from(text))
}

/// The path of a file with a secret in it. A key put here by mistake is not repeated in the message.
pub(crate) fn secret_path(text: &str) -> Result<PathBuf, String> {
    if !text.starts_with(['/', '.']) {
        return Err(
            "got no path when expecting the path of a file that holds the secret, from / or ./ on"
                .to_owned(),
        );
    }
    path(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let any = Duration::ZERO..=Duration::MAX;
        for (text, milliseconds) in [
            ("250 ms", 250),
            ("20 s", 20_000),
            ("20s", 20_000),
            ("5 min", 300_000),
            ("1 h", 3_600_000),
        ] {
            let read = duration(text, any.clone()).unwrap();
            assert_eq!(read, Duration::from_millis(milliseconds), "{text}");
            assert_eq!(duration(&shown_duration(read), any.clone()), Ok(read));
        }
    }

    #[test]
    fn durations_without_sense_are_refused() {
        let any = Duration::ZERO..=Duration::MAX;
        for text in [
            "",
            "20",
            "s",
            "-1 s",
            "1.5 s",
            "20 sec",
            "99999999999999999 h",
        ] {
            assert!(duration(text, any.clone()).is_err(), "{text}");
        }
    }
}
