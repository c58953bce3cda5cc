//! One test for each fault of carbon, the network or the spool, in the time of the test.

use std::time::Instant as StdInstant;

use super::fake::address;
use super::model::{SECOND, World};
use super::*;

#[tokio::test(start_paused = true)]
async fn r01_what_a_machine_had_in_memory_when_it_lost_power_is_sent_again() {
    for outage in 0..25 {
        let mut world = World::new();
        for _ in 0..5 {
            world.post(10);
            sleep(SECOND).await;
        }
        world.check().await;
        world.carbon.cut_power();
        sleep(outage * SECOND).await;
        world.carbon.connect_again();
        sleep(2 * SECOND).await;
        world.post(1);
        sleep(30 * SECOND).await;
        world.check().await;
    }
}

#[tokio::test(start_paused = true)]
async fn r01_a_name_that_moves_to_another_address_sends_again() {
    let mut world = World::new();
    world.post(10);
    world.check().await;
    world.carbon.state().addresses = vec![address(2)];
    world.post(1);
    world.check().await;
    assert_eq!(world.replayed(), 10);
    // The first carbon has not got what came meanwhile.
    world.carbon.state().addresses = vec![address(1)];
    world.post(1);
    world.check().await;
    assert_eq!(world.replayed(), 10 + 11);
    // A name that lists its addresses in turn moves nothing.
    for n in 0..20 {
        world.carbon.state().addresses = vec![address(2 - n % 2)];
        world.post(1);
        world.check().await;
    }
    assert_eq!(world.replayed(), 10 + 11);
}

#[tokio::test(start_paused = true)]
async fn r02_only_a_dead_carbon_sends_again() {
    let mut world = World::new();
    world.post(10);
    world.check().await;
    for round in 0..30 {
        world.carbon.state().resolves = round % 2 == 0;
        world.carbon.state().no_ports = round % 3 == 0;
        world.post(1);
        sleep(10 * SECOND).await;
    }
    world.carbon.state().resolves = true;
    world.carbon.state().no_ports = false;
    world.carbon.cut_cable();
    world.post(1);
    sleep(8 * SECOND).await;
    world.carbon.connect_again();
    world.check().await;
    assert_eq!(world.replayed(), 0);
    assert!(world.metrics.deliveries_failed.sum() > 10);
}

#[tokio::test(start_paused = true)]
async fn r03_many_small_batches_take_few_connections() {
    let mut world = World::new();
    for _ in 0..1000 {
        world.post(1);
        sleep(SECOND / 100).await;
    }
    world.check().await;
    let connects = world.carbon.state().connects;
    assert!(connects < 120, "{connects} connections in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn new_values_get_through_a_peer_that_closes_idle_connections() {
    let mut world = World::new();
    world.carbon.state().idle_timeout = Some(50 * SECOND);
    for _ in 0..60 {
        world.post(100);
        world.wait_fresh(5 * SECOND).await;
        sleep(55 * SECOND).await;
    }
    world.check().await;
    let sent = world.carbon.state().lines;
    assert!(sent <= 3 * 6000, "{sent} lines for 6000");
}

#[tokio::test(start_paused = true)]
async fn new_values_get_through_a_carbon_that_is_killed_again_and_again() {
    let mut world = World::new();
    for _ in 0..100 {
        world.post(10);
        world.wait_fresh(40 * SECOND).await;
        world.carbon.kill();
        sleep(SECOND).await;
        world.carbon.start();
    }
    world.check().await;
}

#[tokio::test(start_paused = true)]
async fn only_the_line_over_which_carbon_closes_is_set_aside() {
    let mut world = World::new();
    let bad = "bad 1 1700000000";
    world.carbon.state().bad_line = Some(bad.to_owned());
    for part in 0..20 {
        world.post(10);
        if part == 7 {
            world.post_text(&format!("x 1 1700000000\n{bad}\ny 1 1700000000\n"));
        }
    }
    world
        .accepted
        .extend(["x", "y"].map(|series| (series.to_owned(), 1)));
    world.check().await;
    assert_eq!(world.metrics.lines_lost.get(), 1);
    // A carbon that is killed is no reason to suspect a batch.
    world.carbon.state().bad_line = None;
    for _ in 0..20 {
        world.post(1);
        world.carbon.kill();
        sleep(SECOND).await;
        world.carbon.start();
        sleep(SECOND).await;
    }
    world.check().await;
    assert_eq!(world.metrics.lines_lost.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_carbon_that_closes_every_connection_costs_no_line() {
    let mut world = World::new();
    world.post(10);
    world.check().await;
    // As one with MAX_RECEIVER_CONNECTIONS of them: the liveness connection stays.
    world.carbon.state().closes_all = true;
    world.post(4);
    sleep(10_000 * SECOND).await;
    assert_eq!(world.metrics.lines_lost.get(), 0);
    world.carbon.state().closes_all = false;
    world.check().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_sent_in_parts_is_sent_again_as_a_whole_when_carbon_restarts() {
    let mut world = World::new();
    world.carbon.state().bad_line = Some("s4 4 1700000000".to_owned());
    world.post(4);
    while world.metrics.carbon_up.get() != Some(true) {
        sleep(SECOND / 100).await;
    }
    // The first half is confirmed.
    world.carbon.kill();
    world.carbon.state().bad_line = None;
    sleep(SECOND).await;
    world.carbon.start();
    world.check().await;
}

#[tokio::test(start_paused = true)]
async fn r15_batches_wait_while_the_folder_is_away() {
    let mut world = World::new();
    world.carbon.kill();
    world.post(10);
    let lock = world.dir.path().join("lock");
    let away = world.dir.path().join("away");
    std::fs::rename(&lock, &away).unwrap();
    world.disk.sim().all_missing = true;
    world.carbon.start();
    sleep(100 * SECOND).await;
    assert_eq!(world.metrics.lines_lost.get(), 0);
    std::fs::rename(&away, &lock).unwrap();
    world.disk.sim().all_missing = false;
    world.check().await;
}

#[tokio::test(start_paused = true)]
async fn r20_many_unreadable_batches_take_little_time() {
    let mut world = World::new();
    world.carbon.kill();
    for _ in 0..500 {
        world.post(1);
    }
    for file in world.disk.batch_files().into_keys() {
        world.disk.set_unreadable(&file, true);
    }
    world.post(5);
    world.carbon.start();
    let begun = StdInstant::now();
    world.wait_fresh(60 * SECOND).await;
    sleep(600 * SECOND).await;
    assert!(begun.elapsed() < 20 * SECOND, "{:?}", begun.elapsed());
    assert_eq!(world.spool.content().unreadable, 500);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_when_all_is_sent_and_does_not_wait_for_a_pause() {
    let mut world = World::new();
    world.carbon.kill();
    world.post(1);
    sleep(100 * SECOND).await;
    world.carbon.start();
    world.phase.send_replace(Phase::Draining);
    let stopped = timeout(3 * SECOND, &mut world.forwarder).await;
    assert!(stopped.is_ok());
    world.check().await;
}
