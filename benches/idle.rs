//! The idle daemon: 1,000 policies and a pool of 5,000 VMs with 30,000 snapshots, none of them due. Resident memory and the
//! processor's time once it has come to rest, and beside them a process that only connects and keeps the pool's inventory. And the same
//! daemon with everything on: figures that are read every 15 s, the control socket that somebody asks every two seconds as `xensnap
//! status --watch` does, lines for the journal, and a watchdog. Whoever asks, reads and listens is in the process that compares.
//!
//! The pool is `xensnap simulator` in a process of its own, and so are the daemon and the baseline, because memory is a process's.
//!
//! Run with `cargo bench --bench idle`; `XENSNAP_BENCH_VMS`, `XENSNAP_BENCH_SNAPSHOTS`, `XENSNAP_BENCH_POLICIES` and
//! `XENSNAP_BENCH_SECONDS` set the size and how long it is watched.

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use support::{Service, number};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use xensnap::daemon::control::Listening;
use xensnap::daemon::{Manager, Plan};
use xensnap::domain::selection::Field;
use xensnap::engine::site::CLASSES;
use xensnap::telemetry::Journal;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let address = |at: usize| args[at].parse::<SocketAddr>().expect("an address");
    match args.get(1).map(String::as_str) {
        Some("daemon") => support::runtime().block_on(daemon(address(2))),
        Some("everything") => support::runtime().block_on(everything(address(2), Path::new(&args[3]))),
        Some("inventory") => support::runtime().block_on(inventory(address(2))),
        _ => compare(),
    }
}

/// What a process used.
struct Used {
    ready: f64,
    resident: f64,
    peak: f64,
    processor: f64,
}

fn compare() {
    let (vms, snapshots) = (number("XENSNAP_BENCH_VMS", 5_000), number("XENSNAP_BENCH_SNAPSHOTS", 30_000));
    let (policies, seconds) = (number("XENSNAP_BENCH_POLICIES", 1_000), number("XENSNAP_BENCH_SECONDS", 60));
    let pool = Pool::start(vms, snapshots);
    println!("{vms} VMs with {snapshots} snapshots, watched for {seconds} s each");
    let baseline = child(Command::new(ourselves()).args(["inventory", &pool.address]));
    say("the inventory alone", &baseline);
    let daemon = child(Command::new(ourselves()).args(["daemon", &pool.address]));
    say(&format!("the daemon, {policies} policies"), &daemon);
    println!("  resident: {:.2} times the inventory alone", daemon.resident / baseline.resident);
    let full = company(&pool.address);
    say("the daemon with everything on", &full);
    println!(
        "  resident: {:.2} times the bare daemon ({:.2} at the peak); processor: {:.2} times, {:.3} % of a core more",
        full.resident / daemon.resident,
        full.peak / daemon.peak,
        full.processor / daemon.processor,
        (full.processor - daemon.processor) * 100.0
    );
}

/// Runs the daemon with everything on, among those that ask it, read from it and listen to it.
fn company(address: &str) -> Used {
    let folder = support::folder();
    let at = |name: &str| folder.path().join(name);
    let (over, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (notify, journal) = (listener(&at("notify"), &over, &heard), listener(&at("journal"), &over, &heard));
    let scraped = again(15, &over, {
        let address = at("metrics");
        move || {
            let address = std::fs::read_to_string(&address).ok()?.parse().ok()?;
            support::get(address, "/metrics").ok().filter(|page| page.contains("xensnap_build_info"))
        }
    });
    let asked = again(2, &over, {
        let socket = at("control.sock");
        move || status(&socket).ok()
    });
    let mut command = Command::new(ourselves());
    command.args(["everything", address]).arg(folder.path());
    command.env("NOTIFY_SOCKET", at("notify")).env("WATCHDOG_USEC", "180000000");
    let used = child(&mut command);
    over.store(true, Ordering::Relaxed);
    let (scraped, asked) = (scraped.join().expect("no panic"), asked.join().expect("no panic"));
    [notify, journal].into_iter().for_each(|listener| listener.join().expect("no panic"));
    let heard = heard.load(Ordering::Relaxed);
    assert!(scraped > 0 && asked > 0 && heard > 0, "nobody was with it: {scraped} scrapes, {asked} answers, {heard} datagrams");
    println!("  (the next was scraped {scraped} times, asked {asked} times for its status, and told {heard} datagrams)");
    used
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
fn again<T>(seconds: u64, over: &Arc<AtomicBool>, what: impl Fn() -> Option<T> + Send + 'static) -> JoinHandle<usize> {
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
            std::thread::sleep(Duration::from_millis(50));
        }
        count
    })
}

/// How it stands, as `xensnap status` asks.
fn status(socket: &Path) -> std::io::Result<String> {
    use std::io::Write as _;
    let mut stream = UnixStream::connect(socket)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let _hello = lines.next().transpose()?;
    stream.write_all(b"{\"ask\":{\"status\":{}}}\n")?;
    let mut found = lines.map_while(Result::ok).take_while(|line| !line.contains("\"end\""));
    found.find(|line| line.contains("\"data\"")).ok_or_else(|| std::io::Error::other("no answer"))
}

fn say(what: &str, used: &Used) {
    println!(
        "  {what}: ready after {:.1} s, {:.0} MB resident ({:.0} MB at its peak), {:.3} % of a core",
        used.ready,
        used.resident / 1e6,
        used.peak / 1e6,
        used.processor * 100.0
    );
}

/// `xensnap simulator`, ended when it is dropped.
struct Pool {
    process: Child,
    address: String,
}

impl Pool {
    fn start(vms: usize, snapshots: usize) -> Self {
        let (vms, snapshots) = (vms.to_string(), snapshots.to_string());
        let args = ["simulator", "--listen", "127.0.0.1:0", "--hosts", "16", "--vms", &vms, "--snapshots", &snapshots];
        let mut command = Command::new(env!("CARGO_BIN_EXE_xensnap"));
        let mut process = command.args(args).stdout(Stdio::piped()).spawn().expect("the simulator");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let mut lines = output.lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("answers at http://")?.1.trim().to_owned()));
        // It must not be stopped by a pipe that nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: address.expect("an address") }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ourselves() -> PathBuf {
    std::env::current_exe().expect("our own path")
}

/// Runs a part in a process of its own; it prints four figures.
fn child(part: &mut Command) -> Used {
    let output = part.output().expect("started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [ready, resident, peak, processor] = figures[..] else {
        panic!("{text}{}", String::from_utf8_lossy(&output.stderr));
    };
    Used { ready, resident, peak, processor }
}

async fn daemon(address: SocketAddr) {
    let begin = Instant::now();
    let folder = support::folder();
    let service = Service::start(folder.path(), much(address)).await;
    watch(begin).await;
    service.stop().await;
}

/// The same, with all that an admin may switch on; the sockets of those around it are in `company`.
async fn everything(address: SocketAddr, company: &Path) {
    let begin = Instant::now();
    let folder = support::folder();
    let lines = tracing_subscriber::registry().with(tracing_subscriber::EnvFilter::new("info"));
    lines.with(Journal::at(&company.join("journal"))).init();
    let exporter = support::exporter().await;
    std::fs::write(company.join("metrics"), exporter.address().expect("an address").to_string()).expect("a file");
    let socket = Listening::at(&company.join("control.sock"), None).expect("a socket");
    let service = Service::start_with(folder.path(), much(address), |daemon| {
        daemon.under(Manager::of_environment()).listening(socket).exporting(exporter, 5_000)
    });
    let service = service.await;
    watch(begin).await;
    service.stop().await;
}

/// Many policies, none of them due.
fn much(address: SocketAddr) -> Plan {
    let policies = (0..number("XENSNAP_BENCH_POLICIES", 1_000)).map(|n| {
        // Due in half a day, and so not now.
        let due = support::soon(12 * 3600 + n as i64);
        support::policy(&format!("p{n}"), &support::daily_at(due), Field::Name, "*", 7)
    });
    support::plan(address, policies.collect())
}

async fn inventory(address: SocketAddr) {
    let begin = Instant::now();
    let pool = support::client(address).await;
    let inventory = pool.inventory(&CLASSES);
    assert!(inventory.ready(Duration::from_secs(600)).await, "it was not read in ten minutes");
    watch(begin).await;
    pool.logout().await;
}

/// Lets it come to rest, watches, and prints what was used.
async fn watch(begin: Instant) {
    let ready = begin.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (before, from) = (support::processor_of_threads(), Instant::now());
    tokio::time::sleep(Duration::from_secs(number("XENSNAP_BENCH_SECONDS", 60) as u64)).await;
    let share = (support::processor_of_threads().saturating_sub(before)).as_secs_f64() / from.elapsed().as_secs_f64();
    println!("{ready} {} {} {share}", support::memory("VmRSS"), support::memory("VmHWM"));
}
