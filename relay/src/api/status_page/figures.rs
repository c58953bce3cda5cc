//! Numbers as people read them, and as charts.

use maud::{Markup, html};

use crate::history::MINUTES;

/// Width of a bar and height of a chart, in its own coordinates.
const BAR_WIDTH: usize = 4;
const HEIGHT: u64 = 40;

/// `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 line`, `12,345 lines`.
pub fn counted(number: u64, noun: &str) -> String {
    let (plural, number) = (if number == 1 { "" } else { "s" }, count(number));
    format!("{number} {noun}{plural}")
}

/// `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`.
pub fn duration(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..3600 => format!("{minutes} min"),
        3600..86400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

/// `512 bytes`, `3.4 MiB`.
pub fn bytes(number: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(shift, _)| number >> shift > 0) {
        Some((shift, unit)) => format!("{:.1} {unit}", number as f64 / (1_u64 << shift) as f64),
        None => counted(number, "byte"),
    }
}

/// `21:17:05 UTC` of a time in seconds since 1970.
pub fn clock_time(time: u64) -> String {
    let (hours, minutes, seconds) = (time / 3600 % 24, time / 60 % 60, time % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02} UTC")
}

/// A chart of values, one a minute, the newest at the right, with a name that says the same in words.
pub fn sparkline(what: &str, values: &[u64]) -> Markup {
    let highest = values.iter().copied().max().unwrap_or(0);
    let newest_first = values.iter().rev().zip((0..MINUTES).rev());
    let bars: String = newest_first
        .map(|(value, minute)| {
            let x = minute * BAR_WIDTH + BAR_WIDTH / 2;
            let top = HEIGHT - (*value as f64 / highest.max(1) as f64 * HEIGHT as f64) as u64;
            format!("M{x} {HEIGHT}V{top}")
        })
        .collect();
    let last = count(values.last().copied().unwrap_or(0));
    let (minutes, highest) = (values.len(), count(highest));
    let name = format!("{what}, last {minutes} min: up to {highest}, now {last}");
    html! {
        svg viewBox={ "0 0 " (MINUTES * BAR_WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(name) {
            path d=(bars) {}
        }
        p.span { "Last " (minutes) " min, up to " (highest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let check = |text: String, expect: &str| assert_eq!(text, expect);
        check(count(0), "0");
        check(count(999), "999");
        check(count(1_234_567), "1,234,567");
        check(counted(1, "line"), "1 line");
        check(counted(1000, "line"), "1,000 lines");
        check(duration(119), "119 s");
        check(duration(3599), "59 min");
        check(duration(12_000), "3 h 20 min");
        check(duration(187_200), "2 d 4 h");
        check(bytes(1), "1 byte");
        check(bytes(1_073_741_824), "1.0 GiB");
        check(bytes(3_565_158), "3.4 MiB");
        check(clock_time(1_764_278_225), "21:17:05 UTC");
    }

    #[test]
    fn a_chart_stays_in_its_box() {
        let check = |values: &[u64], bars: &str| {
            let markup = sparkline("Lines", values).into_string();
            assert!(markup.contains(&format!("d=\"{bars}\"")), "{markup}");
        };
        check(&[], "");
        check(&[0], "M238 40V40");
        check(&[3, u64::MAX, 0], "M238 40V40M234 40V0M230 40V40");
        let all = sparkline("Lines", &[7; MINUTES]).into_string();
        assert!(all.contains("M2 40V0\""), "{all}");
    }
}
