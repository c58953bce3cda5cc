//! The pages as they are: reading them, and that every link leads somewhere and every message that is
//! quoted is printed by some program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use catchpoint_testbed::workspace;

use crate::tools::{read, run};

/// A page, by its path in the repository.
pub fn pages() -> Vec<(String, String)> {
    let (_, listed) = git(&[
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "*.md",
    ]);
    let pages: Vec<_> = listed
        .lines()
        .map(|name| (name.to_owned(), read(name)))
        .collect();
    assert!(pages.len() > 12, "{listed}");
    pages
}

/// What git says in the repository.
pub fn git(arguments: &[&str]) -> (Option<i32>, String) {
    run(Command::new("git").args(arguments).current_dir(workspace()))
}

/// A fenced block: its language and its text. Indentation of a block in a list is taken away.
pub fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => open = Some((language.to_owned(), String::new())),
            (None, Some((_, text))) => *text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// What stands between single backticks outside of blocks.
pub fn inline(page: &str) -> Vec<String> {
    let outside: Vec<&str> = page.split("```").step_by(2).collect();
    let spans = outside
        .iter()
        .flat_map(|text| text.split('`').skip(1).step_by(2));
    spans
        .map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// Where the links of a page lead, but for those to other sites.
pub fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.split("](").skip(1);
    let links = targets.map(|link| link.split(')').next().unwrap());
    links.filter(|link| !link.contains("://"))
}

/// Headings as the anchors that GitHub makes of them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_of_the_pages_leads_somewhere() {
    let mut count = 0;
    for (name, page) in pages() {
        for link in links(&page) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(&name).parent().unwrap();
            let target = workspace().join(folder).join(file);
            let is_there = file.is_empty() || target.exists();
            assert!(is_there, "{name}: no {link}");
            if link.ends_with(".png") {
                assert!(target.metadata().unwrap().len() < 150_000, "{link}");
            }
            if !anchor.is_empty() {
                let text = if file.is_empty() {
                    page.clone()
                } else {
                    fs::read_to_string(target).unwrap()
                };
                assert!(
                    anchors(&text).contains(anchor),
                    "{name}: no heading for {link}"
                );
            }
            count += 1;
        }
    }
    assert!(count > 60, "{count}");
}

/// All that our programs may print, as it stands in their source and in recorded output.
fn printed() -> String {
    let (_, listed) = git(&[
        "ls-files",
        "src",
        "relay/src",
        "host/src",
        "settings/src",
        "tests/snapshots",
    ]);
    let texts = listed
        .lines()
        .map(|name| fs::read_to_string(workspace().join(name)).unwrap());
    // A text that goes on in the next line of the source.
    let joined: Vec<String> = texts
        .map(|text| {
            let mut parts = text.split("\\\n");
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| text + part.trim_start())
        })
        .collect();
    joined.join("\n")
}

#[test]
fn every_message_of_the_troubleshooting_page_is_printed_by_a_program() {
    let page = read("docs/troubleshooting.md");
    let printed = printed();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let mut checked = 0;
    for message in rows
        .flat_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
    {
        // `…` stands for anything.
        for part in message.split('…').map(str::trim) {
            assert!(printed.contains(part), "nothing prints `{part}`");
        }
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}
