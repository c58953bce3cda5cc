//! Faults of the network between the relay and carbon, in network and mount namespaces.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use catchpoint_testbed::{Conduct, Process, StandIn, port};
use nix::sched::{CloneFlags, setns};

use crate::common::*;
use crate::sender::Sender;
use crate::table::{Needs, Outcome, Tally};

const NETWORK: Needs = Needs("needs root and ip: network and mount namespaces");

fn run(command: &str) -> Result<(), Needs> {
    let done = Command::new("sh").args(["-c", command]).output();
    let succeeds = done.is_ok_and(|output| output.status.success());
    succeeds.then_some(()).ok_or(NETWORK)
}

/// A network with this machine at 10.214.`n`.1 and one other at .2.
struct Network {
    n: u8,
    /// How many machines there have been at .2.
    machines: u32,
}

impl Network {
    fn new(n: u8) -> Result<Self, Needs> {
        let network = Self { n, machines: 0 };
        network.remove();
        run(&format!(
            "ip link add relaynet{n} type bridge forward_delay 0 stp_state 0"
        ))?;
        run(&format!("ip addr add 10.214.{n}.1/24 dev relaynet{n}"))?;
        run(&format!("ip link set relaynet{n} up"))?;
        Ok(network)
    }

    /// The namespace of the machine.
    fn name(&self) -> String {
        format!("relaynet{}m{}", self.n, self.machines)
    }

    fn link(&self) -> String {
        format!("rn{}h{}", self.n, self.machines)
    }

    /// The machine is switched on, as a new one: it knows of no connection.
    fn switch_on(&mut self) -> Result<(), Needs> {
        self.machines += 1;
        let (name, link, n) = (self.name(), self.link(), self.n);
        run(&format!("ip netns add {name}"))?;
        run(&format!(
            "ip link add {link} type veth peer name eth0 netns {name}"
        ))?;
        run(&format!(
            "ip -n {name} link set eth0 address 02:00:00:00:{n:02x}:02"
        ))?;
        run(&format!("ip link set {link} master relaynet{n}"))?;
        run(&format!("ip link set {link} up"))?;
        run(&format!("ip -n {name} link set lo up"))?;
        run(&format!("ip -n {name} addr add 10.214.{n}.2/24 dev eth0"))?;
        run(&format!("ip -n {name} link set eth0 up"))
    }

    /// The machine loses its power: it says nothing any more.
    fn switch_off(&self) {
        run(&format!("ip link del {}", self.link())).unwrap();
    }

    fn carbon(&self) -> SocketAddr {
        format!("10.214.{}.2:2003", self.n).parse().unwrap()
    }

    /// Starts a carbon on the machine.
    fn start_carbon(&self) -> StandIn {
        let namespace = File::open(Path::new("/run/netns").join(self.name())).unwrap();
        let addr = self.carbon();
        let start = move || {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            until("the address", || {
                StandIn::start_at(addr, Conduct::Read).ok()
            })
        };
        std::thread::spawn(start).join().unwrap()
    }

    fn remove(&self) {
        for machine in 0..10 {
            let _ = run(&format!("ip netns del relaynet{}m{machine}", self.n));
            let _ = run(&format!("ip link del rn{}h{machine}", self.n));
        }
        let _ = run(&format!("ip link del relaynet{}", self.n));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Carbon's machine loses its power, for no time, less, or more than its connections live, and
/// posts go on or not.
pub fn machine_lost() -> Outcome {
    let outages = [(0, false), (3, false), (3, true), (25, true)];
    let tallies = outages.map(|(outage, posts_in_it)| {
        let mut network = Network::new(1)?;
        network.switch_on()?;
        let dir = tempfile::tempdir().unwrap();
        let carbon = network.start_carbon();
        let relay = Inner::start(settings(dir.path(), network.carbon()));
        let sender = Sender::default();
        for _ in 0..10 {
            assert!(sender.post(relay.addr, 50));
        }
        relay.wait_delivered();
        network.switch_off();
        // It runs on, where nobody can reach it.
        std::mem::forget(carbon);
        if posts_in_it {
            assert!(sender.post(relay.addr, 50));
        }
        std::thread::sleep(Duration::from_secs(outage));
        network.switch_on()?;
        let carbon = network.start_carbon();
        assert!(sender.post(relay.addr, 50));
        let tally = sender.tally(&carbon);
        relay.stop();
        Ok(tally)
    });
    let total: Tally = tallies.into_iter().sum::<Outcome>()?;
    Ok(total.noting("outages of 0, 3 and 25 s, no FIN, no RST"))
}

/// The relay is where there are 1000 ports, and a sender posts as fast as it can.
pub fn few_ports() -> Outcome {
    let mut network = Network::new(2)?;
    network.switch_on()?;
    let name = network.name();
    let range = "'net.ipv4.ip_local_port_range=40000 40999'";
    run(&format!("ip netns exec {name} sysctl -w {range}"))?;
    let carbon = carbon_at("10.214.2.1:2003".parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let addr: SocketAddr = "10.214.2.2:2080".parse().unwrap();
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", &name])
        .arg(env!("CARGO_BIN_EXE_catchpoint-graphite-relay"))
        .args(["--insecure", "--listen", &addr.to_string()])
        .args(["--carbon", &carbon.addr().to_string()])
        .arg("--spool")
        .arg(dir.path().join("spool"));
    let mut process = Process::spawn("relay", command, &dir.path().join("log")).unwrap();
    process.wait_line("the relay accepts lines", SOON).unwrap();
    let sender = Sender::default();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(15) {
        assert!(sender.post(addr, 2));
    }
    let tally = sender.tally(&carbon);
    assert_eq!(metric(addr, "lines_replayed_total"), 0.0);
    let connects = metric(addr, "carbon_connects_total");
    let posts = tally.answered / 2;
    Ok(tally.noting(format!("{connects} connections for {posts} posts")))
}

/// A relay whose carbon has a name, in a file of names of its own.
struct Named {
    hosts: PathBuf,
    relay: Program,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Named {
    fn start(port: u16, ip: &str) -> Result<Self, Needs> {
        let dir = tempfile::tempdir().unwrap();
        let hosts = dir.path().join("hosts");
        let resolver = dir.path().join("resolv.conf");
        // Nobody answers there.
        std::fs::write(&resolver, "nameserver 127.0.0.1\n").unwrap();
        let write = |ip| std::fs::write(&hosts, format!("{ip} carbon.fault.test\n"));
        write(ip).unwrap();
        let addr = port::free().unwrap();
        let mount = "mount --bind \"$0\" /etc/hosts && mount --bind \"$1\" /etc/resolv.conf";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c"])
            .arg(format!("{mount} && shift && exec \"$@\""))
            .arg(&hosts)
            .arg(&resolver)
            .arg(env!("CARGO_BIN_EXE_catchpoint-graphite-relay"))
            .args(["--listen", &addr.to_string()])
            .args(["--carbon", &format!("carbon.fault.test:{port}")])
            .arg("--spool")
            .arg(dir.path().join("spool"));
        let mut process = Process::spawn("relay", command, &dir.path().join("log")).unwrap();
        process
            .wait_line("the relay accepts lines", SOON)
            .map_err(|_| NETWORK)?;
        Ok(Self {
            hosts,
            relay: Program { process, addr },
            port,
            _dir: dir,
        })
    }

    /// Lets carbon's name have this address, or none.
    fn name(&self, ip: Option<&str>) {
        let text = ip.map(|ip| format!("{ip} carbon.fault.test\n"));
        std::fs::write(&self.hosts, text.unwrap_or_default()).unwrap();
    }

    fn carbon(&self, ip: &str) -> StandIn {
        carbon_at(format!("{ip}:{}", self.port).parse().unwrap())
    }

    fn metric(&self, name: &str) -> f64 {
        metric(self.relay.addr, name)
    }

    fn wait_sent(&self) {
        until("the confirmation", || {
            let left = self.metric("spool_batches") + self.metric("replay_waiting_batches");
            (left == 0.0).then_some(())
        });
    }
}

/// Carbon's name gets the address of another carbon, while the first one lives.
pub fn name_moves() -> Outcome {
    let port = port::free().unwrap().port();
    let named = Named::start(port, "127.0.0.2")?;
    let first = named.carbon("127.0.0.2");
    let second = named.carbon("127.0.0.3");
    let sender = Sender::default();
    for _ in 0..10 {
        assert!(sender.post(named.relay.addr, 50));
    }
    named.wait_sent();
    named.name(Some("127.0.0.3"));
    assert!(sender.post(named.relay.addr, 50));
    let tally = sender.tally(&second);
    drop(first);
    let replayed = named.metric("lines_replayed_total");
    Ok(tally.noting(format!(
        "{replayed} lines sent again, the first carbon lives"
    )))
}

/// Carbon's name cannot be resolved for a while, and carbon lives.
pub fn no_name() -> Outcome {
    let port = port::free().unwrap().port();
    let named = Named::start(port, "127.0.0.2")?;
    let carbon = named.carbon("127.0.0.2");
    let sender = Sender::default();
    assert!(sender.post(named.relay.addr, 50));
    named.wait_sent();
    named.name(None);
    let failed = || named.metric("deliveries_failed_total{reason=\"unresolved\"}");
    assert!(sender.post(named.relay.addr, 50));
    until("failed deliveries", || (failed() >= 3.0).then_some(()));
    named.name(Some("127.0.0.2"));
    let tally = sender.tally(&carbon);
    assert_eq!(named.metric("lines_replayed_total"), 0.0);
    Ok(tally.noting(format!(
        "{} deliveries failed, nothing sent again",
        failed()
    )))
}
