//! A child process with a captured log that never outlives the program that started it.
//!
//! Each child gets a process group, led by a tiny shell, the warden, that holds a pipe from us.
//! When our end of the pipe closes, the warden kills the group. So a test that panics, is
//! interrupted with Ctrl-C or is killed with SIGKILL leaves nothing behind, not even the workers
//! that the child has forked.

use std::{
    fs::{self, OpenOptions},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, kill_process, kill_process_group};

use crate::wait;

pub use rustix::process::Signal;

/// How many of the last lines of a log are quoted in an error.
const TAIL_LINES: usize = 30;

/// A running child process. Dropping it kills it and its whole process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    warden: Child,
    /// Set once the child's end was noticed: its id may then belong to somebody else.
    gone: bool,
    log: PathBuf,
    /// Where this child's output begins in the log, which an earlier child may have begun.
    log_start: usize,
}

impl Process {
    /// Starts `command` with its output appended to the file `log`. `name` is for messages.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let open = || format!("cannot open {}", log.display());
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder).with_context(open)?;
        }
        let out = OpenOptions::new().create(true).append(true).open(log);
        let out = out.with_context(open)?;
        let err = out.try_clone().with_context(open)?;
        // A log that does not fit the address space could not be read anyway.
        let log_start = usize::try_from(out.metadata().with_context(open)?.len())?;
        let mut warden = Command::new("/bin/sh")
            .args(["-c", "read -r _; kill -s KILL 0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start /bin/sh")?;
        let spawned = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(Pid::from_child(&warden).as_raw_nonzero().get())
            .spawn();
        if spawned.is_err() {
            kill_group(&mut warden);
        }
        let program = || format!("cannot start {}", command.get_program().to_string_lossy());
        Ok(Self {
            name: name.to_owned(),
            child: spawned.with_context(program)?,
            warden,
            gone: false,
            log: log.to_owned(),
            log_start,
        })
    }

    /// The process id of the child.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything the child has printed so far; empty when the log cannot be read.
    #[must_use]
    pub fn printed(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let own = bytes.get(self.log_start..).unwrap_or_default();
        String::from_utf8_lossy(own).into_owned()
    }

    /// Sends `signal` to the child alone, not to its group.
    ///
    /// # Errors
    /// When the child is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.gone {
            bail!("cannot signal {}, which has ended", self.name);
        }
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// How the child ended, or `None` while it runs.
    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let ended = self.child.try_wait();
        let ended = ended.with_context(|| format!("cannot wait for {}", self.name))?;
        self.gone = ended.is_some();
        Ok(ended)
    }

    /// Fails when the child has ended.
    ///
    /// # Errors
    /// That it has stopped, with the end of its log.
    pub fn require_running(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} has stopped ({status}), {}", self.name, self.tail());
        }
        Ok(())
    }

    /// Waits until the child ends by itself.
    ///
    /// # Errors
    /// When it still runs after `within`.
    pub fn wait_end(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        let ended = wait::until(&what, within, || self.ended());
        ended.with_context(|| self.tail())
    }

    /// Waits for a printed line that contains `text`, and gives it back.
    ///
    /// # Errors
    /// When the child does not print it in time, or ends before.
    pub fn wait_line(&mut self, text: &str, within: Duration) -> Result<String> {
        let what = format!("a line with {text:?} from {}", self.name);
        self.wait(&what, within, |process| {
            let printed = process.printed();
            let mut lines = printed.lines();
            Ok(lines.find(|line| line.contains(text)).map(str::to_owned))
        })
    }

    /// Waits until somebody accepts connections on `addr`.
    ///
    /// # Errors
    /// When nobody does in time, or the child ends before.
    pub fn wait_port(&mut self, addr: SocketAddr, within: Duration) -> Result<()> {
        let what = format!("{} listening on {addr}", self.name);
        self.wait(&what, within, |_| {
            Ok(TcpStream::connect(addr).ok().map(drop))
        })
    }

    /// Waits until `look` gives a value while the child runs. `what` names what is waited for.
    ///
    /// # Errors
    /// When it does not in time, or the child ends before, with the end of its log; and whatever
    /// `look` fails with.
    pub fn wait<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut look: impl FnMut(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let found = wait::until(what, within, || {
            // In this order: what the child did just before its end still counts.
            let running = self.require_running();
            match look(self)? {
                None => running.map(|()| None),
                found => Ok(found),
            }
        });
        found.with_context(|| self.tail())
    }

    /// Asks the child to stop (SIGTERM) and waits; kills it with its group after `grace`.
    ///
    /// # Errors
    /// When the system does not tell how it ended.
    pub fn stop(mut self, grace: Duration) -> Result<ExitStatus> {
        if self.ended()?.is_none() {
            self.signal(Signal::TERM)?;
            // One that does not stop is killed.
            let _ = self.wait_end(grace);
        }
        kill_group(&mut self.warden);
        let ended = self.child.wait();
        ended.with_context(|| format!("cannot wait for {}", self.name))
    }

    /// The end of the log, as errors quote it.
    #[must_use]
    pub fn tail(&self) -> String {
        let tail = last_lines(&self.printed());
        format!("the log {} ends with:\n{tail}", self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        kill_group(&mut self.warden);
        // Reaps the child; there is nobody left to tell when that fails.
        let _ = self.child.wait();
    }
}

/// Kills the group that `warden` leads, and reaps the warden. Harmless when done twice: a reaped
/// warden's id is not used again, because `try_wait` remembers the end.
fn kill_group(warden: &mut Child) {
    if let Ok(None) = warden.try_wait() {
        // Fails only when nobody is left in the group.
        let _ = kill_process_group(Pid::from_child(warden), Signal::KILL);
        let _ = warden.wait();
    }
}

/// The last lines of a text, as errors quote them.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skip = lines.len().saturating_sub(TAIL_LINES);
    lines.into_iter().skip(skip).collect::<Vec<_>>().join("\n")
}
