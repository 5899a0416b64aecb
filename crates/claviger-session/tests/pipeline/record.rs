//! What stands in the record, and what waits for it.

use super::*;

#[test]
fn nothing_leaves_before_its_intent_is_on_stable_storage() {
    let world = synced();
    let mut client = world.serving();
    world.ledger.gate();
    client.send(&request(1, "read 0"));
    journal(&world, &["REQUEST 1 permit", "INTENT 1"]);
    assert!(client.asked().is_empty());
    world.ledger.sync();
    assert!(client.is_woken());
    client.turn();
    journal(&world, &["SYNC", "-> 1 Q read 0"]);
}

#[test]
fn a_completion_waits_for_its_outcome_on_stable_storage() {
    let world = synced();
    let mut client = world.serving();
    client.send(&request(1, "read 0"));
    world.ledger.journal();
    world.ledger.gate();
    client.answer(&answer(1, "read 0"));
    journal(&world, &["OUTCOME 1 completed", "TX_END 1 commit"]);
    world.ledger.sync();
    assert!(client.is_woken());
    client.turn();
    journal(&world, &["SYNC", "<- 1 C READ"]);
}

#[test]
fn by_default_reads_do_not_wait_and_writes_do() {
    let world = World::new(&Setup { durability: Durability::Auto, ..Setup::default() });
    let mut client = world.serving();
    world.ledger.gate();
    client.send(&[request(1, "read 0"), request(2, "write 0"), request(3, "vacuum 0")].concat());
    assert_eq!(client.asked(), ["1 Q read 0"]);
    client.answer(&answer(1, "read 0"));
    assert_eq!(client.heard(), ["1 C READ"]);
    world.ledger.sync();
    client.turn();
    assert_eq!(client.asked(), ["2 Q write 0", "3 Q vacuum 0"]);
    client.answer(&answer(2, "write 0"));
    assert!(client.heard().is_empty());
    world.ledger.sync();
    client.turn();
    assert_eq!(client.heard(), ["2 C WRITE"]);
}

#[test]
fn what_a_group_changes_waits_at_its_end() {
    let auto = || World::new(&Setup { durability: Durability::Auto, ..Setup::default() });
    let (end, world) = (frame(0, b'S', b""), auto());
    let mut client = world.serving();
    world.ledger.gate();
    client.send(&[request(1, "draft 0"), request(2, "draft 0"), end.clone(), request(3, "draft 0"), end.clone()].concat());
    assert_eq!(client.asked(), ["1 Q draft 0", "2 Q draft 0", "3 Q draft 0"]);
    world.ledger.sync();
    assert!(client.is_woken());
    client.turn();
    assert_eq!(client.asked(), ["0 S 2", "0 S 3"]);
    // What it changed was asked in an earlier turn.
    client.send(&request(4, "draft 0"));
    client.send(&end);
    assert_eq!(client.asked(), ["4 Q draft 0"]);
    world.ledger.sync();
    client.turn();
    assert_eq!(client.asked(), ["0 S 4"]);
    // What found no room changes nothing, what was before it does.
    client.send(&request(5, "draft 0"));
    world.ledger.set_storage(Storage::Full);
    client.send(&[request(6, "draft 0"), end.clone()].concat());
    assert_eq!(client.asked(), ["5 Q draft 0"]);
    world.ledger.sync();
    client.turn();
    assert_eq!(client.asked(), ["0 S 6"]);

    let world = auto();
    let mut client = world.serving();
    world.ledger.gate();
    client.send(&[request(1, "draft 0"), end].concat());
    world.ledger.set_storage(Storage::Failed);
    client.turn();
    assert!(client.closed && client.asked() == ["1 Q draft 0"], "what could not be recorded does not last");
}

#[test]
fn operations_end_in_any_order() {
    let world = world();
    let mut client = world.serving();
    client.send(&[request(7, "read 1"), request(8, "read 0"), request(9, "read !")].concat());
    client.answer(&[answer(9, "!"), answer(8, "read 0"), answer(7, "read 1")].concat());
    journal(
        &world,
        &[
            "REQUEST 1 permit",
            "INTENT 1",
            "REQUEST 2 permit",
            "INTENT 2",
            "REQUEST 3 permit",
            "INTENT 3",
            "-> 7 Q read 1",
            "-> 8 Q read 0",
            "-> 9 Q read !",
            "OUTCOME 3 error",
            "TX_END 3 rollback",
            "OUTCOME 2 completed",
            "TX_END 2 commit",
            "OUTCOME 1 completed",
            "TX_END 1 commit",
            "<- 7 D row 1",
            "<- 9 E syntax-error not understood",
            "<- 8 C READ",
            "<- 7 C READ",
        ],
    );
}

#[test]
fn every_transaction_that_began_ends_in_the_record() {
    let world = world();
    let mut client = world.serving();
    client.send(&[request(1, "write 0"), request(2, "read 0")].concat());
    client.answer(&answer(2, "read 0"));
    world.ledger.journal();
    client.eof(Side::Downstream);
    journal(&world, &["OUTCOME 1 unknown", "TX_END 1 unknown", "SESSION_CLOSE client"]);
}

#[test]
fn a_full_storage_refuses_operations_and_keeps_the_session() {
    let world = world();
    let mut client = world.serving();
    client.send(&request(1, "read 0"));
    world.ledger.set_storage(Storage::Full);
    client.send(&request(2, "write 0"));
    assert_eq!(client.asked(), ["1 Q read 0"]);
    assert_eq!(client.heard(), ["2 E audit-unavailable the audit storage is full"]);
    client.answer(&answer(1, "read 0"));
    assert_eq!(client.heard(), ["1 C READ"], "what was under way has room for its outcome");
    world.ledger.set_storage(Storage::Fine);
    client.send(&request(3, "write 0"));
    assert_eq!(client.asked(), ["3 Q write 0"]);
    assert!(!client.closed);
}

#[test]
fn a_full_storage_leaves_no_hole_in_the_recording() {
    let world = world();
    let mut client = world.serving();
    client.send(&request(1, "read 0"));
    world.ledger.set_storage(Storage::Full);
    client.send(&request(2, "write unheard"));
    world.ledger.set_storage(Storage::Fine);
    client.answer(&answer(1, "read 0"));
    client.eof(Side::Downstream);
    let leaves = world.ledger.leaves();
    let place = leaves.iter().find_map(|leaf| match &leaf.kind {
        LeafKind::Outcome(outcome) => outcome.rec,
        _ => None,
    });
    let chunks = world.ledger.chunks();
    assert_eq!(place.unwrap().chunk, chunks.len() as u64 - 1, "every chunk that was numbered is there");
    assert!(String::from_utf8_lossy(&chunks.concat()).contains("write unheard"));
}

#[test]
fn a_failed_storage_ends_the_session() {
    let world = world();
    let mut client = world.serving();
    client.send(&request(1, "read 0"));
    world.ledger.set_storage(Storage::Failed);
    client.send(&request(2, "write 0"));
    assert!(client.closed && world.gateway.registry.is_empty());
    assert_eq!(client.asked(), ["1 Q read 0"]);
    assert_eq!(client.heard(), ["0 E audit-unavailable the audit storage failed"]);
    assert_eq!(client.cancels.len(), 1, "what runs is cancelled");
}

#[test]
fn a_flush_that_fails_ends_the_session_and_lets_nothing_leave() {
    let world = synced();
    let mut client = world.serving();
    world.ledger.gate();
    client.send(&request(1, "write 0"));
    world.ledger.set_storage(Storage::Failed);
    client.turn();
    assert!(client.closed && client.asked().is_empty());
}

#[test]
fn a_flush_that_fails_leaves_the_client_without_the_end_and_what_is_behind_it() {
    let world = synced();
    let mut client = world.serving();
    client.send(&[request(1, "read 0"), request(2, "read 1")].concat());
    world.ledger.gate();
    client.answer(&[answer(1, "read 0"), frame(2, b'D', b"row 1").to_vec()].concat());
    assert!(client.heard().is_empty());
    world.ledger.set_storage(Storage::Failed);
    client.turn();
    assert!(client.closed);
    assert!(client.heard().is_empty(), "what is not on stable storage is not told");
}

#[test]
fn the_recording_holds_requests_and_as_much_of_responses_as_it_shall() {
    for (recording, expected) in [
        (ResponseRecording::Full, "1>\0\0\0\x0b\0\0\0\x01Qread 11<\0\0\0\x0a\0\0\0\x01Drow 11<\0\0\0\x09\0\0\0\x01CREAD"),
        (ResponseRecording::First(9), "1>\0\0\0\x0b\0\0\0\x01Qread 11<\0\0\0\x0a\0\0\0\x01D"),
        (ResponseRecording::None, "1>\0\0\0\x0b\0\0\0\x01Qread 1"),
    ] {
        let world = World::new(&Setup { recording, ..Setup::default() });
        let mut client = world.serving();
        client.send(&request(1, "read 1"));
        client.answer(&answer(1, "read 1"));
        client.eof(Side::Downstream);
        assert_eq!(String::from_utf8_lossy(&world.ledger.chunks().concat()), expected);
    }
}

#[test]
fn what_the_end_overtakes_is_recorded_as_far_as_it_is_known() {
    let world = synced();
    let mut client = world.serving();
    client.send(&request(1, "read 0"));
    world.ledger.gate();
    client.send(&request(2, "read 0"));
    world.ledger.journal();
    client.eof(Side::Upstream);
    assert!(client.closed);
    let journal = world.ledger.journal();
    assert_eq!(journal[..4], ["OUTCOME 1 unknown", "OUTCOME 2 not_sent", "TX_END 1 unknown", "SESSION_CLOSE upstream"]);
}

#[test]
fn an_abandoned_session_still_ends_in_the_record() {
    let world = world();
    let mut client = world.serving();
    client.send(&request(1, "write 0"));
    world.ledger.journal();
    client.abandon();
    journal(&world, &["OUTCOME 1 unknown", "TX_END 1 unknown", "SESSION_CLOSE gateway session.abandoned"]);
    assert!(world.gateway.registry.is_empty());
}
