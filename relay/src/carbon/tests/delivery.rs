//! Deliveries over real connections.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};

use socket2::SockRef;

use super::super::connect::Carbon;
use super::*;

/// More than a busy machine costs a peer that does what it should.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
const LINE: &[u8] = b"a 1 1700000000\n";

/// Delivers a first line and so many bytes to a peer that does this with its listener and the
/// connection. The channel tells the peer that the delivery has shut down its side, and ends when the
/// result is out.
fn check(bytes: usize, expect: &str, peer: fn(TcpListener, TcpStream, Receiver<()>)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Small, so that a peer that does not read leaves something in our queue. Accepted
    // connections inherit it.
    SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let address = listener.local_addr().unwrap();
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
        let carbon = Carbon::new("127.0.0.1", address.port(), Arc::default());
        let stream = carbon.connect(address, None).await.unwrap();
        let mut delivery = Delivery::new(stream, address, STALL_TIMEOUT);
        delivery.prove(LINE).await?;
        delivery.write(&LINE.repeat(bytes / LINE.len())).await?;
        // Polled in this order: the confirmation is under way when the peer is told.
        let (result, ()) = tokio::join!(delivery.confirm(&carbon), async {
            // A peer that needs no telling is gone by now.
            let _ = done.send(());
        });
        result
    });
    thread.join().unwrap();
    let name = result
        .as_ref()
        .map_or_else(DeliveryError::name, |()| "confirmed");
    assert_eq!(name, expect, "{result:?}");
}

fn wait_for_result(done: &Receiver<()>) {
    while done.recv().is_ok() {}
}

#[test]
fn all_read_and_listening_is_confirmed() {
    for bytes in [0, 15, 300_000] {
        check(bytes, "confirmed", |_listener, mut stream, done| {
            stream.read_to_end(&mut Vec::new()).unwrap();
            drop(stream);
            // It listens until the probe has come.
            wait_for_result(&done);
        });
    }
}

#[test]
fn a_peer_that_ends_too_early_is_not_confirmed() {
    // It no longer listens.
    check(300, "probe_failed", |listener, mut stream, _| {
        drop(listener);
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    // An orderly end with data on its way. Held open, so that no reset tells of the loss.
    check(60_000, "early_end", |_listener, stream, done| {
        done.recv().unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        wait_for_result(&done);
    });
    // Before ours, and after more than the first line.
    check(5_000_000, "early_end", |_listener, mut stream, done| {
        stream.read_exact(&mut [0; 16]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        wait_for_result(&done);
    });
}

#[test]
fn r05_a_peer_that_answers_or_closes_at_the_first_line_is_not_carbon() {
    // A mail server says so at once.
    check(300, "not_carbon", |_listener, mut stream, _| {
        stream.write_all(b"hello\n").unwrap();
        // To the end, be it orderly or not.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    // A web server after a line.
    check(300, "not_carbon", |_listener, mut stream, _| {
        assert!(stream.read(&mut [0; 100]).unwrap() > 0);
        stream.write_all(b"hello\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    // Later, too.
    check(300, "not_carbon", |_listener, mut stream, done| {
        done.recv().unwrap();
        stream.write_all(b"hello\n").unwrap();
        wait_for_result(&done);
    });
    // Carbon's pickle and query ports.
    check(300, "not_carbon", |_listener, mut stream, _| {
        assert!(stream.read(&mut [0; 100]).unwrap() > 0);
    });
}
