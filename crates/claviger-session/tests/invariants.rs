//! What holds of every session, whatever happens in it: random sessions, judged by their journal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use claviger_audit::LeafKind;
use claviger_model::{Durability, Refusal, RefusalKind};
use claviger_protocols::Side;
use claviger_session::Said;
use claviger_testkit::ledger::Storage;
use claviger_testkit::mux::{answer, frame, request};
use claviger_testkit::world::{Client, Setup, World};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Act {
    /// The client asks for the next operation, whose stream is its number.
    Ask(&'static str),
    /// The client makes what it has drafted lasting.
    Commit,
    /// The upstream answers what it has been asked longest, or last.
    Answer {
        oldest: bool,
        text: &'static str,
    },
    /// Somebody decides the oldest hold.
    Decide {
        admit: bool,
    },
    /// What was appended reaches stable storage.
    Sync,
    Storage(Storage),
    Advance(i64),
    Disable,
    Kill,
    Leave(Side),
    Abandon,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => prop::sample::select(vec!["read 1", "write 1", "draft 1", "other 1", "forbid", "hold", "edit"]).prop_map(Act::Ask),
        3 => Just(Act::Commit),
        10 => (any::<bool>(), prop::sample::select(vec!["read 2", "read !"])).prop_map(|(oldest, text)| Act::Answer { oldest, text }),
        4 => any::<bool>().prop_map(|admit| Act::Decide { admit }),
        6 => Just(Act::Sync),
        2 => prop::sample::select(vec![Storage::Fine, Storage::Full]).prop_map(Act::Storage),
        1 => Just(Act::Storage(Storage::Failed)),
        2 => (0..2000i64).prop_map(Act::Advance),
        1 => Just(Act::Disable),
        1 => Just(Act::Kill),
        1 => prop::sample::select(vec![Side::Downstream, Side::Upstream]).prop_map(Act::Leave),
        1 => Just(Act::Abandon),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_record_is_always_ahead_of_both_parties(
        acts in prop::collection::vec(act(), 1..40),
        durability in prop::sample::select(vec![Durability::Ordered, Durability::Auto, Durability::Synced]),
    ) {
        let story = live(&acts, durability);
        judge(&story, durability);
    }
}

/// What was seen of a session.
struct Story {
    journal: Vec<String>,
    /// Whether the storage has failed, so that the end of the story is missing.
    failed: bool,
}

fn live(acts: &[Act], durability: Durability) -> Story {
    let world = World::new(&Setup { durability, ..Setup::default() });
    let token = world.token("ana");
    let mut client = world.serving_with(&token.token);
    world.ledger.gate();
    let (mut asked, mut waiting, mut failed) = (0, Vec::new(), false);
    for act in acts {
        match *act {
            Act::Ask(text) => {
                asked += 1;
                client.send(&request(asked, text));
            }
            Act::Commit => client.send(&frame(0, b'S', b"")),
            Act::Answer { oldest, text } if !waiting.is_empty() => {
                let stream = waiting.remove(if oldest { 0 } else { waiting.len() - 1 });
                client.answer(&answer(stream, text));
            }
            Act::Decide { admit: yes } => {
                let Some(held) = world.pending() else { continue };
                // Without a record there is no review.
                _ = world.review_as("dana", held, if yes { &Said::Approve } else { &Said::Deny });
            }
            Act::Sync => world.ledger.sync(),
            Act::Storage(storage) => {
                failed |= storage == Storage::Failed;
                world.ledger.set_storage(if failed { Storage::Failed } else { storage });
            }
            Act::Advance(seconds) => world.advance(seconds),
            Act::Disable => {
                world.disable("ana");
                world.gateway.end_revoked();
            }
            Act::Kill => {
                let refusal = Refusal::new(RefusalKind::Terminated, "killed");
                world.gateway.registry.kill(client.id, refusal, "admin.kill");
            }
            Act::Leave(side) => client.eof(side),
            Act::Abandon => break,
            Act::Answer { .. } => {}
        }
        client.turn();
        waiting.extend(sent(&mut client));
        if client.closed {
            break;
        }
    }
    client.abandon();
    assert!(world.gateway.registry.is_empty(), "a session stays in the registry");
    recording_is_whole(&world);
    Story { journal: world.ledger.journal(), failed }
}

/// The streams of the requests that have left since the last look.
fn sent(client: &mut Client) -> Vec<u32> {
    let asked = client.asked();
    asked.iter().map(|frame| frame.split(' ').next().unwrap().parse().unwrap()).filter(|stream| *stream > 0).collect()
}

/// Every chunk that a leaf speaks of is there.
fn recording_is_whole(world: &World) {
    let place = world.ledger.leaves().into_iter().filter_map(|leaf| match leaf.kind {
        LeafKind::Request(request) => request.rec,
        LeafKind::Outcome(outcome) => outcome.rec,
        _ => None,
    });
    let most = place.map(|place| place.chunk + 1).max().unwrap_or(0);
    assert!(most <= world.ledger.chunks().len() as u64, "a chunk is missing");
}

fn judge(story: &Story, durability: Durability) {
    let (mut requested, mut denied, mut intended, mut ended) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let (mut sent, mut drafted, mut finished) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let (mut intended_safely, mut ended_safely) = (BTreeSet::new(), BTreeSet::new());
    let mut approvals: BTreeSet<(&str, u64)> = BTreeSet::new();
    let mut closed = false;
    for line in &story.journal {
        let words: Vec<&str> = line.split(' ').collect();
        let op = |index: usize| words[index].trim_end_matches(',').parse::<u64>().unwrap();
        let context = || format!("`{line}` in {:#?}", story.journal);
        match words[0] {
            "SYNC" => {
                intended_safely.clone_from(&intended);
                ended_safely.clone_from(&ended);
            }
            "REQUEST" => {
                assert!(requested.insert(op(1)), "twice: {}", context());
                if words[2] == "deny" {
                    denied.insert(op(1));
                } else if approvals.contains(&("requested", op(1))) {
                    assert!(approvals.contains(&("spent", op(1))), "without consent: {}", context());
                }
            }
            "APPROVAL" => {
                let so_many = |event| approvals.iter().filter(|(known, _)| *known == event).count();
                let before = |event| approvals.contains(&(event, op(1)));
                match words[2] {
                    "requested" => {}
                    "approved" | "denied" => assert!(before("requested"), "out of place: {}", context()),
                    "granted" => assert!(before("approved"), "out of place: {}", context()),
                    // By the operation that asked, or by one that repeats it.
                    "spent" => assert!(so_many("spent") < so_many("granted"), "out of place: {}", context()),
                    "withdrawn" => assert!(!before("granted"), "out of place: {}", context()),
                    _ => panic!("unexpected: {}", context()),
                }
                assert!(approvals.insert((words[2], op(1))), "twice: {}", context());
            }
            "INTENT" => {
                assert!(requested.contains(&op(1)) && !denied.contains(&op(1)), "not admitted: {}", context());
                assert!(intended.insert(op(1)), "twice: {}", context());
            }
            // The gateway's own mark that what was asked up to there is to last.
            "->" if op(1) == 0 => {
                let up_to = words[3].parse::<u64>().unwrap();
                let behind: Vec<_> = drafted.range(..=up_to).filter(|op| !intended_safely.contains(*op)).collect();
                assert!(durability == Durability::Ordered || behind.is_empty(), "too early for {behind:?}: {}", context());
            }
            "->" => {
                if words[3] == "draft" {
                    drafted.insert(op(1));
                }
                let waits = !["read", "draft"].contains(&words[3]);
                let safely = durability == Durability::Synced || (durability == Durability::Auto && waits);
                let ready = if safely { &intended_safely } else { &intended };
                assert!(ready.contains(&op(1)), "too early: {}", context());
                assert!(sent.insert(op(1)), "twice: {}", context());
            }
            "OUTCOME" => {
                assert!(intended.contains(&op(1)) && ended.insert(op(1)), "out of place: {}", context());
                assert_eq!(words[2] == "not_sent", !sent.contains(&op(1)), "{}", context());
            }
            "TX_END" => assert!(sent.contains(&op(1)) && finished.insert(op(1)), "out of place: {}", context()),
            "SESSION_CLOSE" => assert!(!std::mem::replace(&mut closed, true), "twice: {}", context()),
            "<-" if words[2] == "C" || line.contains("syntax-error") => {
                let ready = if durability == Durability::Synced { &ended_safely } else { &ended };
                assert!(ready.contains(&op(1)), "too early: {}", context());
            }
            "<-" => assert!(op(1) == 0 || !intended.contains(&op(1)) || sent.contains(&op(1)), "{}", context()),
            _ => panic!("unexpected: {}", context()),
        }
        assert!(!closed || ["SESSION_CLOSE", "<-"].contains(&words[0]), "after the end: {}", context());
    }
    if !story.failed {
        assert!(closed, "no end: {:#?}", story.journal);
        assert_eq!(ended, intended, "every intent has an outcome: {:#?}", story.journal);
        assert_eq!(finished, sent, "every transaction that began has ended: {:#?}", story.journal);
    }
}
