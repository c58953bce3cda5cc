//! Deliveries over real connections.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;

use socket2::SockRef;

use super::super::connect::Carbon;
use super::*;

/// More than a busy machine costs a peer that does what it should.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Delivers some lines to a peer that does this with the connection, and gives the result.
/// `listener` is the peer's; `done` is signalled when the delivery has shut down its side, and ends
/// when the result is out.
fn deliver(
    bytes: usize,
    peer: impl FnOnce(TcpListener, TcpStream, mpsc::Receiver<()>) + Send + 'static,
) -> Result<(), DeliveryError> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Small, so that a peer that does not read leaves something in our queue. Accepted
    // connections inherit it.
    SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let address = listener.local_addr().unwrap();
    let port = address.port();
    let (done, is_done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        peer(listener, stream, is_done);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let result = runtime.block_on(async move {
        let carbon = Carbon::new("127.0.0.1", port, Arc::default());
        let stream = carbon.connect(address, None).await.unwrap();
        let mut delivery = Delivery::new(stream, address, STALL_TIMEOUT);
        delivery.prove(b"a 1 1700000000\n").await?;
        let lines = b"a 1 1700000000\n".repeat(bytes / 15);
        delivery.write(&lines).await?;
        // Polled in this order: the confirmation is under way when the peer is told.
        let (result, ()) = tokio::join!(delivery.confirm(&carbon), async {
            // A peer that needs no telling is gone by now.
            let _ = done.send(());
        });
        result
    });
    thread.join().unwrap();
    result
}

fn wait_for_result(done: &mpsc::Receiver<()>) {
    while done.recv().is_ok() {}
}

fn check(result: Result<(), DeliveryError>, expect: &[&str]) {
    let name = result
        .as_ref()
        .map_or_else(DeliveryError::name, |()| "confirmed");
    assert!(expect.contains(&name), "{result:?}");
}

#[test]
fn all_read_and_listening_is_confirmed() {
    for bytes in [0, 15, 300_000] {
        let result = deliver(bytes, move |_listener, mut stream, done| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            assert_eq!(all.len(), 15 + bytes);
            drop(stream);
            // It listens until the probe has come.
            wait_for_result(&done);
        });
        check(result, &["confirmed"]);
    }
}

#[test]
fn a_peer_that_no_longer_listens_is_not_confirmed() {
    let result = deliver(300, |listener, mut stream, _| {
        drop(listener);
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    check(result, &["probe_failed"]);
}

#[test]
fn an_orderly_end_with_data_on_its_way_is_not_confirmed() {
    let result = deliver(60_000, |_listener, stream, is_done| {
        is_done.recv().unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // Held open, so that no reset tells of the loss.
        wait_for_result(&is_done);
    });
    check(result, &["early_end"]);
}

#[test]
fn an_end_before_ours_is_not_confirmed() {
    let result = deliver(5_000_000, |_listener, mut stream, is_done| {
        // More than the first line.
        stream.read_exact(&mut [0; 16]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        wait_for_result(&is_done);
    });
    check(result, &["early_end"]);
}

#[test]
fn r05_a_peer_that_answers_is_not_carbon() {
    // A mail server says so at once, a web server after a line.
    for waits in [false, true] {
        let result = deliver(300, move |_listener, mut stream, _| {
            if waits {
                assert!(stream.read(&mut [0; 100]).unwrap() > 0);
            }
            stream.write_all(b"hello\n").unwrap();
            // To the end, be it orderly or not.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        check(result, &["not_carbon"]);
    }
    // Later, too.
    let result = deliver(300, |_listener, mut stream, is_done| {
        is_done.recv().unwrap();
        stream.write_all(b"hello\n").unwrap();
        wait_for_result(&is_done);
    });
    check(result, &["not_carbon"]);
}

#[test]
fn r05_a_peer_that_closes_at_the_first_line_is_not_carbon() {
    let result = deliver(300, |_listener, mut stream, _| {
        assert!(stream.read(&mut [0; 100]).unwrap() > 0);
    });
    check(result, &["not_carbon"]);
}
