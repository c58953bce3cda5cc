//! Stands in for Catchpoint. Its answers are the sandbox's, kept once they are made, so that the
//! making of them is not measured.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use catchpoint_sandbox::{Clock, Sandbox, Settings, TestType, World};
use chrono::Utc;
use http::Request;

/// A sandbox without limits, whose clock stands still: each answer is the same.
pub fn sandbox(tests: u32, nodes: u32, interval_seconds: u32) -> Sandbox {
    let world = World::builder()
        .seed(3)
        .only(&[TestType::Web])
        .tests(TestType::Web, tests)
        .nodes(nodes)
        .interval_seconds(interval_seconds)
        .build();
    let settings = Settings {
        limits: None,
        ..Settings::default()
    };
    Sandbox::new(world, Clock::driven(Utc::now()), settings)
}

/// A server that runs as long as the program.
#[derive(Clone)]
pub struct Catchpoint {
    /// Where it listens.
    pub addr: SocketAddr,
    sandbox: Arc<Sandbox>,
    /// Whole answers, by the requests that they are to.
    answers: Arc<Mutex<HashMap<String, Arc<Vec<u8>>>>>,
    calls: Arc<Mutex<u64>>,
}

impl Catchpoint {
    /// Starts on a free port.
    pub fn start(sandbox: Sandbox) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = Self {
            addr: listener.local_addr()?,
            sandbox: Arc::new(sandbox),
            answers: Arc::default(),
            calls: Arc::default(),
        };
        let at = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                // Its client may be gone, and notices itself when we are.
                thread::spawn(move || server.serve(stream));
            }
        });
        Ok(at)
    }

    /// The tests and nodes that there are.
    pub fn world(&self) -> &World {
        self.sandbox.world()
    }

    /// How many calls there were since this was asked last.
    pub fn take_calls(&self) -> u64 {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The answer to LastRaw for all tests, without gzip.
    pub fn last_raw(&self) -> Result<String> {
        let form =
            "grant_type=client_credentials&client_id=sandbox-client&client_secret=sandbox-secret";
        let call = Request::post("/ui/api/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.as_bytes().to_vec())?;
        let (_, token) = self.answer(&call)?;
        let token: serde_json::Value = serde_json::from_slice(&token)?;
        let token = token.get("access_token").and_then(|token| token.as_str());
        let token = token.context("the sandbox gives no token")?;
        let ids: Vec<String> = self
            .world()
            .tests()
            .map(|test| test.id.to_string())
            .collect();
        let ids = ids.join(",");
        let call = Request::get(format!("/ui/api/v1/performance/raw?tests={ids}"))
            .header("authorization", format!("Bearer {token}"))
            .body(Vec::new())?;
        let (head, body) = self.answer(&call)?;
        ensure!(
            head.starts_with("HTTP/1.1 200"),
            "the sandbox answers {head}"
        );
        Ok(String::from_utf8(body)?)
    }

    /// Head and body of an answer.
    fn answer(&self, call: &Request<Vec<u8>>) -> Result<(String, Vec<u8>)> {
        let reply = self.sandbox.handle(call).answer;
        let (head, mut body) = reply.context("the sandbox does not answer")?.into_parts();
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes)?;
        let mut text = format!("HTTP/1.1 {}\r\n", head.status);
        for (name, value) in &head.headers {
            text += &format!("{name}: {}\r\n", value.to_str()?);
        }
        text += &format!("content-length: {}\r\n\r\n", bytes.len());
        Ok((text, bytes))
    }

    /// Answers the calls of one connection.
    fn serve(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        while let Some(call) = read_call(&mut stream)? {
            *self.calls.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            let encoding = call.headers().get("accept-encoding");
            let key = format!("{} {} {encoding:?}", call.method(), call.uri());
            // The lock is held while the answer is made: nobody makes it twice.
            let answer = {
                let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
                match answers.get(&key) {
                    Some(answer) => Arc::clone(answer),
                    None => {
                        let (head, body) = self.answer(&call)?;
                        let answer = Arc::new([head.as_bytes(), &body].concat());
                        answers.insert(key, Arc::clone(&answer));
                        answer
                    }
                }
            };
            stream.get_mut().write_all(&answer)?;
        }
        Ok(())
    }
}

/// One request of a connection; none at its end.
pub fn read_call(stream: &mut impl BufRead) -> Result<Option<Request<Vec<u8>>>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        bail!("no request line: {line}");
    };
    let mut call = Request::builder().method(method).uri(path);
    let mut len = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            len = value.parse()?;
        }
        call = call.header(name, value);
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body)?;
    Ok(Some(call.body(body)?))
}
