//! What a guest finds, and how a run ends that does not end by itself.

use crate::support::{Setup, request, tell};
use catchpoint_graphite_host::instance::RunError;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn variables_are_those_of_the_component() {
    let app = Setup::new("").variable("host", "http://other:1").app();
    for (command, expect) in [
        ("variable?host", "http://other:1"),
        ("variable?secret", "hidden"),
        (
            "variable?nothing",
            "Error::Undefined(\"no variable \\\"nothing\\\"\")",
        ),
        ("variable?No-Name", "Error::InvalidName(\"No-Name\")"),
    ] {
        assert_eq!(tell(&app, command).await.unwrap(), expect, "{command}");
    }
    let changed = app.variables().with("secret", "once");
    let answer = app.http_with(changed, request("variable?secret")).await;
    assert_eq!(answer.unwrap().body(), "once");
    assert_eq!(tell(&app, "variable?secret").await.unwrap(), "hidden");
}

#[tokio::test]
async fn values_are_kept_over_instances_and_restarts() {
    let setup = Setup::new("");
    let app = setup.app();
    for (command, expect) in [
        ("get?cursor", "None"),
        ("set?cursor=17", "set"),
        ("set?token=x", "set"),
        ("get?cursor", "Some([49, 55])"),
        ("exists?cursor", "true"),
        ("keys", "cursor,token"),
        ("delete?token", "deleted"),
        ("exists?token", "false"),
        ("open?other", "Error::AccessDenied"),
    ] {
        assert_eq!(tell(&app, command).await.unwrap(), expect, "{command}");
    }
    drop(app);
    let again = tell(&setup.app(), "get?cursor").await;
    assert_eq!(again.unwrap(), "Some([49, 55])");
}

#[tokio::test]
async fn files_are_read_only_and_current() {
    let mut setup = Setup::new("files = [{ source = \"config\", destination = \"/config\" }]");
    let config = setup.folder.path().join("config");
    fs::create_dir(&config).unwrap();
    fs::write(config.join("a.yaml"), "one").unwrap();
    let app = setup.app();
    assert_eq!(tell(&app, "read?/config/a.yaml").await.unwrap(), "one");
    fs::write(config.join("a.yaml"), "two").unwrap();
    for (command, expect) in [
        ("read?/config/a.yaml", "two"),
        ("read?/config/../spin.toml", "permission denied"),
        ("read?/etc/passwd", "entity not found"),
        ("write?/config/a.yaml", "permission denied"),
    ] {
        assert_eq!(tell(&app, command).await.unwrap(), expect, "{command}");
    }
    let other = setup.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("a.yaml"), "three").unwrap();
    setup.options.config = Some(other);
    let replaced = tell(&setup.app(), "read?/config/a.yaml").await;
    assert_eq!(replaced.unwrap(), "three");
}

#[tokio::test]
async fn what_it_prints_comes_in_whole_lines() {
    let setup = Setup::new("");
    tell(&setup.app(), "print?half").await.unwrap();
    let mut lines = setup.lines();
    lines.sort();
    assert_eq!(lines, ["!", "half"]);
}

#[tokio::test]
async fn cron_fires_with_the_time_and_tells_of_failures() {
    let setup = Setup::new("");
    setup.app().fire_cron(1_700_000_000).await.unwrap();
    assert_eq!(setup.lines(), ["fired at 1700000000"]);
    let failing = Setup::new("").variable("cron", "fail").app();
    let error = failing.fire_cron(1).await.unwrap_err();
    assert_eq!(error.to_string(), "the component failed: as told");
}

#[tokio::test]
async fn the_end_of_a_run_is_told() {
    let mut setup = Setup::new("");
    setup.options.limits.memory = 8 << 20;
    setup.options.limits.deadline = Duration::from_millis(1000);
    let app = setup.app();
    for (command, expect) in [
        ("silent", "the component did not answer the request"),
        (
            "grow",
            "the component was stopped: it needs more than 8 MiB of memory; raise --memory-mib",
        ),
        (
            "loop",
            "the component was stopped: it ran for more than 1 s; raise --deadline",
        ),
        (
            "sleep",
            "the component was stopped: it ran for more than 1 s; raise --deadline",
        ),
        (
            "panic",
            "the component failed: wasm trap: wasm `unreachable` instruction executed; the lines before say more. The next run starts anew; if it fails again, please report it with these lines",
        ),
        (
            "die-answering",
            "the component failed: wasm trap: wasm `unreachable` instruction executed; the lines before say more. The next run starts anew; if it fails again, please report it with these lines",
        ),
    ] {
        let error = tell(&app, command).await.unwrap_err();
        assert_eq!(error.to_string(), expect, "{command}");
    }
    assert!(setup.lines().join("\n").contains("as told"));
    assert!((4 << 20..=8 << 20).contains(&app.peak_memory()));
}

#[tokio::test]
async fn a_guest_that_computes_lets_others_run_and_can_be_stopped() {
    // One thread for all: without giving way, the second could not end.
    let app = Arc::new(Setup::new("").app());
    let looping = tokio::spawn({
        let app = app.clone();
        async move { tell(&app, "loop").await }
    });
    assert_eq!(tell(&app, "sleep?50").await.unwrap(), "slept");
    assert!(!looping.is_finished());
    assert_eq!(app.drain(Duration::ZERO).await, 1);
    assert!(matches!(looping.await.unwrap(), Err(RunError::Stopped)));
}

#[tokio::test]
async fn draining_waits_for_what_runs() {
    let setup = Setup::new("");
    let app = Arc::new(setup.app());
    let sleeping = tokio::spawn({
        let app = app.clone();
        async move { tell(&app, "sleep?300").await }
    });
    setup.printed("sleeping").await;
    assert_eq!(app.drain(Duration::from_secs(20)).await, 0);
    assert_eq!(sleeping.await.unwrap().unwrap(), "slept");
}

/// The compiled code is kept, and made anew when it is damaged.
#[tokio::test]
async fn compiled_code_is_kept() {
    let mut setup = Setup::new("");
    let cache = setup.folder.path().join("cache");
    setup.options.cache = Some(cache.clone());
    let files = || -> Vec<_> {
        let entries = fs::read_dir(&cache).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    tell(&setup.app(), "keys").await.unwrap();
    let [file] = files().try_into().unwrap();
    let written = fs::metadata(&file).unwrap().modified().unwrap();
    tell(&setup.app(), "keys").await.unwrap();
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written);
    let mut bytes = fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    fs::write(&file, &bytes).unwrap();
    tell(&setup.app(), "keys").await.unwrap();
    assert_ne!(fs::read(&file).unwrap(), bytes);
}
