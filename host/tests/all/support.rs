//! Makes an application of the test guest, and small servers for it to talk to.

use bytes::Bytes;
use catchpoint_graphite_host::app::App;
use catchpoint_graphite_host::error::Result;
use catchpoint_graphite_host::manifest::Manifest;
use catchpoint_graphite_host::options::Options;
use http::{Request, StatusCode};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, OnceLock};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The guest, built once a test run.
fn guest() -> &'static Path {
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
            .status();
        let problem = "the guest does not build; run `cargo xtask setup`";
        assert!(status.unwrap().success(), "{problem}");
        target.join("wasm32-wasip2/release/guest.wasm")
    })
}

/// A manifest and its folder.
pub struct Setup {
    pub folder: TempDir,
    pub options: Options,
    variables: Vec<(String, String)>,
}

impl Setup {
    /// The guest behind a cron trigger that is far off and a route for everything, with the folder
    /// `config`; all variables are the component's too.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut text = format!(
            "spin_manifest_version = 2\napplication.name = \"test\"\n\
             [[trigger.cron]]\ncomponent = \"guest\"\ncron_expression = \"0 0 0 1 1 *\"\n\
             [[trigger.http]]\ncomponent = \"guest\"\nroute = \"/...\"\n\
             [component.guest]\nsource = '{}'\nkey_value_stores = [\"default\"]\n\
             files = [{{ source = \"config\", destination = \"/config\" }}]\n\
             allowed_outbound_hosts = [\"{{{{ host }}}}\", \"{{{{ relay_url }}}}\"]\n[variables]\n\
             host.default = \"http://127.0.0.1:1\"\nrelay_url.default = \"http://127.0.0.1:2\"\n\
             secret = {{ default = \"hidden\", secret = true }}\n",
            guest().display()
        );
        let others = [
            "cron",
            "collect_token",
            "collect",
            "check",
            "tests",
            "status",
            "backfill",
        ];
        for name in others {
            text += &format!("{name}.default = \"\"\n");
        }
        text += "[component.guest.variables]\n";
        for name in others.iter().chain(&["host", "relay_url", "secret"]) {
            text += &format!("{name} = \"{{{{ {name} }}}}\"\n");
        }
        std::fs::write(folder.path().join("spin.toml"), text).unwrap();
        std::fs::create_dir(folder.path().join("config")).unwrap();
        // One compiled guest for all tests, those of the binary too.
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
        let state = folder.path().join(".catchpoint-graphite");
        std::fs::create_dir_all(&cache).unwrap();
        std::fs::create_dir(&state).unwrap();
        std::os::unix::fs::symlink(&cache, state.join("cache")).unwrap();
        Self {
            folder,
            options: options(state),
            variables: Vec::new(),
        }
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Changes the manifest.
    pub fn replace(self, from: &str, to: &str) -> Self {
        let path = self.folder.path().join("spin.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        std::fs::write(path, text.replace(from, to)).unwrap();
        self
    }

    pub fn app(&self) -> App {
        let mut manifest = Manifest::load(&self.folder.path().join("spin.toml")).unwrap();
        for (name, value) in &self.variables {
            assert!(manifest.variables.set(name, value));
        }
        App::new(manifest, self.options.clone()).unwrap()
    }

    /// The binary with this manifest and these variables.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_catchpoint-graphite"));
        command.current_dir(self.folder.path()).args(arguments);
        command.env_remove("RUST_LOG").env_remove("NO_COLOR");
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        for (name, value) in &self.variables {
            command.env(format!("SPIN_VARIABLE_{}", name.to_uppercase()), value);
        }
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, arguments: &str) -> Ran {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        self.command(&arguments).output().unwrap().into()
    }
}

/// How the binary has ended.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The usual flags, with this folder for the state.
pub fn options(state: PathBuf) -> Options {
    Options {
        config: None,
        state,
        ca_files: Vec::new(),
        memory_mib: 256,
        deadline: 900,
    }
}

/// A request to the guest: its answer as text.
pub async fn tell(app: &App, command: &str) -> Result<String> {
    let uri = format!("http://localhost/{command}");
    let request = Request::get(uri).body(Bytes::new()).unwrap();
    let response = app.http(app.manifest().variables.clone(), request).await?;
    assert_eq!(response.status(), StatusCode::OK);
    Ok(String::from_utf8(response.into_body().to_vec()).unwrap())
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

pub const ACCEPTED: Reply = Reply::Bytes("HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok");

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Starts a server on a free port; returns its port and the requests that it gets.
pub async fn server(reply: Reply, tls: Option<TlsAcceptor>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = requests.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (seen, tls) = (seen.clone(), tls.clone());
            tokio::spawn(async move {
                let mut stream: Box<dyn Stream> = match tls {
                    None => Box::new(stream),
                    // A client that does not trust the certificate goes away.
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => Box::new(stream),
                        Err(_) => return,
                    },
                };
                if !matches!(reply, Reply::Greeting(_)) {
                    // A body without a length is sent in chunks.
                    let request = read_until(&mut stream, b"\r\n0\r\n\r\n").await;
                    seen.lock().unwrap().push(request);
                }
                let (Reply::Bytes(bytes) | Reply::Stall(bytes) | Reply::Greeting(bytes)) = reply;
                stream.write_all(bytes.as_bytes()).await.unwrap();
                if matches!(reply, Reply::Stall(_)) {
                    std::future::pending::<()>().await;
                }
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, requests)
}

pub async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &[u8]) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end) && stream.read_buf(&mut text).await.unwrap() > 0 {}
    String::from_utf8(text).unwrap()
}

/// A server with TLS and a certificate for `name` that signs itself: its PEM, and the port.
pub async fn tls_server(name: &str) -> (String, u16) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (port, _) = server(ACCEPTED, Some(Arc::new(config).into())).await;
    (made.cert.pem(), port)
}
