//! What to do about each warning and error of the log.

/// On each line a part of a message, ` -> `, and what to do about it.
const HINTS: &str = include_str!("hints.txt");

/// What to do about this message; none if it is not known.
pub fn hint(message: &str) -> Option<&'static str> {
    hints().find_map(|(part, hint)| message.contains(part).then_some(hint))
}

fn hints() -> impl Iterator<Item = (&'static str, &'static str)> {
    HINTS.lines().filter_map(|line| line.split_once(" -> "))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Of a relay that stops nobody sees a page, and `--insecure` is meant.
    const WITHOUT: [&str; 4] = [
        "the drain timeout is over",
        "stopped at once by a second signal",
        "a part of the relay has failed",
        "--insecure",
    ];

    /// The message of each `warn!` and `error!` in the relay's sources.
    fn messages(dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                messages(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                for call in code
                    .split("warn!(")
                    .skip(1)
                    .chain(code.split("error!(").skip(1))
                {
                    let call = call.split(");").next().unwrap();
                    let call = call.replace("\\\"", "'");
                    // The message is the last literal, or the last but one where its values follow.
                    let literals = call.split('"').skip(1).step_by(2);
                    let longest = literals.max_by_key(|literal| literal.len()).unwrap();
                    let words: Vec<_> = longest
                        .split_whitespace()
                        .filter(|word| *word != "\\")
                        .collect();
                    found.push(words.join(" "));
                }
            }
        }
    }

    #[test]
    fn each_warning_and_error_has_a_hint_and_each_hint_a_message() {
        let mut found = Vec::new();
        messages(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut found,
        );
        assert!(found.len() > 20, "{found:#?}");
        found.retain(|message| !WITHOUT.iter().any(|part| message.contains(part)));
        let without_hint: Vec<_> = found.iter().filter(|one| hint(one).is_none()).collect();
        assert!(without_hint.is_empty(), "{without_hint:#?}");
        let used: HashSet<_> = found.iter().filter_map(|message| hint(message)).collect();
        let unused: Vec<_> = hints().filter(|(_, hint)| !used.contains(hint)).collect();
        assert!(unused.is_empty(), "{unused:#?}");
        assert_eq!(hints().count(), HINTS.lines().count());
    }
}
