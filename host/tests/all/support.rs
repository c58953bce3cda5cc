//! Makes an application of the test guest, and small servers for it to talk to.

use bytes::Bytes;
use catchpoint_graphite_host::app::{App, Options};
use catchpoint_graphite_host::instance::RunError;
use catchpoint_graphite_host::manifest::Manifest;
use catchpoint_graphite_host::output::GuestOutput;
use http::{Request, StatusCode};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The guest, built once a test run.
pub fn guest() -> &'static Path {
    static GUEST: OnceLock<PathBuf> = OnceLock::new();
    GUEST.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest");
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/Cargo.toml");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--locked"])
            .args(["--target", "wasm32-wasip2"])
            .arg("--target-dir")
            .arg(&target)
            .arg("--manifest-path")
            .arg(manifest)
            .status()
            .unwrap();
        assert!(
            status.success(),
            "the guest does not build; run `cargo xtask setup`"
        );
        target.join("wasm32-wasip2/release/guest.wasm")
    })
}

/// A manifest and its folder.
pub struct Setup {
    pub folder: TempDir,
    pub manifest: PathBuf,
    pub options: Options,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Setup {
    /// The guest behind a cron trigger that is far off and a route for everything; `keys` are more
    /// lines of its `[component.guest]`, and all variables are the component's too.
    pub fn new(keys: &str) -> Self {
        let names = ["cron", "host", "relay_url", "secret", "collect_token"];
        let answers = ["collect", "check", "status", "backfill"];
        let mut text = format!(
            "spin_manifest_version = 2\napplication.name = \"test\"\n\
             [[trigger.cron]]\ncomponent = \"guest\"\ncron_expression = \"0 0 0 1 1 *\"\n\
             [[trigger.http]]\ncomponent = \"guest\"\nroute = \"/...\"\n\
             [component.guest]\nsource = '{}'\nkey_value_stores = [\"default\"]\n\
             allowed_outbound_hosts = [\"{{{{ host }}}}\", \"{{{{ relay_url }}}}\"]\n{keys}\n",
            guest().display()
        );
        text += "[variables]\nhost.default = \"http://127.0.0.1:1\"\n\
                 relay_url.default = \"http://127.0.0.1:2\"\n\
                 secret = { default = \"hidden\", secret = true }\n";
        for name in ["cron", "collect_token"].iter().chain(&answers) {
            text += &format!("{name}.default = \"\"\n");
        }
        text += "[component.guest.variables]\n";
        for name in names.iter().chain(&answers) {
            text += &format!("{name} = \"{{{{ {name} }}}}\"\n");
        }
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("spin.toml");
        std::fs::write(&manifest, text).unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = lines.clone();
        let options = Options {
            cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")),
            output: GuestOutput::new(move |line| sink.lock().unwrap().push(line.to_owned())),
            ..Options::new(folder.path().join("state"))
        };
        Self {
            folder,
            manifest,
            options,
            lines,
        }
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.options.variables.insert(name.into(), value.into());
        self
    }

    pub fn app(&self) -> App {
        let manifest = Manifest::load(&self.manifest).unwrap();
        App::new(manifest, &self.options).unwrap()
    }

    /// What the guest has printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits until the guest has printed `line`.
    pub async fn printed(&self, line: &str) {
        let start = Instant::now();
        while !self.lines().iter().any(|printed| printed == line) {
            assert!(start.elapsed() < Duration::from_secs(20), "no {line:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A request to the guest: its answer as text.
pub async fn tell(app: &App, command: &str) -> Result<String, RunError> {
    let response = app.http(request(command)).await?;
    assert_eq!(response.status(), StatusCode::OK);
    Ok(String::from_utf8(response.into_body().to_vec()).unwrap())
}

pub fn request(command: &str) -> Request<Bytes> {
    let uri = format!("http://localhost/{command}");
    Request::get(uri).body(Bytes::new()).unwrap()
}

/// A certificate for `name` that signs itself: its PEM, and a TLS server's side of it.
pub fn certificate(name: &str) -> (String, tokio_rustls::TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), Arc::new(config).into())
}

/// A server with TLS that answers each request with 202 and `ok`; its port.
pub async fn tls_server(acceptor: tokio_rustls::TlsAcceptor) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                read_request(&mut stream).await;
                let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

/// Reads a request with a chunked body, which is how a body without a length is sent.
async fn read_request(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n0\r\n\r\n") && stream.read_buf(&mut text).await.unwrap() > 0 {}
    String::from_utf8(text).unwrap()
}

/// What a server does with a connection after it has read the head and body of a request.
#[derive(Clone, Copy)]
pub enum Reply {
    /// Writes these bytes and closes.
    Bytes(&'static str),
    /// Writes these bytes and keeps the connection open without a word.
    Stall(&'static str),
    /// Writes these bytes without waiting for a request, and closes.
    Greeting(&'static str),
}

/// Starts a server on a free port; returns its address and the requests that it gets.
pub async fn server(reply: Reply) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = requests.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let seen = seen.clone();
            tokio::spawn(async move {
                if let Reply::Greeting(bytes) = reply {
                    stream.write_all(bytes.as_bytes()).await.unwrap();
                    return;
                }
                let text = read_request(&mut stream).await;
                seen.lock().unwrap().push(text);
                match reply {
                    Reply::Bytes(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap(),
                    Reply::Greeting(_) => {}
                    Reply::Stall(bytes) => {
                        stream.write_all(bytes.as_bytes()).await.unwrap();
                        std::future::pending::<()>().await;
                    }
                }
            });
        }
    });
    (address, requests)
}
