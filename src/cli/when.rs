//! Moments as people type them: `2026-01-31`, `2026-01-31T08:00:00Z`, or how long ago: `7d`, `12h`.

use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};

/// The moment, µs since 1970: of RFC 3339, the beginning of a day (UTC), or so long before now.
///
/// # Errors
/// What is none of these, in words for people.
pub fn parse(text: &str) -> Result<i64, String> {
    at(text, Timestamp::now())
}

fn at(text: &str, now: Timestamp) -> Result<i64, String> {
    let moment = if let Ok(moment) = text.parse::<Timestamp>() {
        Some(moment)
    } else if is_date(text) {
        text.parse::<Date>().and_then(|date| date.to_zoned(TimeZone::UTC)).map(|day| day.timestamp()).ok()
    } else {
        let before = |span: Span| now.to_zoned(TimeZone::UTC).checked_sub(span.abs());
        text.parse::<Span>().and_then(before).map(|then| then.timestamp()).ok()
    };
    moment
        .map(Timestamp::as_microsecond)
        .ok_or_else(|| "a date (2026-01-31), a time (2026-01-31T08:00:00Z) or how long ago (7d, 12h)".to_owned())
}

/// Whether a text has a date's form; the parser of dates also takes times, and drops their hours.
fn is_date(text: &str) -> bool {
    text.len() == "2026-01-31".len() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_times_and_spans_are_moments() {
        let now: Timestamp = "2026-03-10T12:00:00Z".parse().unwrap();
        for (typed, moment) in [
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31T08:30:00+01:00", "2026-01-31T07:30:00Z"),
            ("2026-01-31T08:30:00.5Z", "2026-01-31T08:30:00.5Z"),
            ("7d", "2026-03-03T12:00:00Z"),
            ("36h", "2026-03-09T00:00:00Z"),
            ("1mo", "2026-02-10T12:00:00Z"),
            ("2w", "2026-02-24T12:00:00Z"),
        ] {
            let moment: Timestamp = moment.parse().unwrap();
            assert_eq!(at(typed, now), Ok(moment.as_microsecond()), "{typed}");
        }
        for nothing in ["", "soon", "2026-02-30", "2026-01-31T08:30:00", "7", "99999y"] {
            assert!(at(nothing, now).is_err(), "{nothing}");
        }
    }
}
