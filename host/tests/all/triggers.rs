//! The cron handler, the HTTP server and its routes.

use crate::support::Setup;
use catchpoint_graphite_host::app::App;
use catchpoint_graphite_host::http::serve;
use catchpoint_graphite_host::manifest::Manifest;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const CRON: &str = "variables = { cron = \"{{ cron }}\" }";

#[tokio::test]
async fn fires_with_the_time() {
    let setup = Setup::new(CRON);
    setup.app().fire_cron(1_700_000_000).await.unwrap();
    assert_eq!(setup.lines(), ["fired at 1700000000"]);
}

async fn firing_fails(command: &str) -> String {
    let setup = Setup::new(CRON).variable("cron", command);
    setup.app().fire_cron(1).await.unwrap_err().to_string()
}

#[tokio::test]
async fn failures_are_told() {
    insta::assert_snapshot!(firing_fails("fail").await, @"component `guest` failed: as told");
    insta::assert_snapshot!(firing_fails("panic").await, @"component `guest` trapped: wasm trap: wasm `unreachable` instruction executed; what it printed before says more. The next run starts anew; if it traps again, please report it with these lines");
}

#[tokio::test]
async fn firings_overlap() {
    let setup = Setup::new(CRON).variable("cron", "sleep");
    let app = Arc::new(setup.app());
    for timestamp in [1, 2] {
        let app = app.clone();
        tokio::spawn(async move { app.fire_cron(timestamp).await });
        setup.printed(&format!("fired at {timestamp}")).await;
    }
    assert_eq!(app.drain(Duration::ZERO).await, 2);
}

#[tokio::test]
async fn a_component_without_the_handler_does_not_start() {
    let setup = Setup::new("");
    let wasm = setup.folder.path().join("empty.wasm");
    // An empty component: magic number, version 13, layer 1.
    fs::write(&wasm, b"\0asm\x0d\0\x01\0").unwrap();
    let text = fs::read_to_string(&setup.manifest).unwrap();
    let guest = crate::support::guest().display().to_string();
    let text = text.replace(&guest, &wasm.display().to_string());
    let manifest = Manifest::parse(&setup.manifest, &text).unwrap();
    let error = App::new(manifest, &setup.options).err().unwrap();
    insta::assert_snapshot!(error, @"component `guest` does not export `handle-cron-event`, which its trigger calls");
}

/// The answer to one request on a connection of its own.
async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nspin-path-info: /forged\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    let body: String = if head.contains("chunked") {
        body.split("\r\n").skip(1).step_by(2).collect()
    } else {
        body.to_owned()
    };
    format!("{status} {body}")
}

#[tokio::test]
async fn serves_its_routes() {
    let setup = Setup::new("variables = { cron = \"served\" }");
    let text = fs::read_to_string(&setup.manifest).unwrap();
    let routed = text.replace("\"/...\"", "\"/api/...\"");
    let manifest = Manifest::parse(&setup.manifest, &routed).unwrap();
    let app = Arc::new(App::new(manifest, &setup.options).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(app.clone(), listener, stop.clone()));

    assert_eq!(get(&address, "/.well-known/spin/health").await, "200 OK");
    assert_eq!(
        get(&address, "/other").await,
        "404 no route of the manifest has this path"
    );
    // The guest takes the whole path for its command and says so.
    assert_eq!(get(&address, "/api/x").await, "200 no command \"api/x\"");

    stop.cancel();
    server.await.unwrap();
    assert_eq!(app.drain(Duration::from_secs(20)).await, 0);
    assert!(TcpStream::connect(&address).await.is_err());
}

#[tokio::test]
async fn a_request_has_the_headers_of_spin() {
    let setup = Setup::new("");
    let app = Arc::new(setup.app());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve(app, listener, CancellationToken::new()));
    assert_eq!(get(&address, "/header?spin-path-info").await, "200 /header");
    assert_eq!(
        get(&address, "/panic").await,
        "500 the component failed; the log says why"
    );
}
