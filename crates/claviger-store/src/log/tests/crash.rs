//! Crashes: the files as a killed process, or somebody with a knife, may leave them.

use super::*;

/// Copies the data directory, as it is at this moment, without its lock.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn only_file(data: &Path, dir: &str, extension: &str) -> PathBuf {
    let dir = data.join("audit").join(dir);
    let numbers = segment::numbers(&dir, extension).unwrap();
    assert_eq!(numbers.len(), 1);
    segment::file_path(&dir, numbers[0], extension)
}

fn cut(path: &Path, length: usize) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length as u64).unwrap();
}

/// A log whose last leaves are not signed, as it is when the process is killed: `BOOT`, a whole session, and one with an
/// operation under way.
fn killed() -> (tempfile::TempDir, u64) {
    let (live, dead) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let slow = Options { checkpoint_interval: Duration::from_secs(3600), ..options() };
    let log = AuditLog::open(live.path(), slow).unwrap();
    log.append(Batch::leaves(vec![boot()])).unwrap();
    talk(&log, 1, 1);
    let signed = log.checkpoint_now().unwrap().size;
    let mut recorder = log.record(id(2));
    log.append(Batch::leaves(vec![session_open(2, recorder.key_id())])).unwrap();
    ask(&log, &mut *recorder, 2, 1).unwrap();
    answer(&log, &mut *recorder, 2, 1).unwrap();
    ask(&log, &mut *recorder, 2, 2).unwrap();
    copy(live.path(), dead.path());
    (dead, signed)
}

#[test]
fn what_was_open_is_ended() {
    let (data, _) = killed();
    assert_eq!(sound(data.path()).open_operations, 1);
    let log = open(data.path());
    let record = log.read_session(id(2)).unwrap();
    let (last, before) = record.leaves.split_last().unwrap();
    assert!(last.contains(r#""detail":"crash""#) && last.contains("SESSION_CLOSE"), "{last}");
    assert!(before.last().unwrap().contains(r#""op":2,"rows":0"#) && before.last().unwrap().contains(r#""status":"unknown""#));
    drop(log);
    let report = sound(data.path());
    assert_eq!((report.open_operations, report.operations), (0, 3));
    let text = log_text(data.path());
    assert_eq!(text.matches(r#""log_bytes_cut":0,"of_boot":""#).count(), 1);
    assert_eq!(text.matches(r#""operations_unknown":1"#).count(), 1);
}

#[test]
fn a_log_cut_anywhere_after_its_checkpoint_is_mended() {
    let (dead, signed) = killed();
    let text = log_text(dead.path());
    let signed_bytes: usize = text.split_inclusive('\n').take(usize::try_from(signed).unwrap()).map(str::len).sum();
    for length in signed_bytes..=text.len() {
        // Every byte of the last line, every eleventh before.
        if length + 200 < text.len() && length % 11 != 0 {
            continue;
        }
        let data = tempfile::tempdir().unwrap();
        copy(dead.path(), data.path());
        cut(&only_file(data.path(), "log", replay::LOG), length);
        let whole = text[..length].rfind('\n').unwrap() + 1;
        let log = AuditLog::open(data.path(), options()).unwrap();
        let after = log_text(data.path());
        assert!(after.starts_with(&text[..whole]), "what was whole stays");
        let recovery = format!(r#""log_bytes_cut":{}"#, length - whole);
        assert!(length == signed_bytes || after[whole..].contains(&recovery), "{length}: {}", &after[whole..]);
        drop(log);
        assert_eq!(sound(data.path()).open_operations, 0);
    }
}

#[test]
fn a_log_cut_before_its_checkpoint_stays_shut() {
    let (dead, signed) = killed();
    let text = log_text(dead.path());
    let signed_bytes: usize = text.split_inclusive('\n').take(usize::try_from(signed).unwrap()).map(str::len).sum();
    for length in [0, 10, signed_bytes / 2, signed_bytes - 1] {
        for keep in ["checkpoints", "checkpoint"] {
            let data = tempfile::tempdir().unwrap();
            copy(dead.path(), data.path());
            fs::remove_file(data.path().join("audit").join(keep)).unwrap();
            cut(&only_file(data.path(), "log", replay::LOG), length);
            let error = AuditLog::open(data.path(), options()).err().unwrap();
            assert!(matches!(error, OpenError::Short { signed: s, .. } if s == signed), "{error}");
        }
        let data = tempfile::tempdir().unwrap();
        copy(dead.path(), data.path());
        cut(&only_file(data.path(), "log", replay::LOG), length);
        assert_eq!(verify_dir(data.path()).unwrap().problems.last().unwrap().code, "log.short");
    }
}

#[test]
fn a_changed_log_stays_shut() {
    let (data, signed) = killed();
    let path = only_file(data.path(), "log", replay::LOG);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("alice", "mallo", 1)).unwrap();
    let error = AuditLog::open(data.path(), options()).err().unwrap();
    assert!(matches!(error, OpenError::Changed { signed: s } if s == signed), "{error}");
}

#[test]
fn a_recording_cut_anywhere_in_its_last_chunk_is_mended() {
    let (dead, _) = killed();
    let path = only_file(dead.path(), "recordings", replay::RECORDING);
    let (all, mut chunks) = (fs::read(path).unwrap(), Vec::new());
    let mut rest = all.as_slice();
    while let Some((_, next)) = claviger_audit::recording::Frame::split(rest).unwrap() {
        chunks.push(all.len() - rest.len());
        rest = next;
    }
    // The last chunk's leaves are not there either: the process died between the two writes.
    let text = log_text(dead.path());
    let keep = text.lines().count() - 2;
    let log_length = text.split_inclusive('\n').take(keep).map(str::len).sum();
    let last = *chunks.last().unwrap();
    for length in last..all.len() {
        let data = tempfile::tempdir().unwrap();
        copy(dead.path(), data.path());
        cut(&only_file(data.path(), "recordings", replay::RECORDING), length);
        cut(&only_file(data.path(), "log", replay::LOG), log_length);
        drop(AuditLog::open(data.path(), options()).unwrap());
        let recovery = format!(r#""recording_bytes_cut":{}"#, length - last);
        assert!(log_text(data.path()).contains(&recovery), "{recovery}");
        assert_eq!(sound(data.path()).chunks, Some(4));
    }
}

#[test]
fn torn_checkpoints_are_cut() {
    let (dead, signed) = killed();
    let path = dead.path().join("audit/checkpoints");
    let whole = fs::read(&path).unwrap();
    for torn in 1..whole.len() {
        let data = tempfile::tempdir().unwrap();
        copy(dead.path(), data.path());
        fs::write(data.path().join("audit/checkpoints"), [whole.as_slice(), &whole[..torn]].concat()).unwrap();
        drop(AuditLog::open(data.path(), options()).unwrap());
        let report = sound(data.path());
        assert_eq!((report.checkpoints, report.checkpointed > signed), (2, true));
    }
}

#[test]
fn damaged_checkpoints_are_not_cut() {
    let (data, _) = killed();
    let path = data.path().join("audit/checkpoints");
    let whole = fs::read_to_string(&path).unwrap();
    let other = whole.replace("gateway", "another");
    for damaged in [format!("{whole}x"), format!("{whole}{other}"), whole.replacen("\n6\n", "\n7\n", 1), "garbage".repeat(10_000)]
    {
        fs::write(&path, &damaged).unwrap();
        assert!(matches!(AuditLog::open(data.path(), options()), Err(OpenError::Checkpoints)));
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    }
}

/// A power failure may keep leaves that nobody waited for, and lose the chunks to which they refer.
#[test]
fn leaves_without_their_chunks_are_accounted_for() {
    let (data, _) = killed();
    let recording = only_file(data.path(), "recordings", replay::RECORDING);
    let all = fs::read(&recording).unwrap();
    cut(&recording, all.len() - 10);
    assert_eq!(verify_dir(data.path()).unwrap().problems[0].code, "recording.missing");
    drop(open(data.path()));
    let report = sound(data.path());
    assert_eq!((report.chunks, report.lost_chunks), (Some(4), 1));
    let gap = format!(r#""chunk":2,"chunks":1,"seq":13,"session":"{}""#, id(2));
    assert!(log_text(data.path()).contains(&gap), "{}", log_text(data.path()));
}

/// What was signed had its chunks: if they are gone, that is no crash, and opening the log does not explain it away.
#[test]
fn signed_leaves_without_their_chunks_stay_a_problem() {
    let (data, _) = killed();
    cut(&only_file(data.path(), "recordings", replay::RECORDING), 0);
    drop(open(data.path()));
    let report = verify_dir(data.path()).unwrap();
    let missing: Vec<_> = report.problems.iter().map(|problem| (problem.leaf, problem.code)).collect();
    assert_eq!(missing, [(Some(2), "recording.missing"), (Some(4), "recording.missing")]);
    assert_eq!(report.lost_chunks, 3);
}
