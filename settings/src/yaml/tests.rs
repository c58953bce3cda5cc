use super::*;
use crate::problem::Problems;
use insta::assert_snapshot;
use proptest::prelude::*;

/// One key of each kind.
#[derive(Debug)]
#[expect(dead_code, reason = "messages show them")]
struct Sample {
    text: Option<String>,
    number: u8,
    flag: bool,
    word: &'static str,
    api_key: Option<Secret>,
    inner: Option<String>,
    list: Option<Vec<(String, usize)>>,
}

/// What is read of a text, or all that is wrong with it.
fn read(text: &str) -> Result<Sample, String> {
    let (sample, problems) = super::read("f", text, |top| Sample {
        text: top.text("text"),
        number: top.number("number", 1..=9, 5),
        flag: top.flag("flag", true),
        word: top.choice("word", "one", &[("one", "one"), ("two", "two")]),
        api_key: top.secret("api_key"),
        inner: top.section("inner", "{ text: 'value' }", |inner| inner.text("text")),
        list: top.list("list", "a text", "write `list: [one, two]`"),
    });
    match problems.is_empty() {
        true => Ok(sample),
        false => Err(Problems(problems).to_string()),
    }
}

/// The text of the key `text`.
fn text_of(text: &str) -> Option<String> {
    read(text).unwrap().text
}

#[test]
fn a_text_is_taken_as_it_was_written() {
    for written in [
        "0123",
        "1e5",
        "0x1F",
        "1.10",
        "True",
        "1_000",
        "2026-01-01",
        "18446744073709551616",
        "!x",
    ] {
        let quoted = format!("text: '{written}'");
        assert_eq!(text_of(&quoted).as_deref(), Some(written));
        if !written.starts_with('!') {
            assert_eq!(
                text_of(&format!("text: {written}")).as_deref(),
                Some(written)
            );
        }
    }
    assert_eq!(text_of("text: 'null'").as_deref(), Some("null"));
    assert_eq!(text_of("text: !!str 0123").as_deref(), Some("0123"));
    assert_eq!(text_of("text: |\n  a\n  b\n").as_deref(), Some("a\nb\n"));
    for nothing in [
        "",
        "text:",
        "text: ~",
        "text: null",
        "# only this",
        "---\n...",
    ] {
        assert_eq!(text_of(nothing), None, "{nothing}");
    }
}

#[test]
fn anchors_and_aliases_are_read() {
    assert_eq!(
        text_of("inner: { text: &a x }\ntext: *a").as_deref(),
        Some("x")
    );
    // A lone value is a list of one.
    let read = read("text: &a x\nlist: *a\n").unwrap();
    assert_eq!(read.list, Some(vec![("x".to_owned(), 9)]));
}

#[test]
fn line_ends_and_byte_order_marks_are_read() {
    assert_eq!(
        text_of("\u{feff}text: a\r\nnumber: 3\r\n").as_deref(),
        Some("a")
    );
    assert_snapshot!(read("\u{feff}text: a\r\n\tnumber: x\r\n").unwrap_err());
}

/// Aliases of a long list or text make gigabytes of a small file, far below the YAML crate's own limit.
#[test]
fn aliases_of_something_long_are_limited() {
    let many = |part: &str| part.repeat(1_000);
    let texts = [
        format!("text: &a {}\nlist: [{}]\n", many("xxxx"), many("*a, ")),
        format!("list: &a [{}]\nword: [{}]\n", many("x, "), many("*a, ")),
        format!("list: &a [{}]\n{}", many("x, "), {
            let lines = (0..1_000).map(|n| format!("k{n}: *a\n"));
            lines.collect::<String>()
        }),
    ];
    for text in texts {
        let words = read(&text).unwrap_err();
        assert!(words.contains("repeats too much by `*`"), "{words}");
    }
}

/// Each kind of problem and its message, in one file.
#[test]
fn every_message() {
    let bomb = (1..9).fold(
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(),
        |text, n| {
            let before = format!("*a{}, ", n - 1).repeat(10);
            format!("{text}a{n}: &a{n} [{before}]\n")
        },
    );
    let deep = "[".repeat(500);
    let many: String = (0..60).map(|n| format!("unknown{n}: 1\n")).collect();
    let texts = [
        (
            "all at once",
            "text: [a]\nnumber: 12\nflag: yes\nword: three\ninner: x\nlist: {a: b}\nnumbr: 3\nzzzzzzzzz: 1\n",
        ),
        ("a nested key", "inner:\n  text: {a: b}\n  txet: 1\n"),
        ("no map", "- a\n- b\n"),
        ("one word", "hello"),
        ("a key twice", "text: a\nnumber: 3\ntext: b\n"),
        ("an unknown key twice", "x: a\nx: b\n"),
        ("a tag on a secret", "api_key: !hunter2\n"),
        ("a tag on a value", "text: !secret abc\n"),
        ("a core tag that does not fit", "number: !!int hunter2\n"),
        ("a list as a key", "[a, b]: 1\n"),
        ("a merge key", "inner: &a { text: x }\n<<: *a\n"),
        ("a second document", "text: a\n---\nnumber: 3\n"),
        ("a broken second document", "text: a\n---\nnumber: [3\n"),
        ("an open quote", "text: 'a\nnumber: 3\n"),
        ("an open list", "list: [a,\nnumber: 3\n"),
        (
            "a list that was never opened",
            "inner: {\n text: '1','2'],\n}\n",
        ),
        ("a list without brackets", "list: '1','2'\n"),
        ("a tab as indent", "inner:\n\ttext: a\n"),
        ("a missing colon", "text a\nnumber: 3\n"),
        ("a control character", "text: a\u{7}b\n"),
        ("an unknown alias", "text: *nobody\n"),
        ("an alias inside of its anchor", "list: &a [*a]\n"),
        ("aliases of aliases", bomb.as_str()),
        ("deep nesting", deep.as_str()),
        ("more than fifty", many.as_str()),
    ];
    let all: Vec<String> = texts
        .into_iter()
        .map(|(name, text)| {
            let words = read(text).map_or_else(|words| words, |sample| format!("READ {sample:?}"));
            let words: Vec<&str> = words.lines().collect();
            let tail = words
                .get(words.len().saturating_sub(2)..)
                .unwrap_or_default();
            match words.len() {
                0..40 => format!("# {name}\n{}", words.join("\n")),
                lines => format!("# {name}\n({lines} lines)\n{}", tail.join("\n")),
            }
        })
        .collect();
    assert_snapshot!(all.join("\n\n"));
}

/// Texts that put a secret into every position that YAML has for it.
#[test]
fn c16_no_message_shows_a_secret() {
    for text in [
        "api_key: 'hunter2\n",
        "api_key: [hunter2]\n",
        "api_key:\n  [hunter2]\n",
        "api_key: !hunter2\n",
        "api_key: !x hunter2\n",
        "api_key: !!int hunter2\n",
        "api_key: *hunter2\n",
        "api_key: |\n  a: hunter2\n b\n",
        "api_key: >\n  a: b\n  hunter2\n : [\n",
        "api_key: \"a\n  hunter2\n",
        "{ text: [], api_key: hunter2 }\n",
        "apikey: hunter2\n",
        "client_secret: hunter2: x\n",
        "flag: x\napi_key: hunter2\napi_key: hunter2\n",
        "unknown: { deep: hunter2 }\n",
        "inner: { text: [], pass: hunter2 }\n",
        "{ \"p\\x61ss\": hunter2, number: x }\n",
        "{ pass:\n hunter2, number: x }\n",
    ] {
        let shown = read(text).expect_err(text);
        assert!(!shown.contains("hunter2"), "{text}{shown}");
    }
}

/// Bits of YAML, so that random texts reach every part of the reader.
fn yaml() -> impl Strategy<Value = String> {
    let bit = prop_oneof![
        Just("text: ".to_owned()),
        Just("number: ".to_owned()),
        Just("inner:\n  text: ".to_owned()),
        Just("list: ".to_owned()),
        Just("- ".to_owned()),
        Just("<<: ".to_owned()),
        Just("*a ".to_owned()),
        Just("&a ".to_owned()),
        Just("!!int ".to_owned()),
        Just("---\n".to_owned()),
        "[\\[\\]{}'\",:!|>%@?#~\t\r\n -]",
        "[a-z0-9]{1,3}\n?",
        "\\PC",
        "[\\x00-\\x1f\u{85}\u{2028}\u{feff}]",
    ];
    prop::collection::vec(bit, 0..24).prop_map(|bits| bits.concat())
}

proptest! {
    #[test]
    fn no_text_panics_the_reader(text in yaml()) {
        if let Err(words) = read(&text) {
            prop_assert!(words.starts_with("f:"), "{}", words);
        }
    }

    /// Whatever stands around a secret, its value is never in a message.
    #[test]
    fn c16_no_secret_value_is_ever_in_a_message(before in yaml(), after in yaml(), open in "[\\[{'\"!|>&]?(\n )?") {
        let text = format!("{before}\napi_key: {open}hunter2{after}\n");
        if let Err(words) = read(&text) {
            prop_assert!(!words.contains("hunter2"), "{}\n=>\n{}", text, words);
        }
    }
}
