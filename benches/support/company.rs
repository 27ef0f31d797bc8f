//! Processes that are measured, because memory and the processor's time are a process's; and the company of a daemon with everything on:
//! whoever reads its figures every 15 s, asks for its status every two seconds as `xensnap status --watch` does, listens for the
//! journal, and is the service manager with its watchdog. They are all in the process that compares.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use xensnap::daemon::control::Listening;
use xensnap::daemon::{Manager, Plan};
use xensnap::telemetry::Journal;

use super::Service;

/// `xensnap simulator`, ended when it is dropped.
pub struct Simulator {
    process: Child,
    /// Where it answers.
    pub address: String,
}

impl Simulator {
    /// Starts it with these options.
    pub fn start(options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xensnap"));
        command.args(["simulator", "--listen", "127.0.0.1:0"]).args(options);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the simulator");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let mut lines = output.lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("answers at http://")?.1.trim().to_owned()));
        // It must not be stopped by a pipe that nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: address.expect("an address") }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a process used.
pub struct Used {
    /// Seconds until it was ready, or its work was done.
    pub ready: f64,
    /// Bytes.
    pub resident: f64,
    /// Bytes.
    pub peak: f64,
    /// The processor's time: a share of a core, or seconds.
    pub processor: f64,
}

impl Used {
    /// What this process used, for [`child`] to read.
    pub fn print(ready: f64, processor: f64) {
        println!("{ready} {} {} {processor}", super::memory("VmRSS"), super::memory("VmHWM"));
    }
}

/// A part of this benchmark as a process of its own.
pub fn part(name: &str, address: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.args([name, address]);
    command
}

/// Runs a part; it prints four figures.
pub fn child(part: &mut Command) -> Used {
    let output = part.output().expect("started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [ready, resident, peak, processor] = figures[..] else {
        panic!("{text}{}", String::from_utf8_lossy(&output.stderr));
    };
    Used { ready, resident, peak, processor }
}

/// Runs a part among those that ask it, read from it and listen to it. It has to start its service with [`service`].
pub fn child_in_company(mut part: Command) -> Used {
    let folder = super::folder();
    let at = |name: &str| folder.path().join(name);
    let (over, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let listeners = [listener(&at("notify"), &over, &heard), listener(&at("journal"), &over, &heard)];
    let page = at("metrics");
    let scraped = again(15, &over, move || scrape(&page));
    let socket = at("control.sock");
    let asked = again(2, &over, move || status(&socket));
    part.arg(folder.path()).env("NOTIFY_SOCKET", at("notify")).env("WATCHDOG_USEC", "180000000");
    let used = child(&mut part);
    over.store(true, Ordering::Relaxed);
    let (scraped, asked) = (scraped.join().expect("no panic"), asked.join().expect("no panic"));
    listeners.into_iter().for_each(|listener| listener.join().expect("no panic"));
    let heard = heard.load(Ordering::Relaxed);
    assert!(scraped > 0 && asked > 0 && heard > 0, "nobody was with it: {scraped} scrapes, {asked} answers, {heard} datagrams");
    println!("  ({scraped} scrapes, {asked} answers about the status, {heard} datagrams to journal and service manager)");
    used
}

/// A service among those whose sockets are in this folder, if one is given; else the bare daemon.
pub async fn service(folder: &Path, plan: Plan, company: Option<PathBuf>) -> Service {
    let Some(company) = company else { return Service::start(folder, plan).await };
    let lines = tracing_subscriber::registry().with(tracing_subscriber::EnvFilter::new("info"));
    lines.with(Journal::at(&company.join("journal"))).init();
    let exporter = super::exporter().await;
    let address = exporter.address().expect("an address").to_string();
    std::fs::write(company.join("metrics"), address).expect("a file");
    let socket = Listening::at(&company.join("control.sock"), None).expect("a socket");
    let more =
        |daemon: xensnap::daemon::Daemon| daemon.under(Manager::of_environment()).listening(socket).exporting(exporter, 5_000);
    Service::start_with(folder, plan, more).await
}

/// Takes what comes at a socket, until it is over.
fn listener(path: &Path, over: &Arc<AtomicBool>, heard: &Arc<AtomicUsize>) -> JoinHandle<()> {
    let socket = UnixDatagram::bind(path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
    let (over, heard) = (Arc::clone(over), Arc::clone(heard));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while !over.load(Ordering::Relaxed) {
            heard.fetch_add(usize::from(socket.recv(&mut buffer).is_ok()), Ordering::Relaxed);
        }
    })
}

/// Does something every so many seconds, until it is over; how often it brought something.
fn again(seconds: u64, over: &Arc<AtomicBool>, what: impl Fn() -> Option<String> + Send + 'static) -> JoinHandle<usize> {
    let over = Arc::clone(over);
    std::thread::spawn(move || {
        let (mut count, mut next) = (0, Instant::now());
        while !over.load(Ordering::Relaxed) {
            if Instant::now() >= next {
                let brought = what().is_some();
                count += usize::from(brought);
                // Until it can be asked at all it is tried more often.
                next = Instant::now() + if brought { Duration::from_secs(seconds) } else { Duration::from_millis(200) };
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        count
    })
}

/// The figures of the service that has written its address there.
fn scrape(address: &Path) -> Option<String> {
    let address = std::fs::read_to_string(address).ok()?.parse().ok()?;
    super::get(address, "/metrics").ok().filter(|page| page.contains("xensnap_build_info"))
}

/// How it stands, as `xensnap status` asks.
fn status(socket: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
    let _hello = lines.next()?;
    stream.write_all(b"{\"ask\":{\"status\":{}}}\n").ok()?;
    lines.take_while(|line| !line.contains("\"end\"")).find(|line| line.contains("\"data\""))
}
