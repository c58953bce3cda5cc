//! A carbon in memory, in the time of the test: what it has read it writes after a while, and loses
//! when it is killed before.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::connect::{Network, Stream};
use super::*;

/// How long carbon keeps in memory what it has read.
pub const WRITES_AFTER: Duration = Duration::from_secs(600);
const KEEPALIVE: Duration = Duration::from_secs(2);
const KEEPALIVE_FAILS_AFTER: Duration = Duration::from_secs(18);
/// How often a stream looks whether it has ended.
const LOOK: Duration = Duration::from_millis(50);

/// The last value of each series.
pub type Values = BTreeMap<String, u64>;

/// Carbon, and the network before it. Clones share it.
#[derive(Clone)]
pub struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
pub struct State {
    pub listens: bool,
    /// Since when its machine has no power, or the cable is cut.
    pub unreachable_since: Option<Instant>,
    pub resolves: bool,
    /// The addresses of its name.
    pub addresses: Vec<SocketAddr>,
    /// No port is left on our side.
    pub no_ports: bool,
    pub idle_timeout: Option<Duration>,
    /// A line over which it closes the connection.
    pub bad_line: Option<String>,
    /// It closes each connection on which something comes.
    pub closes_all: bool,
    pub connects: usize,
    pub memory: Vec<(Instant, String, u64)>,
    pub written: Values,
    /// The last values that it has got, be they lost since.
    pub got: Values,
    /// Lines that it has got, repeated ones too.
    pub lines: usize,
    connections: Vec<Connection>,
    boot: u64,
}

struct Connection {
    boot: u64,
    opened: Instant,
    last_data: Instant,
    half_line: String,
    unacknowledged: bool,
    /// It has ended, in an orderly way or not.
    end: Option<Result<(), ErrorKind>>,
}

const RESET: Option<Result<(), ErrorKind>> = Some(Err(ErrorKind::ConnectionReset));

impl Connection {
    /// How long ago the last keepalive probe was sent.
    fn since_probe(&self) -> Duration {
        let age = self.opened.elapsed().as_millis() % KEEPALIVE.as_millis();
        Duration::from_millis(age.try_into().unwrap())
    }
}

pub struct FakeStream {
    fake: Fake,
    number: usize,
}

pub fn address(last: u8) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, last), 2003).into()
}

impl Fake {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            listens: true,
            resolves: true,
            addresses: vec![address(1)],
            ..State::default()
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Kills it: its kernel closes the connections.
    pub fn kill(&self) {
        let mut state = self.state();
        state.listens = false;
        state.forget();
        let boot = state.boot;
        for connection in &mut state.connections {
            if connection.boot == boot && connection.end.is_none() {
                let is_idle = connection.half_line.is_empty();
                connection.end = if is_idle { Some(Ok(())) } else { RESET };
            }
        }
    }

    pub fn start(&self) {
        self.state().listens = true;
    }

    /// Its machine loses its power: nobody says anything.
    pub fn cut_power(&self) {
        let mut state = self.state();
        state.forget();
        state.unreachable_since = Some(Instant::now());
        state.boot += 1;
    }

    /// The cable is cut; carbon lives.
    pub fn cut_cable(&self) {
        self.state().unreachable_since = Some(Instant::now());
    }

    /// Its machine can be reached again.
    pub fn connect_again(&self) {
        self.state().unreachable_since = None;
    }
}

impl State {
    /// What is in memory long enough is written, the rest is gone.
    fn forget(&mut self) {
        self.write();
        self.memory.clear();
    }

    /// Writes what was in memory long enough.
    pub fn write(&mut self) {
        let written = &mut self.written;
        self.memory.retain(|(since, series, value)| {
            let young = since.elapsed() < WRITES_AFTER;
            if !young {
                written.insert(series.clone(), *value);
            }
            young
        });
    }

    /// The last values that it has, in memory or written.
    pub fn values(&mut self) -> Values {
        self.write();
        let mut values = self.written.clone();
        let memory = self.memory.iter();
        values.extend(memory.map(|(_, series, value)| (series.clone(), *value)));
        values
    }

    /// How a connection has ended, if it has.
    fn end(&mut self, number: usize) -> Option<Result<(), ErrorKind>> {
        let boot = self.boot;
        let connection = &mut self.connections[number];
        let idle = self
            .idle_timeout
            .is_some_and(|most| connection.last_data.elapsed() >= most);
        if idle && connection.end.is_none() && self.unreachable_since.is_none() {
            connection.end = Some(Ok(()));
        }
        match self.unreachable_since {
            Some(since) if since.elapsed() >= KEEPALIVE_FAILS_AFTER => {
                connection.end.or(Some(Err(ErrorKind::TimedOut)))
            }
            // A machine that was started anew answers the next probe with a reset.
            None if connection.boot != boot && connection.since_probe() < LOOK => {
                connection.end = connection.end.or(RESET);
                connection.end
            }
            _ => connection.end,
        }
    }

    fn read(&mut self, number: usize, text: &str) {
        let connection = &mut self.connections[number];
        connection.last_data = Instant::now();
        let text = std::mem::take(&mut connection.half_line) + text;
        for line in text.split_inclusive('\n') {
            let Some(line) = line.strip_suffix('\n') else {
                self.connections[number].half_line = line.to_owned();
                return;
            };
            if self.closes_all || self.bad_line.as_deref() == Some(line) {
                self.connections[number].end = RESET;
                return;
            }
            let fields: Vec<_> = line.split(' ').collect();
            if let Ok(value) = fields[1].parse()
                && !line.starts_with("carbon.relays.")
            {
                self.memory
                    .push((Instant::now(), fields[0].to_owned(), value));
                self.got.insert(fields[0].to_owned(), value);
                self.lines += 1;
            }
        }
    }
}

impl fmt::Display for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fake:2003")
    }
}

impl Network for Fake {
    type Stream = FakeStream;

    async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let state = self.state();
        if state.resolves {
            Ok(state.addresses.clone())
        } else {
            Err(io::Error::other("failed to lookup address information"))
        }
    }

    async fn connect(&self, _: SocketAddr, _: Option<Duration>) -> io::Result<FakeStream> {
        if self.state().no_ports {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        if self.state().unreachable_since.is_some() {
            sleep(Duration::from_secs(10)).await;
            return Err(ErrorKind::TimedOut.into());
        }
        let mut state = self.state();
        if !state.listens {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let connection = Connection {
            boot: state.boot,
            opened: Instant::now(),
            last_data: Instant::now(),
            half_line: String::new(),
            unacknowledged: false,
            end: None,
        };
        state.connects += 1;
        state.connections.push(connection);
        let number = state.connections.len() - 1;
        drop(state);
        Ok(FakeStream {
            fake: self.clone(),
            number,
        })
    }
}

impl Stream for FakeStream {
    async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.fake.state();
        if let Some(end) = state.end(self.number) {
            return Err(end.err().unwrap_or(ErrorKind::BrokenPipe).into());
        }
        let is_there = state.connections[self.number].boot == state.boot;
        if state.unreachable_since.is_some() || !is_there {
            state.connections[self.number].unacknowledged = true;
        } else {
            state.read(self.number, std::str::from_utf8(bytes).unwrap());
        }
        Ok(bytes.len())
    }

    async fn read(&self) -> io::Result<bool> {
        loop {
            if let Some(end) = self.fake.state().end(self.number) {
                return Ok(end.map(|()| false)?);
            }
            sleep(LOOK).await;
        }
    }

    fn shutdown(&self) -> io::Result<()> {
        let mut state = self.fake.state();
        let (boot, unreachable) = (state.boot, state.unreachable_since.is_some());
        let connection = &mut state.connections[self.number];
        if connection.boot == boot && !unreachable && connection.end.is_none() {
            connection.end = Some(Ok(()));
        }
        Ok(())
    }

    fn is_disturbed(&self) -> bool {
        self.fake.state().end(self.number).is_some()
    }

    fn unacknowledged(&self) -> io::Result<u32> {
        Ok(self.fake.state().connections[self.number]
            .unacknowledged
            .into())
    }

    fn last_ack(&self) -> io::Result<Duration> {
        let state = self.fake.state();
        let connection = &state.connections[self.number];
        Ok(match state.unreachable_since {
            Some(since) => connection.since_probe().max(since.elapsed()),
            // Not before a reset.
            None if connection.boot != state.boot => Duration::MAX / 2,
            None => connection.since_probe(),
        })
    }
}
