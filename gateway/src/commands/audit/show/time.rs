//! Moments as people type them.

use time::{Date, Month};

/// Milliseconds since 1970, or a date, or a date and a time of day in UTC.
pub fn parse(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    moment(text).ok_or_else(|| "must be like 2026-11-25, 2026-11-25T08:30 (UTC), or milliseconds since 1970".into())
}

fn moment(text: &str) -> Option<i64> {
    let text = text.trim_end_matches('Z');
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers::<3>(date, '-')?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(year.into(), month, u8::try_from(day).ok()?).ok()?;
    let [hour, minute, second] = match numbers::<2>(time, ':') {
        Some([hour, minute]) => [hour, minute, 0],
        None => numbers::<3>(time, ':')?,
    };
    let small = |number: u16| u8::try_from(number).ok();
    let at = date.with_hms(small(hour)?, small(minute)?, small(second)?).ok()?;
    Some(at.assume_utc().unix_timestamp() * 1000)
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[u16; N]> {
    let number = |text: &str| {
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| text.parse().ok())?
    };
    text.split(separator).map(number).collect::<Option<Vec<_>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_of_day_are_moments() {
        assert_eq!(parse("1970-01-01"), Ok(0));
        assert_eq!(parse("2000-02-29"), Ok(951_782_400_000));
        assert_eq!(parse("2027-01-15T08:00Z"), Ok(1_800_000_000_000));
        assert_eq!(parse("2027-01-15 08:00:01"), Ok(1_800_000_001_000));
        assert_eq!(parse("1800000000000"), Ok(1_800_000_000_000));
        for bad in ["gestern", "2027-13-01", "2027-01-32", "2027-02-29", "2027-01", "2027-01-01T25:00", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
