//! The demo: one collection into a real Graphite, a table of what was fetched and what arrived, and
//! pictures.

use std::{
    collections::BTreeSet,
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use catchpoint_testbed::{
    Process,
    demo::Demo,
    pipeline::{Figures, SOON, Size, program},
    port,
    python::remove_folder,
    target_dir,
    truth::{Found, total},
};
use clap::Args;

use crate::{
    build::{self, short},
    plots,
    run::{Steps, time},
};

/// How often a demo that is kept looks whether all its programs run.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What can be chosen about the demo.
#[derive(Debug, Args)]
pub struct Flags {
    /// Leave everything running, collecting on the schedule of spin.toml, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Tests of each of the 16 test types
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=10))]
    tests_per_type: u32,
    /// Nodes that run each test
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=20))]
    nodes: u32,
}

/// Runs the demo; fails when not every datapoint has arrived.
pub fn run(flags: &Flags) -> Result<()> {
    let start = Instant::now();
    let steps = Steps::new();
    let venv = build::for_demo(&steps)?;
    let folder = target_dir().join("demo");
    remove_folder(&folder)?;
    let size = Size {
        tests_per_type: flags.tests_per_type,
        nodes: flags.nodes,
        // A run sees the last 15 minutes: a result a minute makes a curve of them.
        interval_minutes: 1,
    };
    let mut demo = steps.step("from the sandbox to Graphite and back", |step| {
        Demo::run(&venv, &folder, size, &|what| step.say(what))
    })?;
    let pictures = steps.step("drawing pictures with graphite-web", |_| {
        plots::draw(&demo, &folder)
    })?;
    println!("{}\nPictures, rendered by graphite-web:", table(&demo));
    for picture in &pictures {
        println!("  {}", short(picture).display());
    }
    println!("Logs and data: {}", short(&folder).display());
    println!("Took {}", time(start.elapsed()));
    if flags.keep {
        keep_running(&mut demo)?;
    }
    let is_complete = demo.is_complete();
    demo.pipeline.stop()?;
    if is_complete {
        Ok(())
    } else {
        bail!("not every datapoint is in Graphite as it was measured")
    }
}

/// Collects on the schedule until Ctrl-C or SIGTERM; fails when one of the programs ends before.
fn keep_running(demo: &mut Demo) -> Result<()> {
    let (sender, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        // Fails when we are stopping already.
        let _ = sender.send(());
    })
    .context("cannot handle Ctrl-C")?;
    let listen = format!("--listen={}", port::free()?);
    let host = demo.pipeline.host(&["up", &listen], "spin.toml")?;
    let log = target_dir().join("demo/log/schedule.log");
    let mut host = Process::spawn("catchpoint-graphite", host, &log)?;
    println!("\nStill running, and collecting on the schedule of spin.toml; Ctrl-C stops all:");
    for dashboard in plots::dashboards(demo) {
        println!(
            "  dashboard      {}/dashboard/{dashboard}",
            demo.graphite.web_url()
        );
    }
    println!("  carbon         {}", demo.graphite.carbon_addr());
    println!("  relay          {}/", demo.pipeline.relay_url());
    println!(
        "  sandbox        {}/sandbox/calls",
        demo.pipeline.sandbox_url()
    );
    println!("  schedule       {}", short(&log).display());
    println!(
        "To try the commands yourself, in another terminal:\n  export SPIN_VARIABLE_CATCHPOINT_HOST={} SPIN_VARIABLE_RELAY_URL={}",
        demo.pipeline.sandbox_url(),
        demo.pipeline.relay_url()
    );
    for command in ["check --online", "run"] {
        println!(
            "  {} {command} --config {} --state target/demo/yours",
            short(&program("catchpoint-graphite")?).display(),
            short(&demo.pipeline.config()).display()
        );
    }
    while stopped.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        host.require_running()?;
        demo.pipeline.require_running()?;
        demo.graphite.require_running()?;
    }
    println!("\nStopping");
    host.stop(SOON)?;
    Ok(())
}

/// The heads of the columns.
const HEADS: &str = "
                          samples            lines datapoints
test type    tests nodes  fetched  nulls  accepted  read back  missing  wrong
";

/// The figures of a line.
fn figures(fetched: Figures, found: Found) -> String {
    let (samples, nulls, lines) = (fetched.samples, fetched.nulls, fetched.lines_accepted);
    let (right, missing, wrong) = (found.right, found.missing, found.wrong);
    format!("{samples:>9}{nulls:>7}{lines:>10}{right:>11}{missing:>9}{wrong:>7}\n")
}

/// One line for each test type, and the totals.
fn table(demo: &Demo) -> String {
    let rule = "─".repeat(77) + "\n";
    let mut text = HEADS.to_owned() + &rule;
    let mut sum = Figures::default();
    let mut tests_of_all = 0;
    // Series that no test has measured are wrong, and get a line of their own.
    for (name, found) in &demo.found {
        let tests = demo.truth.kinds.get(name);
        let count = tests.map_or(0, |tests| tests.len());
        let nodes = tests.into_iter().flat_map(|it| it.values().flatten());
        let nodes = nodes.collect::<BTreeSet<_>>().len();
        let fetched = demo.run.report.types.get(name).copied().unwrap_or_default();
        text += &format!("{name:<12}{count:>6}{nodes:>6}{}", figures(fetched, *found));
        tests_of_all += count;
        sum.samples += fetched.samples;
        sum.nulls += fetched.nulls;
        sum.lines_accepted += fetched.lines_accepted;
    }
    let all = figures(sum, total(&demo.found));
    text += &format!("{rule}{:<12}{tests_of_all:>6}{:>6}{all}", "total", "");
    let report = &demo.run.report;
    if report.lines_rejected > 0 || !report.failures.is_empty() {
        let (rejected, failures) = (report.lines_rejected, report.failures.len());
        text += &format!("\nThe run report has {failures} failures and {rejected} rejected lines.");
    }
    let every = if demo.is_complete() {
        "Every"
    } else {
        "NOT every"
    };
    text + &format!("\n{every} datapoint is in Graphite as it was measured.")
}
