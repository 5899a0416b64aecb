//! A full file system: a real one, small enough to fill.

use std::io::Write as _;
use std::process::Command;

use super::*;

const INSIDE: &str = "CLAVIGER_TEST_FULL_DIR";

/// Runs [`on_a_full_file_system`] in a mount namespace with a file system of its own, which ends with it.
#[test]
#[allow(clippy::print_stdout)]
fn a_full_disk_admits_nothing_and_records_what_is_in_flight() {
    let data = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=2m tmpfs \"$0\" && exec \"$@\"";
    let probe = Command::new("unshare").args(["-m", "sh", "-c", mount]).arg(data.path()).arg("true").status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("SKIPPED: a file system cannot be mounted here, so a full one was not tested");
        return;
    }
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", mount])
        .arg(data.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "log::tests::full::on_a_full_file_system", "--nocapture"])
        .env(INSIDE, data.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "run by the test above on a file system of its own"]
fn on_a_full_file_system() {
    let dir = PathBuf::from(std::env::var_os(INSIDE).expect("run by the test above"));
    // A checkpoint needs room of its own, which is not what is tested.
    let log = AuditLog::open(&dir, Options { checkpoint_interval: Duration::from_secs(3600), ..options() }).unwrap();
    log.append(Batch::leaves(vec![boot()])).unwrap();
    let mut recorder = log.record(id(1));
    log.append(Batch::leaves(vec![session_open(1, recorder.key_id())])).unwrap();
    const IN_FLIGHT: u64 = 20;
    for op in 1..=IN_FLIGHT {
        ask(&log, &mut *recorder, 1, op).unwrap();
    }

    let ballast = dir.join("ballast");
    let mut file = File::create(&ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);

    // What room was reserved ahead is used up, then nothing new is admitted, and nothing of it is written.
    let mut admitted = IN_FLIGHT;
    let refused = loop {
        match log.append(Batch::leaves(vec![request(1, admitted + 1, None), intent(1, admitted + 1)])) {
            Ok(_) => admitted += 1,
            Err(error) => break error,
        }
        assert!(admitted < 100_000);
    };
    assert!(matches!(refused, LedgerError::Full), "{refused}");
    // Strangers, of whom there may be any number, do not use up the room that is kept for what is in flight.
    let strangers = (0..100_000).take_while(|_| log.append(Batch::leaves(vec![session_refused(4)])).is_ok()).count() as u64;
    assert!(strangers < 100_000);
    let size = log.size();
    assert!(matches!(log.append(Batch::leaves(vec![session_open(3, "k")])), Err(LedgerError::Full)));
    assert_eq!(log.size(), size);
    // Requests for which there is no room, alone and together with an outcome for which there is.
    const REFUSED: u64 = 3;
    let mut ask_in_vain = |op| {
        recorder.request(OpId(op), &noise(op));
        let (chunk, rec) = recorder.seal(false).unwrap();
        Batch { chunks: vec![chunk], leaves: vec![request(1, op, Some(rec)), intent(1, op)] }
    };
    let (alone, together) = (ask_in_vain(100_001), [100_002, 100_003].map(&mut ask_in_vain));
    assert!(matches!(log.append_all(vec![alone])[..], [Err(LedgerError::Full)]));
    let [first, second] = together;
    let results = log.append_all(vec![first, Batch::leaves(vec![outcome(1, 1, None)]), second]);
    assert!(matches!(results[..], [Err(LedgerError::Full), Ok(_), Err(LedgerError::Full)]), "{results:?}");

    // Everything in flight still gets its outcome, be its content lost.
    for op in 2..=admitted {
        recorder.response(OpId(op), &noise(op));
        let (chunk, rec) = recorder.seal(false).unwrap();
        log.append(Batch { chunks: vec![chunk], leaves: vec![outcome(1, op, Some(rec))] }).unwrap();
    }
    log.append(Batch::leaves(vec![session_close(1)])).unwrap();
    let report = sound(&dir);
    assert!(report.lost_chunks > 0 && report.lost_chunks <= admitted + REFUSED, "{report:?}");
    assert_eq!((report.operations, report.open_operations), (admitted, 0));
    assert_eq!(report.leaves, 2 + 2 * admitted + admitted + 1 + report.lost_chunks + strangers);

    // With room again, everything goes on by itself.
    fs::remove_file(&ballast).unwrap();
    talk(&log, 3, 2);
    drop(log);
    let report = sound(&dir);
    assert_eq!((report.operations, report.not_yet_checkpointed), (admitted + 2, 0));
    assert_eq!(read_session(&dir, id(1)).unwrap().lost_chunks, report.lost_chunks);
}

/// 16 KiB that do not compress.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed | 1 << 40;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..2048).flat_map(|_| next()).collect()
}
