//! The long loops: `cargo nextest run -p claviger --test it --run-ignored only`.

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
        let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", gateway.process_id())).unwrap().count();
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
        let (memory, open) = (resident(&gateway), descriptors());
        wave(300).await;
        assert!(descriptors() <= open + 4, "{} descriptors, {open} at the beginning", descriptors());
        let grown = resident(&gateway).saturating_sub(memory);
        assert!(grown < 32 * 1024, "{grown} KiB more after 2400 sessions");
        gateway.verify();
    });
}
