//! A gibibyte passes in either direction, and the gateway keeps none of it in memory.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::{ask, enter, message, until_ready};
use super::figure;
use super::ground::{Ground, Peak};
use crate::harness::{Conn, Major, frame, random, run};

const GIBIBYTE: u64 = 1 << 30;

/// What the gateway may take for one stream, in KiB.
const BOUND: u64 = 64 * 1024;

const PATIENCE: Duration = Duration::from_secs(300);

#[test]
#[ignore = "minutes"]
fn a_gibibyte_streams_in_bounded_memory() {
    run(async {
        let server = server!(Major::V15, &["max_wal_size=1GB"]);
        let conns = [("full", "full"), ("some", "first 256KiB"), ("none", "none")].map(|(name, recorded)| {
            Conn::to(name, &server).tls("disable", None).plaintext().set(&format!("recording = \"{recorded}\""))
        });
        server.admin("bank").await.batch_execute("create table sink (line text); grant all on sink to keeper").await.unwrap();
        let ground = Ground::of(&server, &conns, "").await;
        for name in ["none", "some", "full"] {
            let mut socket = enter(ground.gateway.port(name), name, &ground.token).await.unwrap();
            let rows = "select md5(n::text) || repeat(md5((n + 1)::text), 31) from generate_series(1, 1048576) n";
            for (what, query) in [("SELECT", rows.to_owned()), ("COPY out", format!("copy ({rows}) to stdout"))] {
                ground.seen();
                let (peak, began) = (Peak::of(&ground.gateway), Instant::now());
                ask(&mut socket, &query).await.unwrap();
                let bytes = timeout(PATIENCE, bytes_until_ready(&mut socket)).await.expect("it comes to its end");
                report(&ground, name, what, bytes, began, peak);
            }
            ground.seen();
            let (peak, began) = (Peak::of(&ground.gateway), Instant::now());
            // Everything is sent, read and checked, and nothing is kept.
            ask(&mut socket, "copy sink from stdin where false").await.unwrap();
            assert_eq!(message(&mut socket).await.unwrap().0, b'G');
            let bytes = timeout(PATIENCE, copy_in(&mut socket)).await.expect("it comes to its end");
            until_ready(&mut socket).await.unwrap();
            report(&ground, name, "COPY in", bytes, began, peak);
        }
        let during = ground.seen();
        ground.recovers("streams", &during).await;
        ground.gateway.verify();
    });
}

fn report(ground: &Ground, recorded: &str, what: &str, bytes: u64, began: Instant, peak: Peak) {
    let (took, memory, seen) = (began.elapsed(), peak.growth(), ground.seen());
    assert!(bytes >= GIBIBYTE, "{bytes} bytes");
    figure(&format!(
        "{what} of 1 GiB, recording {recorded}: {memory} KiB more at the most, {:.0} MB/s; bystander's p50/p99/max {seen}",
        bytes as f64 / 1e6 / took.as_secs_f64()
    ));
    assert!(memory < BOUND, "{what}, recording {recorded}: {memory} KiB");
}

/// Reads up to the server's readiness, which comes last and alone; how many bytes it was.
async fn bytes_until_ready(socket: &mut TcpStream) -> u64 {
    const READY: &[u8] = &[b'Z', 0, 0, 0, 5, b'I'];
    let (mut block, mut bytes, mut last) = (vec![0; 256 * 1024], 0, Vec::new());
    loop {
        let count = socket.read(&mut block).await.unwrap();
        assert!(count > 0, "the session has ended");
        bytes += count as u64;
        last.extend_from_slice(&block[count.saturating_sub(READY.len())..count]);
        last.drain(..last.len().saturating_sub(READY.len()));
        if bytes > READY.len() as u64 && last == READY {
            return bytes;
        }
    }
}

/// Sends a gibibyte of lines that do not compress to nothing.
async fn copy_in(socket: &mut TcpStream) -> u64 {
    let noise: String = random::<512>().iter().map(|byte| format!("{byte:02x}")).collect();
    let lines = frame(b'd', format!("{}\n", &noise[1..]).repeat(64).as_bytes());
    let mut bytes = 0;
    while bytes < GIBIBYTE {
        socket.write_all(&lines).await.unwrap();
        bytes += lines.len() as u64 - 5;
    }
    socket.write_all(&frame(b'c', &[])).await.unwrap();
    bytes
}
