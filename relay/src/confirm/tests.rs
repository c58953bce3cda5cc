use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::sync::mpsc;

use super::*;

/// More than a busy machine costs a peer that does what it should.
const PATIENCE: Duration = Duration::from_secs(30);

/// Delivers some lines to a peer that does this with the connection, and gives the verdict.
/// `listener` is the peer's; `done` is signalled when the delivery has shut down its side, and ends
/// when the verdict is out.
fn deliver(
    bytes: usize,
    peer: impl FnOnce(TcpListener, std::net::TcpStream, mpsc::Receiver<()>) + Send + 'static,
) -> Result<(), Doubt> {
    deliver_and_probe(bytes, PATIENCE, peer, |carbon| carbon)
}

/// The same, with so much patience, and with carbon's name leading to another one when the delivery
/// is confirmed.
fn deliver_and_probe(
    bytes: usize,
    patience: Duration,
    peer: impl FnOnce(TcpListener, std::net::TcpStream, mpsc::Receiver<()>) + Send + 'static,
    rename: impl FnOnce(Carbon) -> Carbon,
) -> Result<(), Doubt> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Small, so that a peer that does not read leaves something in our queue. Accepted
    // connections inherit it.
    SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (done, is_done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        peer(listener, stream, is_done);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let verdict = runtime.block_on(async move {
        let carbon = Carbon::new("127.0.0.1", port, Arc::default());
        let stream = carbon.connect(patience).await.map_err(Doubt::Unreachable)?;
        let delivery = Delivery::new(stream, patience)?;
        delivery
            .write(&b"a 1 1700000000\n".repeat(bytes / 15))
            .await?;
        let carbon = rename(carbon);
        // Polled in this order: the confirmation is under way when the peer is told.
        let (verdict, ()) = tokio::join!(delivery.confirm(&carbon), async {
            // A peer that needs no telling is gone by now.
            let _ = done.send(());
        });
        verdict
    });
    thread.join().unwrap();
    verdict
}

fn wait_for_verdict(done: &mpsc::Receiver<()>) {
    while done.recv().is_ok() {}
}

fn check(verdict: Result<(), Doubt>, expect: &[&str]) {
    let name = verdict.as_ref().map_or_else(Doubt::name, |()| "confirmed");
    assert!(expect.contains(&name), "{verdict:?}");
}

#[test]
fn all_read_and_listening_is_confirmed() {
    for bytes in [0, 15, 300_000] {
        let verdict = deliver(bytes, move |_listener, mut stream, done| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            assert_eq!(all.len(), bytes);
            drop(stream);
            // It listens until the probe has come.
            wait_for_verdict(&done);
        });
        check(verdict, &["confirmed"]);
    }
}

#[test]
fn a_peer_that_no_longer_listens_is_in_doubt() {
    let verdict = deliver(300, |listener, mut stream, _| {
        drop(listener);
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    check(verdict, &["probe_refused"]);
}

#[test]
fn the_probe_goes_to_the_carbon_that_has_read() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let verdict = deliver_and_probe(
        300,
        PATIENCE,
        |listener, mut stream, _| {
            drop(listener);
            stream.read_to_end(&mut Vec::new()).unwrap();
        },
        |_| Carbon::new("127.0.0.1", port, Arc::default()),
    );
    check(verdict, &["probe_refused"]);
}

#[test]
fn an_orderly_end_with_data_on_its_way_is_in_doubt() {
    let verdict = deliver(60_000, |_listener, stream, is_done| {
        is_done.recv().unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // Held open, so that no reset tells of the loss.
        wait_for_verdict(&is_done);
    });
    check(verdict, &["unsent"]);
}

#[test]
fn an_end_before_ours_is_in_doubt() {
    let verdict = deliver(5_000_000, |_listener, stream, is_done| {
        stream.shutdown(Shutdown::Write).unwrap();
        wait_for_verdict(&is_done);
    });
    check(verdict, &["early_end"]);
}

#[test]
fn a_reset_is_in_doubt() {
    let verdict = deliver(60_000, |_listener, stream, is_done| {
        is_done.recv().unwrap();
        // Closing with unread data resets.
        drop(stream);
    });
    check(verdict, &["broken"]);
}

#[test]
fn a_peer_that_does_not_read_is_in_doubt() {
    for bytes in [15, 20_000_000] {
        let peer = |_, _stream, is_done| wait_for_verdict(&is_done);
        let patience = Duration::from_millis(300);
        let verdict = deliver_and_probe(bytes, patience, peer, |carbon| carbon);
        check(verdict, &["stalled"]);
    }
}

#[test]
fn what_a_peer_says_is_passed_over() {
    let verdict = deliver(300, |_listener, mut stream, is_done| {
        stream.write_all(b"hello\n").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        drop(stream);
        wait_for_verdict(&is_done);
    });
    check(verdict, &["confirmed"]);
}

#[test]
fn names_of_doubts_are_unique() {
    let names: std::collections::HashSet<_> = <Doubt as strum::VariantNames>::VARIANTS.into_iter().collect();
    assert_eq!(names.len(), <Doubt as strum::VariantNames>::VARIANTS.len());
}
