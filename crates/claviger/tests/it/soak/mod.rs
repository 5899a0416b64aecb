//! The long loops, and clients in numbers: `make soak`, or by hand, one at a time:
//! `cargo nextest run -p claviger --test it --run-ignored only -j 1 -E 'test(off_boarding)'`.
//!
//! Here time is asserted, generously, and figures are said: on standard error, and as lines of the file that
//! `CLAVIGER_SOAK_FIGURES` names.

mod client;
mod crowd;
mod floods;
mod ground;
mod held;
mod off_boarding;
mod streams;
mod vanished;

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use crate::harness::{Gateway, Major, eventually, run};
use crate::hostile::resident;

#[test]
#[ignore = "minutes"]
fn twenty_kills_lose_nothing_acknowledged() {
    run(crate::recovery::kills(20));
}

/// Memory and descriptors do not grow with the number of sessions that have been.
#[test]
#[ignore = "minutes"]
fn sessions_come_and_go_and_leave_nothing_behind() {
    run(async {
        let server = server!(Major::V15);
        let gateway = Gateway::before(&server);
        let token = gateway.token(&["alice"]);
        let wave = async |count: usize| {
            for _ in 0..count {
                crate::record::futures(8, |_| async {
                    let session = gateway.login("bank", "alice", &token).await.unwrap();
                    session.batch_execute("select repeat('x', 100000)").await.unwrap();
                })
                .await;
            }
            eventually("all are gone", Duration::from_secs(5), async || server.gateway_sessions().await == "0").await;
        };
        wave(20).await;
        let (memory, open) = (resident(&gateway), descriptors(&gateway));
        wave(300).await;
        let still_open = descriptors(&gateway);
        assert!(still_open <= open + 4, "{still_open} descriptors, {open} at the beginning");
        let grown = resident(&gateway).saturating_sub(memory);
        assert!(grown < 32 * 1024, "{grown} KiB more after 2400 sessions");
        figure(&format!("2400 sessions, come and gone: {grown} KiB more"));
        gateway.verify();
    });
}

/// Says a figure.
pub(crate) fn figure(line: &str) {
    eprintln!("FIGURE: {line}");
    if let Some(file) = std::env::var_os("CLAVIGER_SOAK_FIGURES") {
        writeln!(File::options().create(true).append(true).open(file).unwrap(), "{line}").unwrap();
    }
}

/// How many descriptors the gateway has open.
fn descriptors(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.process_id())).unwrap().count()
}

/// Does something so many times, and no more of it at once than that.
async fn many<T>(count: usize, at_once: usize, make: impl AsyncFn(usize) -> T) -> Vec<T> {
    let mut made = Vec::with_capacity(count);
    while made.len() < count {
        let first = made.len();
        made.extend(crate::record::futures(at_once.min(count - first), |n| make(first + n)).await);
    }
    made
}
