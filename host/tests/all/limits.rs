//! How a run ends that does not end by itself.

use crate::support::{Setup, tell};
use catchpoint_graphite_host::instance::RunError;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;

async fn failure(setup: &Setup, command: &str) -> String {
    tell(&setup.app(), command).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_panic_is_told() {
    let setup = Setup::new("");
    insta::assert_snapshot!(failure(&setup, "panic").await, @"component `guest` trapped: wasm trap: wasm `unreachable` instruction executed; what it printed before says more. The next run starts anew; if it traps again, please report it with these lines");
    let lines = setup.lines().join("\n");
    assert!(lines.contains("as told"), "{lines}");
}

#[tokio::test]
async fn too_much_memory_is_told() {
    let mut setup = Setup::new("");
    setup.options.limits.memory = 8 << 20;
    insta::assert_snapshot!(failure(&setup, "grow").await, @"component `guest` was stopped: it needs more than 8 MiB of memory; raise `--memory-mib`");
}

#[tokio::test]
async fn the_peak_of_memory_is_known() {
    let mut setup = Setup::new("");
    setup.options.limits.memory = 64 << 20;
    let app = setup.app();
    tell(&app, "print?x").await.unwrap();
    let before = app.peak_memory();
    assert!((64 << 10..8 << 20).contains(&before), "{before}");
    tell(&app, "grow").await.unwrap_err();
    let after = app.peak_memory();
    assert!((32 << 20..=64 << 20).contains(&after), "{after}");
}

#[tokio::test]
async fn a_loop_and_a_long_wait_end_at_the_deadline() {
    let mut setup = Setup::new("");
    setup.options.limits.deadline = Duration::from_millis(1000);
    for command in ["loop", "sleep"] {
        let told = failure(&setup, command).await;
        assert_eq!(
            told,
            "component `guest` was stopped: it ran for more than 1 s; raise `--deadline`"
        );
    }
}

#[tokio::test]
async fn a_guest_that_computes_lets_others_run() {
    // One thread for all: without giving way, the second could not end.
    let mut setup = Setup::new("");
    setup.options.limits.deadline = Duration::from_secs(20);
    let app = Arc::new(setup.app());
    let looping = tokio::spawn({
        let app = app.clone();
        async move { tell(&app, "loop").await }
    });
    assert_eq!(tell(&app, "sleep?50").await.unwrap(), "slept");
    assert!(!looping.is_finished());
    // The other may not have ended yet, though its answer is here.
    assert!(matches!(app.drain(Duration::ZERO).await, 1 | 2));
    assert!(matches!(
        looping.await.unwrap(),
        Err(RunError::CutOff { .. })
    ));
}

#[tokio::test]
async fn no_answer_is_told() {
    insta::assert_snapshot!(failure(&Setup::new(""), "silent").await, @"component `guest` did not answer the request");
}

#[tokio::test]
async fn dying_in_the_middle_of_an_answer_breaks_it_off() {
    let app = Setup::new("").app();
    let response = app
        .http(crate::support::request("die-answering"))
        .await
        .unwrap();
    assert!(response.into_body().collect().await.is_err());
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
