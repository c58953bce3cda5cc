//! What to do about each warning and error of the log.

/// A part of a message, and what to do about it.
const HINTS: [(&str, &str); 26] = [
    (
        "carbon does not confirm",
        "Nothing is lost. Check that carbon runs, and that carbon_server and carbon_port name its plaintext listener.",
    ),
    (
        "carbon is gone",
        "Nothing to do now. If it happens often, read carbon's log and the kernel's: carbon may run out of memory.",
    ),
    (
        "carbon may have restarted",
        "Nothing to do now. If it happens often, leave METRIC_CLIENT_IDLE_TIMEOUT unset in carbon.conf, and connect to carbon itself.",
    ),
    (
        "connections to carbon are closed while it runs",
        "Connect the relay to carbon itself, and leave METRIC_CLIENT_IDLE_TIMEOUT unset in carbon.conf.",
    ),
    (
        "the line is set aside",
        "The line is in damaged/ of the spool. Find out what carbon does not accept in it, and post it again corrected.",
    ),
    (
        "cannot be set aside",
        "Check that the disk of the spool takes data.",
    ),
    (
        "a batch is damaged",
        "Check the disk. Repair the file in damaged/ of the spool and post its lines, or backfill the time.",
    ),
    (
        "a batch is missing from the spool",
        "Find out who deletes files of the spool. Backfill the time.",
    ),
    (
        "a batch cannot be read now",
        "Check the disk and the permissions of the spool's files.",
    ),
    (
        "cannot be moved to the damaged ones",
        "Check that the disk of the spool takes data, and the permissions of its folders.",
    ),
    (
        "that is no longer needed cannot be deleted",
        "Check the permissions of the spool's files, and that its disk is not read-only.",
    ),
    (
        "not a file of the spool",
        "Let nothing else write into the folder of the spool.",
    ),
    (
        "the disk of the spool has not answered",
        "Check the disk, or the file server that it is on. The relay goes on by itself.",
    ),
    (
        "the spool is full",
        "Bring carbon back, or make it faster, or raise spool_max_bytes.",
    ),
    (
        "the spool cannot be written to",
        "Make room on the disk, or mount it writable. The relay goes on by itself.",
    ),
    (
        "the spool cannot be read",
        "Check that the disk of the spool is mounted. The relay goes on by itself.",
    ),
    ("confirmed batches are deleted", "Raise spool_max_bytes."),
    (
        "a line is refused",
        "See the refused lines above. Correct whoever sends them.",
    ),
    (
        "more lines were refused",
        "Read rejected/lines.log in the folder of the spool.",
    ),
    (
        "samples of refused lines cannot be kept",
        "Check the permissions of rejected/ in the folder of the spool.",
    ),
    (
        "without a valid token",
        "Give the sender a token of the token file (the component's variable relay_token). The relay reads the file again within 10 seconds.",
    ),
    (
        "can be guessed",
        "Make longer tokens: `openssl rand -hex 32`.",
    ),
    (
        "the changed file cannot be used",
        "Correct the file. The relay reads it again within 10 seconds.",
    ),
    (
        "connections cannot be accepted",
        "Raise the limit of open files (LimitNOFILE), or have fewer senders.",
    ),
    (
        "does not have this address",
        "Correct `listen`, if senders do not reach the relay.",
    ),
    ("the clock of this machine is wrong", "Set the clock (NTP)."),
];

/// What to do about this message; none if it is not known.
pub fn hint(message: &str) -> Option<&'static str> {
    let found = HINTS.iter().find(|(part, _)| message.contains(part));
    found.map(|(_, hint)| *hint)
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
        assert!(found.len() > 25, "{found:#?}");
        let mut used = HashSet::new();
        for message in &found {
            let is_known = hint(message).is_some_and(|hint| {
                used.insert(hint);
                true
            });
            let is_left_out = WITHOUT.iter().any(|part| message.contains(part));
            assert!(
                is_known != is_left_out,
                "no hint, or two reasons: {message}"
            );
        }
        for (part, hint) in HINTS {
            assert!(used.contains(hint), "no message with `{part}`");
        }
    }
}
