//! Single values as they stand in an answer, in whatever form the API may write them.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime};
use memchr::{memchr, memchr2, memchr3};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A part of an answer that is read later, or never.
pub type Raw<'a> = Option<&'a RawValue>;

/// Reads a part of an answer; none if it is missing or of another form.
pub fn read<'a, T: Deserialize<'a>>(raw: Raw<'a>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// An id and its name, as both versions write tests, nodes, metrics and times; v2 with their type.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct Named<'a> {
    /// The type.
    #[serde(rename = "type")]
    pub kind: Raw<'a>,
    /// The id.
    pub id: Raw<'a>,
    /// The name.
    pub name: Raw<'a>,
}

impl<'a> Named<'a> {
    /// A part of a row; none if it is missing or of another form.
    pub fn of_row(json: Option<&'a str>) -> Option<Self> {
        let [kind, id, name] = fields(json?, ["type", "id", "name"])?.map(raw);
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

/// A whole number: as a number, also with `.0`, or as a text of digits; anything else is none.
pub fn whole_number(raw: Raw<'_>) -> Option<u64> {
    /// 2^53, up to which every whole number is an f64 of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let exact = |number: &f64| (0.0..=EXACT).contains(number) && number.fract() == 0.0;
    let text = raw?.get();
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) if text.starts_with('"') => read::<Cow<'_, str>>(raw)?.trim().parse().ok(),
        Err(_) => text.parse().ok().filter(exact).map(|number| number as u64),
    }
}

/// A yes or no, as a word or as a text; none if it is neither.
pub fn flag(raw: Raw<'_>) -> Option<bool> {
    let word = raw?.get().trim_matches('"');
    let yes = word.eq_ignore_ascii_case("true");
    (yes || word.eq_ignore_ascii_case("false")).then_some(yes)
}

/// A text or a number, as a text; nothing and `null` are an empty option. None if something else
/// stands there, or a text that cannot be read.
pub fn text_or_nothing(raw: Raw<'_>) -> Option<Option<Cow<'_, str>>> {
    let Some(raw) = raw else {
        return Some(None);
    };
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => match text.trim_matches('"') {
            // Not a JSON escape in it, nor an escaped quote at its end.
            plain if !text.contains('\\') => Some(Some(Cow::Borrowed(plain))),
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
    match plain.parse::<NaiveDateTime>() {
        Ok(time) => time.and_utc().timestamp().checked_sub(offset),
        Err(_) => DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|time| time.timestamp()),
    }
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
    pub fn of(list: &'a str) -> Option<Self> {
        Some(Self(list.strip_prefix('[')?.strip_suffix(']')?))
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (value, rest) = split_value(self.0.trim_ascii_start())?;
        self.0 = after_comma(rest);
        Some(value)
    }
}

/// The fields of these names of a JSON object that is valid, as they stand; `null` counts as missing.
/// None if it is no object. This is for the rows, which are most of an answer: serde would look at
/// each byte of them once more.
pub fn fields<'a, const N: usize>(
    object: &'a str,
    names: [&str; N],
) -> Option<[Option<&'a str>; N]> {
    let mut found = [None; N];
    let mut rest = object
        .strip_prefix('{')?
        .strip_suffix('}')?
        .trim_ascii_start();
    while !rest.is_empty() {
        let (name, value) = split_value(rest)?;
        let (value, more) = split_value(value.strip_prefix(':')?.trim_ascii_start())?;
        let name = name.trim_matches('"');
        let place = names.iter().position(|known| *known == name);
        if let Some(place) = place.and_then(|place| found.get_mut(place)) {
            *place = (value != "null").then_some(value);
        }
        rest = after_comma(more).trim_ascii_start();
    }
    Some(found)
}

/// A part of an answer that is known to be JSON.
pub fn raw(json: Option<&str>) -> Raw<'_> {
    serde_json::from_str(json?).ok()
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

    fn raw(json: &str) -> &RawValue {
        super::raw(Some(json)).unwrap()
    }

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
            assert_eq!(whole_number(Some(raw(json))), expect, "{json}");
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
            let text = text_or_nothing(Some(raw(json)));
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
        let values: Vec<&str> = Values::of(list).unwrap().collect();
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
        assert_eq!(Values::of("[ ]").unwrap().count(), 0);
        assert!(Values::of("7").is_none());
    }
    #[test]
    fn an_object_is_taken_apart() {
        let check = |object, expect| assert_eq!(fields(object, ["a", "b"]), expect, "{object}");
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
