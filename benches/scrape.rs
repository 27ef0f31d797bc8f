//! What it costs to be asked by Prometheus: 5,000 VMs, each with a snapshot of the night before, each with a series of its own. The time
//! of a scrape, its bytes and series, and beside it a server that has the same bytes ready.
//!
//! Run with `cargo bench --bench scrape`; `XENSNAP_BENCH_VMS` and `XENSNAP_BENCH_SCRAPES` set the size and how often it is asked.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use support::{Service, number};
use xensnap::domain::selection::Field;
use xensnap::simulator::storage::timings::Timings;

fn main() {
    support::runtime().block_on(measure());
}

async fn measure() {
    let (vms, scrapes) = (number("XENSNAP_BENCH_VMS", 5_000), number("XENSNAP_BENCH_SCRAPES", 50));
    let server = support::serve(support::world(vms, 16, Timings::instant())).await;
    let policy = support::policy("nightly", &support::daily_at(support::soon(5)), Field::Name, "*", 7);
    let (folder, exporter) = (support::folder(), support::exporter().await);
    let address = exporter.address().expect("an address");
    let plan = support::plan(server.address(), vec![policy]);
    let service = Service::start_with(folder.path(), plan, |daemon| daemon.exporting(exporter, vms)).await;
    let run = service.after_runs(1).await;
    assert_eq!(run.jobs as usize, vms, "a snapshot of each");

    let (page, first, _) = scrape(address, 1).await;
    let series = page.lines().filter(|line| line.starts_with("xensnap_")).count();
    let of_vms = page.lines().filter(|line| line.starts_with("xensnap_vm_newest_snapshot_timestamp_seconds{")).count();
    println!("{vms} VMs: {series} series, {of_vms} of them of VMs, {:.0} KB", page.len() as f64 / 1e3);
    let (_, again, processor) = scrape(address, scrapes).await;
    let (_, ready, _) = scrape(has_ready(page), scrapes).await;
    println!(
        "  a scrape: {:.1} ms in the middle of {scrapes}, the first {:.1} ms (VMs are selected anew each minute)",
        ms(again),
        ms(first)
    );
    println!(
        "  it takes {:.1} ms of processor; one each 15 s: {:.3} % of a core",
        ms(processor),
        processor.as_secs_f64() / 15.0 * 100.0
    );
    println!(
        "  the same bytes, ready: {:.1} ms; a scrape is {:.1} times that",
        ms(ready),
        again.as_secs_f64() / ready.as_secs_f64()
    );
    service.stop().await;
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Asks so many times: the page, the time in the middle, and the processor's time of one, the asker's included.
async fn scrape(address: SocketAddr, times: usize) -> (String, Duration, Duration) {
    let asking = move || {
        let (mut taken, mut page, before) = (Vec::new(), String::new(), support::processor());
        for _ in 0..times {
            let begin = Instant::now();
            page = support::get(address, "/metrics").expect("a page");
            taken.push(begin.elapsed());
        }
        let processor = support::processor() - before;
        (page, support::quantile(&mut taken, 0.5), processor / u32::try_from(times).expect("few"))
    };
    tokio::task::spawn_blocking(asking).await.expect("no panic")
}

/// A server that answers everybody with these bytes.
fn has_ready(page: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            stream.write_all(page.as_bytes()).expect("taken");
        }
    });
    address
}
