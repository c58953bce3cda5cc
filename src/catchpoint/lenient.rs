//! Single values as they stand in an answer, in whatever form the API may write them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use memchr::{memchr, memchr2, memchr3};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A part of an answer that is valid JSON, as it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(pub &'a str);

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|json| Self(json.get()))
    }
}

/// A part of an answer that is read later, or never; none if it is missing or `null`.
pub type Raw<'a> = Option<Json<'a>>;

/// Reads a part of an answer; none if it is missing or of another form.
pub fn read<'a, T: Deserialize<'a>>(raw: Raw<'a>) -> Option<T> {
    serde_json::from_str(raw?.0).ok()
}

/// An id and its name, as both versions write tests, nodes, metrics and times; v2 with their type.
pub struct Named<'a> {
    /// The type.
    pub kind: Raw<'a>,
    /// The id.
    pub id: Raw<'a>,
    /// The name.
    pub name: Raw<'a>,
}

impl<'a> Named<'a> {
    /// Reads an object; none if it is missing or something else.
    pub fn of(json: Raw<'a>) -> Option<Self> {
        let [kind, id, name] = fields(json?, ["type", "id", "name"])?;
        Some(Self { kind, id, name })
    }
}

/// Tells `null` from a missing key: for `#[serde(default, deserialize_with = "…")]`.
///
/// # Errors
/// Of the value itself.
pub fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Most rows of a page. Each takes memory besides the page's text, and a page of real rows that is as
/// large as a page may be has half as many.
pub const MAX_ROWS: usize = 1 << 20;

/// What an error says of a page with more of them.
pub const TOO_MANY_ROWS: &str = "the answer has more than 1048576 rows";

/// Most bytes of one row, or of the names of the metrics.
pub const MAX_ROW: usize = 1 << 20;

/// A part of a list that is kept while a page is read.
pub trait Part {
    /// As many rows take the same memory.
    fn rows(&self) -> usize {
        1
    }
}

impl Part for Json<'_> {}

/// Reads a list that has no more than [`MAX_ROWS`] rows: for `#[serde(default, deserialize_with = "…")]`.
///
/// # Errors
/// [`TOO_MANY_ROWS`], or of a part.
pub fn rows<'de, T, D>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de> + Part,
    D: Deserializer<'de>,
{
    struct Rows<T>(Vec<T>);

    impl<'de, T: Deserialize<'de> + Part> Visitor<'de> for Rows<T> {
        type Value = Option<Vec<T>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut left = MAX_ROWS;
            while let Some(part) = list.next_element::<T>()? {
                left = left
                    .checked_sub(part.rows())
                    .ok_or_else(|| A::Error::custom(TOO_MANY_ROWS))?;
                self.0.push(part);
            }
            Ok(Some(self.0))
        }
    }

    deserializer.deserialize_any(Rows(Vec::new()))
}

/// A whole number: as a number, also with `.0`, or as a text of digits; anything else is none.
pub fn whole_number(raw: Raw<'_>) -> Option<u64> {
    /// 2^53, up to which every whole number is an f64 of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let exact = |number: &f64| (0.0..=EXACT).contains(number) && number.fract() == 0.0;
    let text = raw?.0;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) if text.starts_with('"') => read::<Cow<'_, str>>(raw)?.trim().parse().ok(),
        Err(_) => text.parse().ok().filter(exact).map(|number| number as u64),
    }
}

/// A yes or no, as a word or as a text; none if it is neither.
pub fn flag(raw: Raw<'_>) -> Option<bool> {
    let word = raw?.0.trim_matches('"');
    let yes = word.eq_ignore_ascii_case("true");
    (yes || word.eq_ignore_ascii_case("false")).then_some(yes)
}

/// A text or a number, as a text; nothing and `null` are an empty option. None if something else
/// stands there, or a text that cannot be read.
pub fn text_or_nothing(raw: Raw<'_>) -> Option<Option<Cow<'_, str>>> {
    let Some(raw) = raw else {
        return Some(None);
    };
    let text = raw.0;
    match text.as_bytes().first() {
        Some(b'"') => match unquoted(text) {
            // Not a JSON escape in it, nor an escaped quote at its end.
            Some(plain) if memchr(b'\\', plain.as_bytes()).is_none() => {
                Some(Some(Cow::Borrowed(plain)))
            }
            _ => read::<String>(Some(raw)).map(|text| Some(Cow::Owned(text))),
        },
        Some(b'-' | b'0'..=b'9') => Some(Some(Cow::Borrowed(text))),
        Some(b'n') => Some(None),
        _ => None,
    }
}

/// A text or a number, as a text; anything else counts as missing.
pub fn text(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    text_or_nothing(raw).flatten()
}

/// The epoch second of a time as Catchpoint writes it: with any number of fractional digits, which
/// are cut off. Without an offset of its own, and with `Z`, which v1 writes behind every time, it is
/// taken to be `offset` seconds ahead of UTC: what the answer says.
pub fn epoch_second(text: &str, offset: i64) -> Option<i64> {
    let text = text.trim();
    let plain = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    match usual_time(plain).or_else(|| plain.parse().ok()) {
        Some(time) => time.and_utc().timestamp().checked_sub(offset),
        None => DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|time| time.timestamp()),
    }
}

/// A time in the form that rows have. chrono's own parser takes many forms, and ten times as long.
fn usual_time(text: &str) -> Option<NaiveDateTime> {
    const FORM: &str = "0000-00-00T00:00:00";
    let (time, fraction) = text.split_at_checked(FORM.len())?;
    let fits = |(byte, form): (u8, u8)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == form,
    };
    let digits = |fraction: &str| fraction.bytes().all(|byte| byte.is_ascii_digit());
    let is_usual = time.bytes().zip(FORM.bytes()).all(fits)
        && (fraction.is_empty() || fraction.strip_prefix('.').is_some_and(digits));
    let number = |place: Range<usize>| time.get(place)?.parse::<u32>().ok();
    let year = i32::try_from(number(0..4).filter(|_| is_usual)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(5..7)?, number(8..10)?)?;
    date.and_hms_opt(number(11..13)?, number(14..16)?, number(17..19)?)
}

/// The same, rounded up: the first whole second that lies behind a time.
pub fn epoch_second_up(text: &str, offset: i64) -> Option<i64> {
    let (_, fraction) = text.split_once('.').unwrap_or_default();
    let mut digits = fraction.bytes().take_while(u8::is_ascii_digit);
    let up = digits.any(|digit| digit != b'0');
    epoch_second(text, offset)?.checked_add(i64::from(up))
}

/// The values of a JSON list that is valid, as they stand.
#[derive(Debug, Clone, Default)]
pub struct Values<'a>(&'a str);

impl<'a> Values<'a> {
    /// The values of a list; none if it is no list.
    pub fn of(list: Json<'a>) -> Option<Self> {
        Some(Self(list.0.strip_prefix('[')?.strip_suffix(']')?))
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        // Most are numbers with a comma right behind them.
        let number = self.0.bytes().position(|byte| !matches!(byte, b'-'..=b'9'));
        let before_comma = number.and_then(|end| self.0.split_at_checked(end));
        let (value, rest) = match before_comma {
            Some((number, rest)) if !number.is_empty() && rest.starts_with(',') => (number, rest),
            _ => split_value(self.0.trim_ascii_start())?,
        };
        self.0 = after_comma(rest);
        Some(Json(value))
    }
}

/// The fields of these names of a JSON object that is valid, as they stand; `null` counts as missing.
/// None if it is no object. This is for the rows, which are most of an answer: serde would look at
/// each byte of them once more.
pub fn fields<'a, const N: usize>(object: Json<'a>, names: [&str; N]) -> Option<[Raw<'a>; N]> {
    let mut found = [None; N];
    let mut rest = object
        .0
        .strip_prefix('{')?
        .strip_suffix('}')?
        .trim_ascii_start();
    while !rest.is_empty() {
        let (name, value) = split_value(rest)?;
        let (value, more) = split_value(value.strip_prefix(':')?.trim_ascii_start())?;
        let name = unquoted(name)?;
        let place = names.iter().position(|known| *known == name);
        if let Some(place) = place.and_then(|place| found.get_mut(place)) {
            *place = (value != "null").then_some(Json(value));
        }
        rest = after_comma(more).trim_ascii_start();
    }
    Some(found)
}

/// What is between the quotes of a JSON text.
fn unquoted(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

/// What follows the comma that a text begins with, if it does.
fn after_comma(json: &str) -> &str {
    match json.as_bytes().first() {
        Some(b',') => json.get(1..).unwrap_or_default(),
        _ => json,
    }
}

/// The first value of what is inside of a list or an object that is valid, and what follows it and
/// its blanks.
fn split_value(json: &str) -> Option<(&str, &str)> {
    let bytes = json.as_bytes();
    let end = match bytes.first()? {
        b'"' => memchr2(b'"', b'\\', bytes.get(1..)?)
            .map(|at| at + 1)
            .filter(|at| bytes.get(*at) == Some(&b'"'))
            .map(|at| at + 1),
        // Most lists are of numbers, and end with the first bracket.
        b'[' => memchr(b']', bytes)
            .filter(|at| memchr3(b'"', b'[', b'{', bytes.get(1..*at).unwrap_or_default()).is_none())
            .map(|at| at + 1),
        b'{' => None,
        _ => {
            let is_end = |byte: &u8| matches!(byte, b',' | ..=b' ');
            Some(bytes.iter().position(is_end).unwrap_or(bytes.len()))
        }
    };
    let end = match end {
        Some(end) => end,
        None => {
            let mut values = serde_json::Deserializer::from_str(json).into_iter::<&RawValue>();
            values.next()?.ok()?;
            values.byte_offset()
        }
    };
    let (value, rest) = json.split_at_checked(end)?;
    Some((value, rest.trim_ascii_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_come_in_many_forms() {
        for (json, expect) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("7e2", Some(700)),
            ("\"7\"", Some(7)),
            ("\" 7 \"", Some(7)),
            ("\"\\u0037\"", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("1e400", None),
            ("-1", None),
            ("0.5", None),
            ("null", None),
            ("\"\\ud83d\"", None),
            ("[7]", None),
        ] {
            assert_eq!(whole_number(Some(Json(json))), expect, "{json}");
        }
    }

    #[test]
    fn texts_come_in_many_forms() {
        for (json, expect) in [
            ("\"2\"", Some(Some("2"))),
            ("2", Some(Some("2"))),
            ("\"a\\\"\"", Some(Some("a\""))),
            ("\"\"", Some(Some(""))),
            ("null", Some(None)),
            ("true", None),
            ("\"\\ud83d\"", None),
            ("{}", None),
        ] {
            let text = text_or_nothing(Some(Json(json)));
            let text = text.as_ref().map(|text| text.as_deref());
            assert_eq!(text, expect, "{json}");
        }
    }

    #[test]
    fn c10_a_time_has_its_own_offset_or_the_answers() {
        let check = |text, offset, expect: &str| {
            let time = epoch_second(text, offset).and_then(|s| DateTime::from_timestamp(s, 0));
            let time = time.map(|time| time.format("%dT%H:%M:%S").to_string());
            assert_eq!(time.unwrap_or_default(), expect, "{text}");
        };
        check("2026-03-01T12:00:00", 0, "01T12:00:00");
        check("2026-03-01T12:00:00.9999999Z", 0, "01T12:00:00");
        check("2026-03-01T12:00:00Z", -8 * 3600, "01T20:00:00");
        check("2026-03-01T12:00:00", 5 * 3600 + 1800, "01T06:30:00");
        check("2026-03-01T12:00:00+01:00", -8 * 3600, "01T11:00:00");
        check("yesterday", 0, "");
    }

    #[test]
    fn a_list_is_taken_apart() {
        let list = r#"[1, -2.5e3 ,null,"a,]\"b" , [1,{"c":2}],{"d":[3]},true]"#;
        let values: Vec<&str> = Values::of(Json(list)).unwrap().map(|json| json.0).collect();
        let expect = [
            "1",
            "-2.5e3",
            "null",
            r#""a,]\"b""#,
            r#"[1,{"c":2}]"#,
            r#"{"d":[3]}"#,
            "true",
        ];
        assert_eq!(values, expect);
        assert_eq!(Values::of(Json("[ ]")).unwrap().count(), 0);
        assert!(Values::of(Json("7")).is_none());
    }
    #[test]
    fn an_object_is_taken_apart() {
        let check = |object, expect| {
            let found = fields(Json(object), ["a", "b"])
                .map(|found| found.map(|raw| raw.map(|json| json.0)));
            assert_eq!(found, expect, "{object}");
        };
        check(
            r#"{"a":[1,2],"b":"x"}"#,
            Some([Some("[1,2]"), Some(r#""x""#)]),
        );
        check(r#"{ "c" : {"a":1} , "b" : 7 }"#, Some([None, Some("7")]));
        check(
            r#"{"a":["]",[1]],"b":null}"#,
            Some([Some(r#"["]",[1]]"#), None]),
        );
        check(
            r#"{"a":"\"}","b":true}"#,
            Some([Some(r#""\"}""#), Some("true")]),
        );
        check(
            r#"{"a\"":1,"":2,"a":"","b":{}}"#,
            Some([Some(r#""""#), Some("{}")]),
        );
        check("{ }", Some([None, None]));
        check("[1]", None);
    }
}
