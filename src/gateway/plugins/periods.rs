//! Periods that limits are counted by: when the current one began, in UTC.

/// A period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
}

impl Period {
    /// Every period, the shortest first.
    pub const ALL: [Period; 6] =
        [Period::Second, Period::Minute, Period::Hour, Period::Day, Period::Month, Period::Year];

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Period::Second => "second",
            Period::Minute => "minute",
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Month => "month",
            Period::Year => "year",
        }
    }

    /// Its length in seconds; months have 30 days and years 365.
    pub fn seconds(self) -> u64 {
        match self {
            Period::Second => 1,
            Period::Minute => 60,
            Period::Hour => 3600,
            Period::Day => 86_400,
            Period::Month => 2_592_000,
            Period::Year => 31_536_000,
        }
    }

    /// When the period that holds `now` began; both in seconds since 1970.
    pub fn start(self, now: u64) -> u64 {
        match self {
            Period::Second | Period::Minute | Period::Hour | Period::Day => now - now % self.seconds(),
            Period::Month | Period::Year => {
                let (day_of_month, day_of_year) = day_of(now / 86_400);
                let days = if self == Period::Month { day_of_month } else { day_of_year };
                (now / 86_400 - days) * 86_400
            }
        }
    }
}

/// The day of the month and the day of the year, from 0, of a day since 1970.
fn day_of(mut days: u64) -> (u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let day_of_year = days;
    let february = if leap(year) { 29 } else { 28 };
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
    }
    (days, day_of_year)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_begin_where_the_calendar_says() {
        // 2024-03-01 00:00:10, the day after a leap day, and 2026-11-24 20:15:49.
        for (now, period, start) in [
            (1_709_251_210, Period::Minute, 1_709_251_200),
            (1_709_251_210, Period::Month, 1_709_251_200),
            (1_709_251_210, Period::Year, 1_704_067_200),
            (1_709_251_199, Period::Month, 1_706_745_600),
            (1_795_551_349, Period::Day, 1_795_478_400),
            (1_795_551_349, Period::Month, 1_793_491_200),
            (1_795_551_349, Period::Year, 1_767_225_600),
            (1_795_551_349, Period::Second, 1_795_551_349),
        ] {
            assert_eq!(period.start(now), start, "{} of {now}", period.name());
        }
    }
}
