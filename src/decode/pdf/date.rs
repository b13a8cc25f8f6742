//! Dates as PDF writes them, `D:20260228175959+01'00'`, as RFC 3339.

/// Everything after the year may be missing; a missing offset means UTC (ISO 32000-2, 7.9.4). `None` for what is no
/// date: many files say something else here.
pub(super) fn rfc3339(stated: &str) -> Option<String> {
    let text = stated.trim();
    let text = text.strip_prefix("D:").unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, zone) = text.split_at(end);
    if digits.len() < 4 || digits.len() > 14 || digits.len() % 2 == 1 {
        return None;
    }
    let part = |from: usize, missing: i8| digits.get(from..from + 2).map_or(Some(missing), |part| part.parse().ok());
    let year: i16 = digits.get(..4)?.parse().ok()?;
    let (month, day) = (part(4, 1)?, part(6, 1)?);
    let (hour, minute, second) = (part(8, 0)?, part(10, 0)?, part(12, 0)?);
    let local = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let offset = jiff::tz::Offset::from_seconds(offset_seconds(zone)?).ok()?;
    // The offset is kept: it tells where the author sits.
    let sign = if offset.seconds() < 0 { '-' } else { '+' };
    let minutes = offset.seconds().abs() / 60;
    let zone = match minutes {
        0 => "Z".to_owned(),
        _ => format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60),
    };
    Some(format!("{}{zone}", local.strftime("%Y-%m-%dT%H:%M:%S")))
}

/// `+01'00'`, `-0330`, `Z`, `Z00'00'` or nothing.
fn offset_seconds(zone: &str) -> Option<i32> {
    let sign = match zone.bytes().next() {
        None | Some(b'Z' | b'z') => return Some(0),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 = digits.get(2..4).map_or(Ok(0), str::parse).ok()?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_rfc_3339() {
        for (stated, expected) in [
            ("D:20260228175959+01'00'", "2026-02-28T17:59:59+01:00"),
            ("D:20260228175959-0330", "2026-02-28T17:59:59-03:30"),
            ("D:20260228175959Z00'00'", "2026-02-28T17:59:59Z"),
            ("D:20260228175959+01'00", "2026-02-28T17:59:59+01:00"),
            ("20260228", "2026-02-28T00:00:00Z"),
            ("D:1999", "1999-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(stated).as_deref(), Some(expected), "{stated}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for stated in
            ["", "D:", "yesterday", "D:20261301", "D:20260230", "D:202602281759590", "D:20260228175959+99'00'"]
        {
            assert_eq!(rfc3339(stated), None, "{stated}");
        }
    }
}
