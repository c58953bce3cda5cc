//! What a guest finds, and how a run ends that does not end by itself.

use crate::support::{Setup, tell};
use catchpoint_graphite_host::app::App;
use catchpoint_graphite_host::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

async fn check(app: &App, table: &[(&str, &str)]) {
    for (command, expect) in table {
        assert_eq!(tell(app, command).await.unwrap(), *expect, "{command}");
    }
}

#[tokio::test]
async fn variables_are_those_of_the_component() {
    let setup = Setup::new().variable("host", "http://other:1");
    let undefined = "Error::Undefined(\"no variable \\\"nothing\\\"\")";
    let table = [
        ("variable?host", "http://other:1"),
        ("variable?secret", "hidden"),
        ("variable?nothing", undefined),
        ("variable?No-Name", "Error::InvalidName(\"No-Name\")"),
    ];
    check(&setup.app(), &table).await;
}

#[tokio::test]
async fn values_are_kept_over_instances_and_restarts() {
    let setup = Setup::new();
    let table = [
        ("get?cursor", "None"),
        ("set?cursor=17", "set"),
        ("get?cursor", "Some([49, 55])"),
        ("open?other", "Error::AccessDenied"),
    ];
    check(&setup.app(), &table).await;
    check(&setup.app(), &[("get?cursor", "Some([49, 55])")]).await;
}

#[tokio::test]
async fn files_are_read_only_and_current() {
    let mut setup = Setup::new();
    let config = setup.folder.path().join("config");
    fs::write(config.join("a.yaml"), "one").unwrap();
    let app = setup.app();
    check(&app, &[("read?/config/a.yaml", "one")]).await;
    fs::write(config.join("a.yaml"), "two").unwrap();
    let table = [
        ("read?/config/a.yaml", "two"),
        ("read?/config/../spin.toml", "permission denied"),
        ("read?/etc/passwd", "entity not found"),
        ("write?/config/a.yaml", "permission denied"),
    ];
    check(&app, &table).await;
    let other = setup.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("a.yaml"), "three").unwrap();
    setup.options.config = Some(other);
    check(&setup.app(), &[("read?/config/a.yaml", "three")]).await;
}

#[tokio::test]
async fn the_end_of_a_run_is_told() {
    let mut setup = Setup::new().variable("cron", "fail");
    setup.options.memory_mib = 8;
    setup.options.deadline = 2;
    let app = setup.app();
    let late = "the component was stopped: it ran for more than 2 s; raise --deadline";
    let trapped = "the component failed: wasm trap: wasm `unreachable` instruction executed; the log lines above say more. The next run starts anew; if it fails again, please report it with these lines";
    let grown = "the component was stopped: it needs more than 8 MiB of memory; raise --memory-mib";
    for (command, expect) in [
        ("silent", "the component did not answer the request"),
        ("grow", grown),
        ("loop", late),
        ("sleep", late),
        ("panic", trapped),
        ("die-answering", trapped),
    ] {
        let error = tell(&app, command).await.unwrap_err();
        assert_eq!(error.to_string(), expect, "{command}");
    }
    let failed = app.fire_cron(1).await.unwrap_err();
    assert_eq!(failed.to_string(), "the component failed: as told");
    let figures = app.figures();
    assert_eq!((figures.runs, figures.broken), (1, 1));
    assert!((4 << 20..=8 << 20).contains(&figures.peak_memory));
}

#[tokio::test]
async fn instances_run_beside_each_other_and_can_be_stopped() {
    let setup = Setup::new();
    let start = |command: &'static str| {
        let app = Arc::new(setup.app());
        let running = app.clone();
        let task = tokio::spawn(async move { tell(&running, command).await });
        (app, task)
    };
    // One thread for all: without giving way, the second could not end.
    let (app, looping) = start("loop");
    check(&app, &[("sleep?50", "slept")]).await;
    assert!(!looping.is_finished());
    assert_eq!(app.stop_now().await, 1);
    assert!(matches!(looping.await.unwrap(), Err(Error::Stopped)));

    let (app, sleeping) = start("sleep?300");
    while app.figures().peak_memory == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.stop_soon().await;
    assert_eq!(sleeping.await.unwrap().unwrap(), "slept");
}

/// The compiled code is kept, and made anew when it is damaged.
#[tokio::test]
async fn compiled_code_is_kept() {
    let setup = Setup::new();
    let cache = setup.options.state.join("cache");
    fs::remove_file(&cache).unwrap();
    let file = cache.join("component.compiled");
    let written = || fs::metadata(&file).unwrap().modified().unwrap();
    check(&setup.app(), &[("sleep?1", "slept")]).await;
    let first = written();
    check(&setup.app(), &[("sleep?1", "slept")]).await;
    assert_eq!(written(), first);
    let mut bytes = fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    fs::write(&file, &bytes).unwrap();
    check(&setup.app(), &[("sleep?1", "slept")]).await;
    assert_ne!(fs::read(&file).unwrap(), bytes);
}
