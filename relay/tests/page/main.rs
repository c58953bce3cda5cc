//! The status page in a real Chromium, in every state that it can show: what it says, without scripts
//! too, and that it is sound by axe-core's rules in light, dark and at a phone's width. The pictures
//! of `docs/img` are among those that this leaves in `target/page`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod browser;
#[allow(dead_code, reason = "the other tests use the rest of it")]
#[path = "../it/common.rs"]
mod common;

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catchpoint_testbed::{Conduct, Signal, port};
use serde_json::json;

use browser::Browser;
use common::*;

/// Looks at the page in every way: as soon as it begins with `title`, it must have each of `texts`.
fn check(addr: SocketAddr, name: &str, title: &str, texts: &[&str]) {
    // What was posted is stored when the answer comes; carbon confirms it a moment later.
    until(title, || {
        let body = page(addr, &[("host", "localhost")]).body;
        body.contains(&format!(">{title}</h1>")).then_some(())
    });
    let mut browser = Browser::start();
    browser.stop_clocks();
    for (view, width, scheme, scripts) in [
        ("", 1000, "light", true),
        ("-dark", 1000, "dark", true),
        ("-phone", 390, "light", true),
        ("-narrow-dark", 320, "dark", true),
        ("-no-script", 1000, "light", false),
    ] {
        browser.use_width(width);
        browser.use_scheme(scheme);
        browser.use_scripts(scripts);
        // Without scripts it is opened anew again and again.
        let query = if scripts { "" } else { "?refresh=no" };
        browser.open(&format!("http://{addr}/{query}"));
        let said = browser.text();
        let heading = browser.eval("document.querySelector('h1').innerText");
        assert_eq!(heading, title, "{name}{view}");
        for text in texts {
            assert!(said.contains(text), "{name}{view}: no `{text}` in:\n{said}");
        }
        browser.picture(&format!("{name}{view}"));
        let wide = browser.eval("document.documentElement.scrollWidth");
        assert!(
            wide.as_u64() <= Some(width.into()),
            "{name}{view}: {wide} pixels wide"
        );
        if scripts {
            assert_eq!(browser.axe(), json!([]), "{name}{view}");
        }
        let complaints = &browser.complaints;
        assert!(complaints.is_empty(), "{name}{view}: {complaints:?}");
    }
}

/// What a collector reports of a run.
fn run_report(collector: &str, types: &[(&str, u64, u64)]) -> String {
    let tests: u64 = types.iter().map(|(_, tests, _)| tests).sum();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut text = format!(
        "run.milliseconds 2310\nrun.failures 0\ntests.configured {tests}\ntests.collected {tests}\n"
    );
    for (name, tests, lines) in types {
        text += &format!("types.{name}.tests {tests}\ntypes.{name}.lines {lines}\n");
    }
    let line = |line| format!("{collector}.{line} {}\n", now.as_secs());
    text.lines().map(line).collect()
}

/// `GET /` with these headers.
fn page(addr: SocketAddr, headers: &[(&str, &str)]) -> Answer {
    let mut text = "GET / HTTP/1.1\r\nconnection: close\r\n".to_owned();
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    send(addr, format!("{text}\r\n").as_bytes()).unwrap()
}

#[test]
fn data_is_flowing() {
    let minute = Duration::from_millis(250);
    let (relay, _carbon, _dir) = start_with(|settings| settings.page_minute = minute);
    for part in 0..62 {
        if part % 3 == 0 {
            let count = 600 + part * 77 % 400;
            assert_eq!(post(relay.addr, body(&lines(part, count))).status, 202);
        }
        std::thread::sleep(minute);
    }
    let types = [
        ("web", 14, 2856),
        ("api", 6, 540),
        ("dns", 3, 96),
        ("traceroute", 2, 410),
    ];
    post(relay.addr, run_report("system.cp.collector", &types));
    relay.wait_delivered();
    let texts = [
        "lines stored since the start, the last ",
        "Last 60 min",
        "It confirmed the last delivery.",
        "Collector system.cp.collector: ",
        "25 of 25 tests in 2.3 s, nothing failed.",
        "2,856",
        "None since the start.",
    ];
    check(relay.addr, "healthy", "Data is flowing", &texts);
}

fn wait_carbon(addr: SocketAddr, state: &str) {
    until(state, || {
        (get(addr, "/readyz").json()["carbon"] == state).then_some(())
    });
}

#[test]
fn carbon_is_down() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Program::start(dir.path(), port::free().unwrap(), &[]);
    post(relay.addr, body(&lines(1, 1234)));
    wait_carbon(relay.addr, "down");
    let texts = [
        "Waiting on the disk: 1,234 lines, the oldest for ",
        "It did not confirm the last delivery.",
        " failed delivery attempt",
        "Warning: carbon does not confirm: the lines stay in the spool and are sent again",
        "check that carbon runs",
        "error=it refuses connections",
        "No collector has reported a run",
    ];
    let title = "Carbon does not take data";
    check(relay.addr, "carbon-down", title, &texts);
}

#[test]
fn a_backlog_is_sent() {
    let (relay, carbon, _dir) = start_program(&[]);
    post(relay.addr, body(&lines(1, 500)));
    wait_carbon(relay.addr, "up");
    // Not so slowly that it counts as stalled: the system tells only now and then that it has read more.
    carbon.conduct(Conduct::ReadSlowly {
        bytes_per_second: 20_000,
    });
    post(relay.addr, body(&lines(2, 40_000)));
    until("a backlog", || {
        let report = get(relay.addr, "/readyz").json();
        (report["spool_oldest_age_seconds"].as_u64() >= Some(10)).then_some(())
    });
    let texts = [
        "Still to be sent: 40,000 lines, the oldest of ",
        "At the present rate this takes about ",
        "Up",
    ];
    let title = "Data is flowing, a backlog first";
    check(relay.addr, "backlog", title, &texts);
}

/// From the start of the relay to its end, on one page that is open all the time.
#[test]
fn the_page_keeps_up_with_a_relay() {
    let (dir, carbon) = (tempfile::tempdir().unwrap(), carbon());
    let disk = TestDisk::new(Conditions {
        waits: true,
        ..Conditions::default()
    });
    let addr = port::free().unwrap();
    let mut settings = settings(dir.path(), carbon.addr());
    settings.listen = vec![addr];
    // On a slow machine its own figures would be delivered first.
    settings.own_lines_interval = Duration::from_secs(3600);
    let mut browser = Browser::start();
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| Inner::start_on(settings, disk.clone()));
        until("the server", || TcpStream::connect(addr).ok());
        browser.open(&format!("http://{addr}/"));
        browser.wait_text("The relay is starting");
        let mut order = Vec::new();
        for _ in 0..3 {
            browser.press("Tab", 9);
            order.push(browser.eval("document.activeElement.innerText"));
        }
        assert_eq!(
            order,
            ["Stop refreshing", "Metrics for Prometheus", "State as JSON"]
        );
        // Who uses the keyboard sees where they are.
        let outline = browser.eval("getComputedStyle(document.activeElement).outlineStyle");
        assert_eq!(outline, "solid");
        disk.change(Conditions::default());
        let relay = starting.join().unwrap();
        let title = "No data has come since the start";
        browser.wait_text(title);
        let texts = [
            "It confirmed the last delivery.",
            "No collector has reported a run since the relay started",
            "None since the start.",
        ];
        check(addr, "first-start", title, &texts);
        post(addr, body(&lines(1, 7)));
        browser.wait_text("Data is flowing");
        let spoken = browser.eval("document.getElementById('spoken').textContent");
        let spoken = spoken.as_str().unwrap();
        assert!(
            spoken.starts_with("Data is flowing – relay on "),
            "{spoken}"
        );
        let focused = browser.eval("document.activeElement.innerText");
        assert_eq!(focused, "State as JSON");
        relay.stop();
    });
    browser.wait_text("The relay does not answer");
    browser.wait_text("Data is flowing");
    let relay = Program::start_at(addr, dir.path(), carbon.addr(), &[]);
    let gone = "The relay does not answer";
    browser.wait("the new relay on the page", |page| !page.contains(gone));
    browser.complaints.clear();

    browser.use_scripts(false);
    browser.open(&format!("http://{addr}/"));
    post(relay.addr, body(&lines(2, 4321)));
    browser.wait_text("4,321 lines stored since the start");

    browser.use_scripts(true);
    browser.open(&format!("http://{addr}/?refresh=no"));
    let moving = "document.querySelectorAll('script, noscript').length";
    assert_eq!(browser.eval(moving), 0);
    assert!(browser.text().contains("Refresh every 5 s"));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn five_hundred_lines_are_refused() {
    let (relay, _carbon, _dir) = start_program(&[]);
    let mut text = body(&lines(1, 10));
    for n in 0..500 {
        let (name, time) = ("system.cp.testdata", 1_700_000_000_u64 + n);
        text += &match n % 10 {
            0 => format!("{name}.DNS(ms);testId={n};nodeId= 12.5 {time}\n"),
            1 | 2 => format!("{name}..DNS(ms) 12.5 {time}\n"),
            3..6 => format!("{name}.DNS(ms);testId={n} nan {time}\n"),
            _ => format!("{name}.DNS(ms);testId={n} 12.5 {time}000\n"),
        };
    }
    assert_eq!(post(relay.addr, text).json()["rejected_total"], 500);
    let texts = [
        "200 lines: timestamp_too_large",
        "Beyond 32 bits, most likely milliseconds",
        "150 lines: value_not_finite",
        "100 lines: empty_node",
        "50 lines: empty_tag_value",
        "system.cp.testdata..DNS(ms) 12.5 17000000",
        "Warning: lines are refused, see rejected/lines.log in the spool",
    ];
    check(relay.addr, "refused", "Data is flowing", &texts);
}

#[test]
fn what_others_send_is_only_text() {
    let (relay, _carbon, _dir) = start_program(&[]);
    let names = [
        "<script>window.hacked=1</script>",
        "\"'><img/src=x/onerror=window.hacked=1>",
        "</code></main></body><svg/onload=window.hacked=1>",
        "a\u{202e}gpj.exe\u{2066}",
        "\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
        "&lt;b&gt;&amp;&#0;",
        "<!--",
        "]]>{{7*7}}${7*7}",
    ];
    let long = "x".repeat(9000);
    let mut expected = vec![format!("{}…", "x".repeat(200))];
    post(relay.addr, format!("{long} 1 5"));
    // Of each reason only the last examples are shown.
    let reasons = ["x 1700000000", "nan 1700000000", "1 x"];
    for (n, name) in names.iter().enumerate() {
        let line = format!("{name};a=b {}", reasons[n % reasons.len()]);
        post(relay.addr, &line);
        expected.push(line.escape_debug().to_string());
    }
    let collector = "<script>window.hacked=1<!--\"'>";
    let report = run_report(collector, &[("<img\u{202e}src=x>", 1, 2)]);
    assert_eq!(post(relay.addr, &report).json()["rejected_total"], 0);
    expected.push(format!("Collector {collector}: "));
    expected.push("<img".to_owned());
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    check(relay.addr, "hostile", "Data is flowing", &expected);

    let mut browser = Browser::start();
    browser.open(&format!("http://{}/", relay.addr));
    for (what, count) in [("script", 1), ("img", 0), ("main", 1), ("h1", 1), ("b", 0)] {
        let found = browser.eval(&format!("document.querySelectorAll('{what}').length"));
        assert_eq!(found, count, "{what}");
    }
    assert_eq!(browser.eval("window.hacked ?? 'no'"), "no");
    // Even markup that got in could do nothing.
    browser.eval(
        "for (const text of ['<img src=x onerror=window.hacked=1>', '<p style=color:red>']) {
             document.body.insertAdjacentHTML('beforeend', text);
         }
         const script = document.createElement('script');
         script.textContent = 'window.hacked = 1';
         document.body.append(script);
         0",
    );
    assert_eq!(browser.eval("window.hacked ?? 'no'"), "no");
    let complaints = &browser.complaints;
    let by_policy = |complaint: &&String| complaint.contains("Content Security Policy");
    assert!(
        complaints.iter().filter(by_policy).count() >= 3,
        "{complaints:?}"
    );
}

#[test]
fn the_page_needs_the_token_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let token = "a-token-of-the-token-file";
    let tokens = file(dir.path(), "tokens", token);
    let (relay, _carbon, _dir) = start_program(&["--token-file", &tokens]);
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    for (header, status) in [
        (None, 401),
        (Some(basic(&format!("me:{token}"))), 200),
        (Some(basic(&format!("me:{token}x"))), 401),
    ] {
        let header = header.as_deref().map(|value| ("authorization", value));
        let answer = page(relay.addr, header.as_slice());
        assert_eq!(answer.status, status, "{header:?}: {}", answer.body);
        let asked = answer
            .header("www-authenticate")
            .is_some_and(|how| how.starts_with("Basic "));
        assert_eq!(asked, status == 401, "{header:?}");
        assert!(!answer.body.contains(token));
    }
    assert_eq!(get(relay.addr, &format!("/?token={token}")).status, 401);
    // A browser sends a password along when a page of another site has it post.
    let password = basic(&format!("me:{token}"));
    let posted = |header: &str| {
        let headers = [("authorization", header)];
        post_with(relay.addr, &headers, body(&lines(1, 3))).status
    };
    assert_eq!(posted(&password), 401);

    let mut browser = Browser::start();
    browser.open(&format!("http://me:{token}@{}/", relay.addr));
    browser.wait_text("No data has come since the start");
    assert_eq!(posted(&format!("Bearer {token}")), 202);
    browser.wait_text("Data is flowing");
    assert!(!browser.text().contains("does not answer"));
    file(dir.path(), "tokens", "another-token-of-the-file");
    relay.process.signal(Signal::HUP).unwrap();
    browser.wait_text("The relay does not answer, or refuses.");
    assert!(browser.text().contains("Data is flowing"));
    assert!(!relay.process.printed().contains(token));
}

/// A page of any site may give its own name the address of this machine.
#[test]
fn without_a_token_only_this_machine_s_names_are_answered() {
    let (relay, _carbon, _dir) = start_with(|_| {});
    for (host, status) in [
        ("127.0.0.1:2080", 200),
        ("localhost", 200),
        ("[::1]:2080", 200),
        ("some.site:2080", 403),
        ("127.0.0.1.some.site", 403),
        ("", 403),
    ] {
        assert_eq!(page(relay.addr, &[("host", host)]).status, status, "{host}");
    }
    assert_eq!(page(relay.addr, &[]).status, 403);
}
