//! What running something costs: time, processor time and memory.

use std::{
    fs,
    io::Read as _,
    ops::Sub,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};

/// How often the memory of a process is looked at.
const EVERY: Duration = Duration::from_millis(5);

/// What one run of something has cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// From its begin to its end, in seconds.
    pub wall: f64,
    /// Of all processors, in seconds.
    pub cpu: f64,
    /// The most resident memory, in MB.
    pub memory: f64,
    /// The most linear memory of the component, in MiB, where the program says it.
    pub linear: f64,
}

/// Runs a program to its end. Returns what it prints and what it costs, with its own children.
pub fn run(command: &mut Command) -> Result<(String, Cost)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let before = children_cpu()?;
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let id = child.id();
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let watch = thread::spawn(move || {
        let mut most = 0.0;
        while let Some(now) = memory(id) {
            most = now;
            thread::sleep(EVERY);
        }
        most
    });
    let complain = thread::spawn(move || {
        let mut text = String::new();
        err.as_mut().map(|err| err.read_to_string(&mut text));
        text
    });
    let mut text = String::new();
    out.as_mut()
        .map(|out| out.read_to_string(&mut text))
        .transpose()?;
    let status = child.wait()?;
    let wall = begun.elapsed().as_secs_f64();
    let cpu = children_cpu()?.sub(before);
    let memory = watch.join().unwrap_or_default();
    let errors = complain.join().unwrap_or_default();
    if !status.success() {
        bail!("{name} fails: {errors}{text}");
    }
    let linear = errors
        .split_once("linear memory:")
        .and_then(|(_, rest)| rest.split_whitespace().next());
    let linear = linear
        .and_then(|number| number.parse().ok())
        .unwrap_or_default();
    let cost = Cost {
        wall,
        cpu,
        memory,
        linear,
    };
    Ok((text, cost))
}

/// The most resident memory that a process has had, in MB; none once it has ended.
pub fn memory(id: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1.024e-3)
}

/// The processor time of a process that runs, in seconds.
pub fn cpu(id: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name of the program is in brackets, and may have any character.
    let (_, rest) = text.rsplit_once(')').context("no process")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    let (Some(user), Some(system)) = (ticks(), ticks()) else {
        bail!("/proc/{id}/stat has no times");
    };
    // Linux counts them in hundredths for every program, whatever its own clock.
    Ok((user + system) / 100.0)
}

/// The processor time of all children that have ended, in seconds.
fn children_cpu() -> Result<f64> {
    used(UsageWho::RUSAGE_CHILDREN)
}

fn used(who: UsageWho) -> Result<f64> {
    let usage = getrusage(who)?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}
