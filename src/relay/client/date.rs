//! Dates as HTTP writes them and as people read them.

use std::fmt;

/// Seconds since 1970 in UTC, shown as `2026-11-22 09:40:00 UTC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UtcSeconds(pub(super) u64);

impl UtcSeconds {
    /// Reads the form that HTTP prefers, `Sun, 06 Nov 1994 08:49:37 GMT`. RFC 9110, section 5.6.7; nobody sends the old ones.
    pub(super) fn parse_http(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace().skip(1);
        let day: u64 = words.next()?.parse().ok()?;
        let month = words.next()?;
        let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
        let year: u64 = words.next()?.parse().ok()?;
        let mut clock = words.next()?.splitn(3, ':').map(str::parse::<u64>);
        let hour = clock.next()?.ok()?;
        let minute = clock.next()?.ok()?;
        let second = clock.next()?.ok()?;
        let sane = (1970..=9999).contains(&year)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60;
        if !sane || words.next() != Some("GMT") {
            return None;
        }
        let days = days_before_year(year) + days_before_month(year, month) + day - 1;
        Some(Self(days * 86_400 + hour * 3600 + minute * 60 + second))
    }
}

impl fmt::Display for UtcSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        // A year has at most 366 days: the first guess is never late.
        let mut year = 1970 + days / 366;
        while days_before_year(year + 1) <= days {
            year += 1;
        }
        let day = days - days_before_year(year);
        let month = (1..=12)
            .rev()
            .find(|month| days_before_month(year, *month) <= day)
            .unwrap_or(1);
        let day = day - days_before_month(year, month) + 1;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}

fn days_before_year(year: u64) -> u64 {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969)
}

fn days_before_month(year: u64, month: u64) -> u64 {
    const DAYS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days: u64 = DAYS.iter().take(month as usize - 1).sum();
    days + u64::from(leap && month > 2)
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_of_the_standard_and_of_leap_years_are_read_and_shown() {
        for (http, seconds, shown) in [
            (
                "Sun, 06 Nov 1994 08:49:37 GMT",
                784_111_777,
                "1994-11-06 08:49:37 UTC",
            ),
            (
                "Thu, 01 Jan 1970 00:00:00 GMT",
                0,
                "1970-01-01 00:00:00 UTC",
            ),
            (
                "Thu, 29 Feb 2024 12:00:00 GMT",
                1_709_208_000,
                "2024-02-29 12:00:00 UTC",
            ),
            (
                "Wed, 31 Dec 2025 23:59:59 GMT",
                1_767_225_599,
                "2025-12-31 23:59:59 UTC",
            ),
            (
                "Mon, 01 Mar 2100 00:00:00 GMT",
                4_107_542_400,
                "2100-03-01 00:00:00 UTC",
            ),
        ] {
            assert_eq!(
                UtcSeconds::parse_http(http),
                Some(UtcSeconds(seconds)),
                "{http}"
            );
            assert_eq!(UtcSeconds(seconds).to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String, day: u64, year: u64) {
            let _ = UtcSeconds::parse_http(&text);
            let _ = UtcSeconds::parse_http(&format!("Sun, {day} Nov {year} 08:49:37 GMT"));
        }

        #[test]
        fn what_is_shown_is_what_was_read(seconds in 0..253_402_300_800_u64) {
            let shown = UtcSeconds(seconds).to_string();
            let (date, clock) = shown.split_once(' ').unwrap();
            let (year, date) = date.split_once('-').unwrap();
            let (month, day) = date.split_once('-').unwrap();
            let month = MONTHS[month.parse::<usize>().unwrap() - 1];
            let clock = clock.trim_end_matches(" UTC");
            let http = format!("Sun, {day} {month} {year} {clock} GMT");
            prop_assert_eq!(UtcSeconds::parse_http(&http), Some(UtcSeconds(seconds)));
        }
    }
}
