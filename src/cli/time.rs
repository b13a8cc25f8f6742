//! Times as people write and read them.

/// µs since 1970 of a time, a day (its start in UTC), or a span before now.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    let mistake = || "a time such as 2026-11-21T08:00:00Z, a day such as 2026-11-21, or a span such as 2h".to_owned();
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_microsecond());
    }
    // Of a time without its zone the parser of days would drop the hours.
    if text.len() == "2026-11-21".len()
        && let Ok(day) = text.parse::<jiff::civil::Date>()
    {
        return day
            .to_zoned(jiff::tz::TimeZone::UTC)
            .map(|day| day.timestamp().as_microsecond())
            .map_err(|_| mistake());
    }
    let span: jiff::Span = text.parse().map_err(|_| mistake())?;
    let ago = span.abs().to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| mistake())?;
    jiff::Timestamp::now().checked_sub(ago).map(|time| time.as_microsecond()).map_err(|_| mistake())
}

/// A time (µs since 1970) to the second; empty where no calendar has it.
pub(super) fn shown(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map(|time| format!("{time:.0}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_be_absolute_days_or_spans() {
        assert_eq!(parse("2026-11-21T08:00:00Z"), Ok(1_795_248_000_000_000));
        assert_eq!(parse("2026-11-21"), Ok(1_795_219_200_000_000));
        let ago = |text| {
            let then = parse(text).unwrap();
            jiff::Timestamp::now().as_microsecond() - then
        };
        assert!((7_200_000_000..7_260_000_000).contains(&ago("2h")));
        assert!((259_200_000_000..259_260_000_000).contains(&ago("3d")));
        for mistake in ["yesterday", "2026-11-21T08:00:00", "2026-02-30", "7"] {
            assert!(parse(mistake).is_err(), "{mistake}");
        }
    }
}
