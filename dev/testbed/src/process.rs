//! A child process with a captured log that never outlives the program that started it.
//!
//! Each child gets a process group, led by a tiny shell, the warden, that holds a pipe from us.
//! When our end of the pipe closes, the warden kills the group. So a test that panics, is
//! interrupted with Ctrl-C or is killed with SIGKILL leaves nothing behind, not even the workers
//! that the child has forked.

use std::{
    fs::{self, File, OpenOptions},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, kill_process, kill_process_group},
};

use crate::{Error, wait};

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
    gone: AtomicBool,
    log: PathBuf,
    /// Where this child's output begins in the log, which an earlier child may have begun.
    log_start: usize,
}

impl Process {
    /// Starts `command` with its output appended to the file `log`. `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Io`] when the log cannot be opened or the program cannot be started.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self, Error> {
        let out = open_log(log)?;
        let err = out
            .try_clone()
            .map_err(Error::io(|| format!("open {}", log.display())))?;
        let log_start = out
            .metadata()
            .map_err(Error::io(|| format!("read {}", log.display())))?
            .len();
        let mut warden = Command::new("/bin/sh")
            .args(["-c", "read -r _; kill -s KILL 0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(Error::io(|| "start /bin/sh".to_owned()))?;
        let spawned = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(pid(&warden).as_raw_nonzero().get())
            .spawn();
        match spawned {
            Ok(child) => Ok(Self {
                name: name.to_owned(),
                child,
                warden,
                gone: AtomicBool::new(false),
                log: log.to_owned(),
                // A log that does not fit the address space could not be read anyway.
                log_start: usize::try_from(log_start).unwrap_or(usize::MAX),
            }),
            Err(source) => {
                kill_group(&mut warden);
                Err(Error::Io {
                    what: format!("start {}", command.get_program().to_string_lossy()),
                    source,
                })
            }
        }
    }

    /// The process id of the child.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with everything the child has printed.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Everything the child has printed so far; empty when the log cannot be read.
    #[must_use]
    pub fn printed(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let own = bytes.get(self.log_start..).unwrap_or_default();
        String::from_utf8_lossy(own).into_owned()
    }

    /// The last lines that the child has printed, as errors quote them.
    #[must_use]
    pub fn tail(&self) -> String {
        last_lines(&self.printed())
    }

    /// Sends `signal` to the child alone, not to its group.
    ///
    /// # Errors
    /// [`Error::Io`] when the child is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        let sent = if self.gone.load(Ordering::SeqCst) {
            Err(Errno::SRCH)
        } else {
            kill_process(pid(&self.child), signal)
        };
        sent.map_err(|errno| Error::io(|| format!("signal {}", self.name))(errno.into()))
    }

    /// How the child ended, or `None` while it runs.
    ///
    /// # Errors
    /// [`Error::Io`] when the system does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        let ended = self
            .child
            .try_wait()
            .map_err(Error::io(|| format!("wait for {}", self.name)))?;
        self.gone.store(ended.is_some(), Ordering::SeqCst);
        Ok(ended)
    }

    /// Fails when the child has ended.
    ///
    /// # Errors
    /// [`Error::Stopped`] with the end of its log.
    pub fn require_running(&mut self) -> Result<(), Error> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(Error::Stopped {
                name: self.name.clone(),
                status,
                log: self.log.clone(),
                tail: self.tail(),
            }),
        }
    }

    /// Waits until the child ends by itself.
    ///
    /// # Errors
    /// [`Error::Deadline`] when it still runs after `within`.
    pub fn wait_end(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        let what = format!("the end of {}", self.name);
        let ended = wait::until(&what, within, || self.ended());
        self.explain(ended)
    }

    /// Waits for a printed line that contains `text`, and gives it back.
    ///
    /// # Errors
    /// [`Error::Deadline`], or [`Error::Stopped`] when the child ends without printing it.
    pub fn wait_line(&mut self, text: &str, within: Duration) -> Result<String, Error> {
        let what = format!("a line with {text:?} from {}", self.name);
        self.wait(&what, within, |process| {
            Ok(process
                .printed()
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned))
        })
    }

    /// Waits until somebody accepts connections on `addr`.
    ///
    /// # Errors
    /// [`Error::Deadline`], or [`Error::Stopped`] when the child ends before.
    pub fn wait_port(&mut self, addr: SocketAddr, within: Duration) -> Result<(), Error> {
        let what = format!("{} listening on {addr}", self.name);
        self.wait(&what, within, |_| {
            Ok(TcpStream::connect(addr).ok().map(drop))
        })
    }

    /// Waits until `look` gives a value while the child runs. `what` names what is waited for.
    ///
    /// # Errors
    /// [`Error::Deadline`], [`Error::Stopped`] when the child ends before, and whatever `look`
    /// fails with.
    pub fn wait<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut look: impl FnMut(&Self) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        let found = wait::until(what, within, || {
            // In this order: what the child did just before its end still counts.
            let running = self.require_running();
            match look(self)? {
                None => running.map(|()| None),
                found => Ok(found),
            }
        });
        self.explain(found)
    }

    /// Asks the child to stop (SIGTERM) and waits; kills it with its group after `grace`.
    ///
    /// # Errors
    /// [`Error::Io`] when the system does not tell how it ended.
    pub fn stop(mut self, grace: Duration) -> Result<ExitStatus, Error> {
        if self.ended()?.is_none() {
            self.signal(Signal::TERM)?;
            match self.wait_end(grace) {
                Ok(_) | Err(Error::Deadline { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        self.kill()
    }

    /// Kills the child and its whole group at once (SIGKILL).
    ///
    /// # Errors
    /// [`Error::Io`] when the system does not tell how it ended.
    pub fn kill(mut self) -> Result<ExitStatus, Error> {
        kill_group(&mut self.warden);
        self.child
            .wait()
            .map_err(Error::io(|| format!("wait for {}", self.name)))
    }

    /// Adds the end of the log to an error of waiting.
    fn explain<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| match error {
            Error::Deadline { what, within, .. } => Error::Deadline {
                what,
                within,
                detail: format!(
                    ", the log {} ends with:\n{}",
                    self.log.display(),
                    self.tail()
                ),
            },
            other => other,
        })
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
        let _ = kill_process_group(pid(warden), Signal::KILL);
        let _ = warden.wait();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn open_log(log: &Path) -> Result<File, Error> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).map_err(Error::io(|| format!("make {}", folder.display())))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .map_err(Error::io(|| format!("open {}", log.display())))
}

/// The last lines of a text, as errors quote them.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skip = lines.len().saturating_sub(TAIL_LINES);
    lines.into_iter().skip(skip).collect::<Vec<_>>().join("\n")
}
