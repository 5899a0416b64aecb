//! The path of an operation, from its bytes to the record, over the multiplexed protocol of the test kit.
//!
//! Most tests compare the *journal*: the leaves in the order in which they were appended, and between them, written `->` and
//! `<-`, the frames as they left for the upstream and for the client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use claviger_audit::LeafKind;
use claviger_model::{
    Durability, Effect, Meaning, Mode, Object, Refusal, RefusalKind, ResponseRecording, Table, TableKind, Verb,
};
use claviger_policy::{Matter, Moment, Ruling};
use claviger_protocols::Side;
use claviger_session::{ByPolicy, Case, Connections, Decider, Decision, Hold, ReviewError, Route, Said, Standing};
use claviger_testkit::ledger::Storage;
use claviger_testkit::mux::{self, answer, frame, request};
use claviger_testkit::world::{Client, Setup, World, admit, refuse};

fn world() -> World {
    World::new(&Setup::default())
}

fn synced() -> World {
    World::new(&Setup { durability: Durability::Synced, ..Setup::default() })
}

#[track_caller]
fn journal(world: &World, expected: &[&str]) {
    assert_eq!(world.ledger.journal(), expected);
}

mod arrival {
    use super::*;

    #[test]
    fn a_session_leaves_its_whole_story_in_order() {
        let world = world();
        let mut client = world.client();
        client.log_in("ana", "ignored", &world.token("ana").token);
        client.connect();
        client.answer(&frame(0, b'O', b"\0\0\0\x2aupstream-secret"));
        client.send(&request(1, "read 2"));
        client.answer(&answer(1, "read 2"));
        client.send(&frame(0, b'X', b""));
        assert!(client.closed);
        let journal = world.ledger.journal();
        let login =
            journal.iter().position(|line| line.starts_with("-> 0 L gateway\\x00bank\\x00claviger:ana:")).expect("a login");
        assert_eq!(login, 0, "nothing is recorded of a client that is on its way in: {journal:?}");
        assert_eq!(
            journal[1..],
            [
                "SESSION_OPEN ana@local for bank permit",
                "<- 0 O \\x00\\x00\\x00*\\x02\\x00\\x00\\x00",
                "REQUEST 1 permit",
                "INTENT 1",
                "-> 1 Q read 2",
                "OUTCOME 1 completed",
                "TX_END 1 commit",
                "<- 1 D row 1",
                "<- 1 D row 2",
                "<- 1 C READ",
                "SESSION_CLOSE client",
            ]
        );
        assert!(world.gateway.registry.is_empty());
    }

    #[test]
    fn who_is_not_believed_is_refused_and_recorded_without_the_secret() {
        let world = world();
        let (revoked, disabled, sponsored) = (world.token("ana"), world.token("eve"), world.token("bot"));
        let expired = world.token_for("ana", &[], 10);
        world.advance(11);
        world.revoke(&revoked);
        world.disable("eve");
        let mut torn = world.token("ana").token.expose().to_vec();
        let signature = torn.len() - 40;
        torn[signature] = if torn[signature] == b'A' { b'B' } else { b'A' };
        let cases = [
            (revoked.token, "token.revoked"),
            (disabled.token, "principal.disabled"),
            (expired.token, "token.expired"),
            (world.token("nobody").token, "principal.unknown"),
            (claviger_model::Secret::new(torn), "token.signature"),
            (claviger_model::Secret::new("swordfish"), "token.malformed"),
        ];
        for (token, code) in &cases {
            refused(&world, token, code);
        }
        world.disable("ana");
        refused(&world, &sponsored.token, "sponsor.disabled");
        let seen = format!("{:?}{}", world.ledger.leaves(), String::from_utf8_lossy(&world.ledger.chunks().concat()));
        for (token, _) in &cases {
            let token = token.expose_str().unwrap();
            assert!(!seen.contains(token) && !seen.contains(token.rsplit('.').next().unwrap()), "a token is in the record");
        }
    }

    #[track_caller]
    fn refused(world: &World, token: &claviger_model::Secret, code: &str) {
        let mut client = world.client();
        client.log_in("ana", "bank", token);
        assert!(client.closed && client.connecting.is_none());
        let heard = client.heard();
        assert!(heard.len() == 1 && heard[0].starts_with("0 E unauthenticated "), "{heard:?}");
        let text = token.expose_str().unwrap();
        assert!(!heard[0].contains(text), "the client is sent its token back");
        assert_eq!(world.ledger.journal()[0], format!("SESSION_REFUSED {code}"));
    }

    #[test]
    fn keys_that_are_not_at_hand_are_fetched_once() {
        let world = World::new(&Setup { keys_late: true, ..Setup::default() });
        world.serving();
    }

    #[test]
    fn policy_lets_in_or_does_not() {
        let world = world();
        let mut client = world.client();
        client.log_in("eve", "bank", &world.token("eve").token);
        assert!(client.closed && client.connecting.is_none());
        journal(&world, &["SESSION_REFUSED policy.deny", "<- 0 E not-permitted policy does not permit this connection"]);
    }

    #[test]
    fn every_link_of_a_chain_is_recorded() {
        let world = world();
        let token = world.token_for("ana", &["bot"], 60);
        let mut client = world.client();
        client.log_in("bot", "bank", &token.token);
        client.connect();
        client.let_in();
        assert!(world.ledger.journal().contains(&"SESSION_OPEN bot@local for ana@local for bank permit".to_owned()));
    }

    #[test]
    fn observe_records_what_policy_would_have_done() {
        let world = World::new(&Setup { mode: Mode::Observe, ..Setup::default() });
        let mut client = world.client();
        client.log_in("eve", "bank", &world.token("eve").token);
        client.connect();
        client.let_in();
        assert!(world.ledger.journal().contains(&"SESSION_OPEN eve@local for bank permit would deny".to_owned()));
    }

    #[test]
    fn record_asks_no_policy() {
        let world =
            World::new(&Setup { mode: Mode::Record, policy: "forbid (principal, action, resource);", ..Setup::default() });
        let mut client = world.client();
        client.log_in("eve", "bank", &world.token("eve").token);
        client.connect();
        client.let_in();
        assert!(world.ledger.journal().contains(&"SESSION_OPEN eve@local for bank permit mode.record".to_owned()));
    }

    /// Nobody says what requests of this protocol do.
    #[test]
    fn what_nobody_understands_is_decided_by_the_mode() {
        const ANYTHING: &str = "permit (principal, action in [Action::\"connect\", Action::\"operation\"], resource);";
        const UNKNOWN: &str = "permit (principal, action in [Action::\"connect\", Action::\"unknown\"], resource);";
        for (mode, policy, request_leaf, passes) in [
            (Mode::Enforce, ANYTHING, "REQUEST 1 deny operation.unknown", false),
            (Mode::Enforce, UNKNOWN, "REQUEST 1 permit", true),
            (Mode::Observe, ANYTHING, "REQUEST 1 permit would deny operation.unknown", true),
            (Mode::Record, "forbid (principal, action, resource);", "REQUEST 1 permit mode.record", true),
        ] {
            let world = World::new(&Setup { mode, policy, decider: Arc::new(ByPolicy), ..Setup::default() });
            let mut client = world.serving();
            client.send(&request(1, "write 0"));
            assert_eq!(world.ledger.journal()[0], request_leaf);
            assert_eq!(client.asked().len(), usize::from(passes), "{mode:?} {policy}");
            if !passes {
                let heard = client.heard();
                assert!(heard[0].starts_with("1 E not-permitted it cannot be told what this does"), "{heard:?}");
            }
        }
    }

    #[test]
    fn a_shared_listener_leads_where_the_client_says() {
        for (user, database, expected) in [
            ("ana", "shop", Some("shop")),
            ("ana@shop", "ledger", Some("shop")),
            ("ana@example.com@bank", "", Some("bank")),
            ("ana@shop", "shop", Some("shop")),
            ("ana@shop", "bank", None),
            ("ana", "nowhere", None),
            ("ana", "", None),
        ] {
            let world = world();
            let mut client = world.client_of(Route::Shared("mux"));
            client.log_in(user, database, &world.token("ana").token);
            assert_eq!(client.connecting.as_ref().map(|connection| connection.name.as_str()), expected, "{user} {database}");
            if expected.is_none() {
                assert_eq!(world.ledger.journal()[0], "SESSION_REFUSED connection.unknown");
                assert!(client.closed && client.heard()[0].starts_with("0 E unknown-connection "));
            }
        }
        let world = world();
        let mut client = world.client_of(Route::Shared("postgres"));
        client.log_in("ana", "bank", &world.token("ana").token);
        assert!(client.closed && client.connecting.is_none(), "a listener leads only to its own protocol");
    }

    #[test]
    fn a_login_must_come_in_time() {
        let world = world();
        let mut silent = world.client();
        silent.turn();
        let mut slow = world.client();
        slow.log_in("ana", "bank", &world.token("ana").token);
        world.advance(9);
        silent.turn();
        assert!(!silent.closed);
        world.advance(1);
        silent.turn();
        slow.turn();
        assert!(silent.closed && slow.closed);
        journal(
            &world,
            &[
                "SESSION_REFUSED login.timeout",
                "<- 0 E timed-out the login took too long",
                "SESSION_REFUSED login.timeout",
                "<- 0 E timed-out the login took too long",
            ],
        );
    }

    #[test]
    fn what_changes_while_a_client_is_on_its_way_in_counts() {
        type Change = fn(&World);
        let changes: [(&str, Change); 3] = [
            ("principal.disabled", |world| world.disable("ana")),
            ("token.expired", |world| world.advance(9)),
            ("connection.removed", |world| world.change(|rules| rules.connections = Connections::default())),
        ];
        for (code, change) in changes {
            let world = world();
            let mut client = world.client();
            client.log_in("ana", "bank", &world.token_for("ana", &[], 9).token);
            client.connect();
            change(&world);
            world.gateway.end_revoked();
            client.let_in();
            assert!(client.closed && world.gateway.registry.is_empty(), "{code}");
            let journal = world.ledger.journal();
            assert!(journal.contains(&format!("SESSION_REFUSED {code}")), "{journal:?}");
            assert!(!journal.iter().any(|line| line.starts_with("SESSION_OPEN")), "{journal:?}");
        }
    }

    #[test]
    fn an_upstream_that_cannot_be_reached_refuses_the_session() {
        let world = world();
        let mut client = world.client();
        client.log_in("ana", "bank", &world.token("ana").token);
        client.fail_to_connect();
        assert!(client.closed);
        journal(&world, &["SESSION_REFUSED upstream.unavailable", "<- 0 E upstream-unavailable the upstream cannot be reached"]);
    }

    #[test]
    fn without_room_for_the_record_no_session_begins() {
        let world = world();
        let mut client = world.client();
        client.log_in("ana", "bank", &world.token("ana").token);
        client.connect();
        world.ledger.set_storage(Storage::Full);
        client.answer(&frame(0, b'O', b"\0\0\0\x2aupstream-secret"));
        assert!(client.closed && world.gateway.registry.is_empty());
        assert_eq!(client.heard(), ["0 E audit-unavailable the audit storage is full"]);
    }

    #[test]
    fn the_upstream_secret_stays_here() {
        let world = world();
        let mut client = world.client();
        client.log_in("ana", "bank", &world.token("ana").token);
        client.connect();
        client.answer(&frame(0, b'O', b"\0\0\0\x2aupstream-secret"));
        let heard = client.heard().concat();
        assert!(heard.starts_with("0 O ") && !heard.contains("upstream-secret"));
        let seen = format!("{:?}", world.ledger.leaves());
        assert!(!seen.contains("upstream-secret") && !seen.contains("upstream-password"));
    }
}

mod record {
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
}

mod decision {
    use super::*;

    #[test]
    fn what_is_refused_is_recorded_and_does_not_leave() {
        let world = world();
        let mut client = world.serving();
        client.send(&[request(1, "forbid"), request(2, "read 0")].concat());
        journal(
            &world,
            &["REQUEST 1 deny", "REQUEST 2 permit", "INTENT 2", "-> 2 Q read 0", "<- 1 E not-permitted policy says no"],
        );
    }

    #[test]
    fn what_is_replaced_is_recorded_as_replaced() {
        let world = world();
        let mut client = world.serving();
        client.send(&request(1, "edit"));
        journal(&world, &["REQUEST 1 permit", "INTENT 1 replaced", "-> 1 Q read edited"]);
    }

    #[test]
    fn a_hold_keeps_one_operation_and_not_the_others() {
        let world = world();
        let mut client = world.serving();
        client.send(&[request(1, "hold"), request(2, "read 0")].concat());
        client.answer(&answer(2, "read 0"));
        journal(
            &world,
            &[
                "APPROVAL 1 requested",
                "REQUEST 2 permit",
                "INTENT 2",
                "-> 2 Q read 0",
                "OUTCOME 2 completed",
                "TX_END 2 commit",
                "<- 2 C READ",
            ],
        );
        world.review(&Said::Approve).unwrap();
        assert!(client.is_woken(), "a decision wakes the session");
        client.turn();
        client.answer(&answer(1, "read 0"));
        journal(
            &world,
            &[
                "APPROVAL 1 approved",
                "APPROVAL 1 granted",
                "APPROVAL 1 spent",
                "REQUEST 1 permit",
                "INTENT 1",
                "-> 1 Q hold",
                "OUTCOME 1 completed",
                "TX_END 1 commit",
                "<- 1 C READ",
            ],
        );
    }

    #[test]
    fn a_hold_can_be_refused() {
        let world = world();
        let mut client = world.serving();
        client.send(&request(1, "hold"));
        world.review(&Said::Deny).unwrap();
        client.turn();
        journal(
            &world,
            &[
                "APPROVAL 1 requested",
                "APPROVAL 1 denied",
                "REQUEST 1 deny approval.denied",
                "<- 1 E not-permitted dana@local has denied this",
            ],
        );
    }

    #[test]
    fn a_client_that_leaves_withdraws_its_hold() {
        let world = world();
        let mut client = world.serving();
        client.send(&request(1, "hold"));
        let id = world.pending().unwrap();
        client.eof(Side::Downstream);
        assert!(client.closed);
        assert_eq!(world.review_as("dana", id, &Said::Approve), Err(ReviewError::Over(Standing::Withdrawn)));
        journal(
            &world,
            &["APPROVAL 1 requested", "APPROVAL 1 withdrawn", "REQUEST 1 deny approval.withdrawn", "SESSION_CLOSE client"],
        );
    }

    /// What is asked for before midnight is decided once more when it is approved, and by the time of then.
    #[test]
    fn a_window_that_ends_at_midnight_ends_while_something_waits() {
        const BY_DAY: &str = r#"@id("all") permit (principal, action, resource);
            @id("by-day") @reason("nobody writes at night") forbid (principal, action in Action::"write", resource) when { context.hour < 6 };
            @id("writes") @approval("dbas") forbid (principal, action in Action::"write", resource)
                unless { context.approvals.contains("dbas") };"#;
        // The world begins at 03:04:05; 300 s are what a client waits.
        const BEFORE_MIDNIGHT: i64 = (23 * 60 + 58) * 60 - (3 * 3600 + 4 * 60 + 5);
        for (seconds, runs) in [(60, true), (180, false)] {
            let world = World::new(&Setup { policy: BY_DAY, decider: Arc::new(Deleting), ..Setup::default() });
            world.advance(BEFORE_MIDNIGHT);
            let mut client = world.serving();
            client.send(&request(1, "delete"));
            journal(&world, &["APPROVAL 1 requested"]);
            world.advance(seconds);
            world.review(&Said::Approve).unwrap();
            client.turn();
            let journal = world.ledger.journal();
            assert_eq!(journal.iter().any(|line| line == "-> 1 Q delete"), runs, "{journal:?}");
            assert_eq!(journal.iter().any(|line| line == "APPROVAL 1 spent"), runs, "{journal:?}");
        }
    }

    /// Whatever is asked for deletes rows of a table, and policy judges that.
    struct Deleting;

    impl Decider for Deleting {
        fn decide(&self, case: &Case<'_>) -> Decision {
            let labels = || Arc::new([]);
            let (schema, name) = ("public".into(), "notes".into());
            let table = Table { schema, name, id: 1, kind: TableKind::Table, system: false, labels: labels(), holds: labels() };
            let effect = Effect { verb: Verb::Delete, object: Object::Table(Arc::new(table)), through: None };
            let matter = Matter::new([Meaning { class: "DELETE", effects: [effect].into(), ..Meaning::default() }]);
            let moment = Moment {
                now: case.now,
                approvals: case.approvals,
                grants: claviger_policy::Grants::default(),
                lately: Default::default(),
            };
            match case.policy.judge(case.party, &matter, &moment).ruling.clone() {
                Ruling::Permit => admit(case.connect),
                Ruling::Deny => refuse(case.connect),
                Ruling::Hold(groups) => Decision::Hold(Hold { facts: case.connect.clone(), groups, reason: None }),
            }
        }
    }

    #[test]
    fn an_approval_does_not_revive_an_identity_that_has_ended() {
        let world = world();
        let mut client = world.serving();
        client.send(&request(1, "hold"));
        world.disable("ana");
        world.review(&Said::Approve).unwrap();
        client.turn();
        assert!(client.closed && client.asked().is_empty());
        assert_eq!(world.ledger.journal().last().unwrap(), "<- 0 E unauthenticated the principal is disabled");
    }
}

mod end {
    use super::*;

    /// A session that has one operation under way.
    fn busy(world: &World) -> Client {
        let mut client = world.serving();
        client.send(&request(1, "write 0"));
        world.ledger.journal();
        client
    }

    #[test]
    fn a_killed_session_tells_its_client_cancels_and_records() {
        let world = world();
        let mut client = busy(&world);
        let refusal = Refusal::new(RefusalKind::Terminated, "an administrator ended the session");
        assert!(world.gateway.registry.kill(client.id, refusal.clone(), "admin.kill"));
        assert!(client.is_woken(), "an order wakes the session");
        client.turn();
        assert!(client.closed && world.gateway.registry.is_empty());
        journal(
            &world,
            &[
                "OUTCOME 1 unknown",
                "TX_END 1 unknown",
                "SESSION_CLOSE gateway admin.kill",
                "<- 0 E terminated an administrator ended the session",
            ],
        );
        assert_eq!(client.cancels.len(), 1);
        assert_eq!((client.cancels[0].key.process, &client.cancels[0].key.secret[..]), (42, b"upstream-secret".as_slice()));
        assert!(!world.gateway.registry.kill(client.id, refusal, "admin.kill"), "it is gone");
    }

    #[test]
    fn an_idle_session_has_nothing_to_cancel() {
        let world = world();
        let mut client = world.serving();
        world.gateway.registry.kill_all(&Refusal::new(RefusalKind::Terminated, "the gateway is stopping"), "gateway.stopping");
        client.turn();
        assert!(client.closed && client.cancels.is_empty());
        journal(&world, &["SESSION_CLOSE gateway gateway.stopping", "<- 0 E terminated the gateway is stopping"]);
    }

    #[test]
    fn whoever_is_disabled_is_out_at_once() {
        for (subject, disabled, code) in
            [("ana", "ana", "principal.disabled"), ("bot", "bot", "principal.disabled"), ("bot", "ana", "sponsor.disabled")]
        {
            let world = world();
            let token = world.token(subject);
            let (mut client, mut other) = (world.serving_with(&token.token), world.serving_with(&world.token("bot").token));
            world.disable(disabled);
            world.gateway.end_revoked();
            assert!(client.is_woken());
            client.turn();
            other.turn();
            assert!(client.closed, "{subject} when {disabled} is disabled");
            assert_eq!(world.ledger.journal()[0], format!("SESSION_CLOSE gateway {code}"));
            assert_eq!(other.closed, disabled == "ana" || subject == "bot");
        }
    }

    #[test]
    fn a_revoked_token_is_out_and_others_of_its_principal_stay() {
        let world = world();
        let (one, two) = (world.token("ana"), world.token("ana"));
        let (mut first, mut second) = (world.serving_with(&one.token), world.serving_with(&two.token));
        world.revoke(&one);
        assert_eq!(world.gateway.end_revoked(), 1);
        first.turn();
        second.turn();
        assert!(first.closed && !second.closed);
        assert_eq!(world.ledger.journal()[0], "SESSION_CLOSE gateway token.revoked");
    }

    #[test]
    fn every_operation_asks_again_whether_the_chain_stands() {
        let world = world();
        let mut client = world.serving();
        world.disable("ana");
        client.send(&request(1, "read 0"));
        assert!(client.closed && client.asked().is_empty());
        assert_eq!(client.heard(), ["0 E unauthenticated the principal is disabled"]);
    }

    #[test]
    fn an_expired_token_ends_an_idle_session() {
        let world = world();
        let token = world.token_for("ana", &[], 100);
        let mut client = world.serving_with(&token.token);
        world.advance(99);
        client.send(&request(1, "read 0"));
        client.answer(&answer(1, "read 0"));
        assert!(!client.closed);
        world.ledger.journal();
        world.advance(1);
        client.turn();
        assert!(client.closed);
        journal(&world, &["SESSION_CLOSE gateway token.expired", "<- 0 E unauthenticated the token has expired"]);
    }

    #[test]
    fn an_expired_token_gives_what_is_under_way_its_grace() {
        let world = world();
        let token = world.token_for("ana", &[], 100);
        let mut client = world.serving_with(&token.token);
        client.send(&request(1, "write 0"));
        world.advance(100);
        client.turn();
        assert!(!client.closed, "an open transaction gets its grace");
        world.advance(59);
        client.turn();
        assert!(!client.closed);
        world.advance(1);
        client.turn();
        assert!(client.closed);
        assert_eq!(client.cancels.len(), 1);
    }

    #[test]
    fn the_grace_is_not_for_whoever_is_disabled() {
        let world = world();
        let token = world.token_for("ana", &[], 100);
        let mut client = world.serving_with(&token.token);
        client.send(&request(1, "write 0"));
        world.advance(100);
        client.turn();
        assert_eq!(world.gateway.end_revoked(), 0, "an expiry alone is no revocation");
        world.disable("ana");
        assert_eq!(world.gateway.end_revoked(), 1);
        client.turn();
        assert!(client.closed);
    }

    #[test]
    fn in_its_grace_a_session_begins_nothing_new() {
        let world = world();
        let token = world.token_for("ana", &[], 100);
        let mut client = world.serving_with(&token.token);
        client.send(&request(1, "write 0"));
        world.advance(100);
        client.turn();
        client.answer(&answer(1, "write 0"));
        client.asked();
        client.send(&request(2, "read 0"));
        assert!(client.closed && client.asked().is_empty());
    }

    #[test]
    fn an_approval_in_the_grace_begins_nothing_new() {
        let world = world();
        let token = world.token_for("ana", &[], 100);
        let mut client = world.serving_with(&token.token);
        client.send(&[request(1, "write 0"), request(2, "hold")].concat());
        client.asked();
        world.advance(100);
        client.turn();
        world.review(&Said::Approve).unwrap();
        client.turn();
        assert!(client.asked().is_empty());
        assert_eq!(client.heard(), ["2 E unauthenticated the token has expired"]);
        client.answer(&answer(1, "write 0"));
        assert!(!client.closed);
        client.send(&request(3, "read 0"));
        assert!(client.closed && client.asked().is_empty());
    }

    #[test]
    fn a_cancel_needs_the_secret_of_its_session() {
        let world = world();
        let mut client = world.client();
        client.log_in("ana", "bank", &world.token("ana").token);
        client.connect();
        client.answer(&frame(0, b'O', b"\0\0\0\x2aupstream-secret"));
        let key = mux::frames(&client.received)[0].2.clone();
        let mut stranger = world.client();
        stranger.send(&frame(0, b'K', b"\0\0\0\x2aupstream-secret"));
        assert!(stranger.closed && stranger.cancels.is_empty());
        let mut friend = world.client();
        friend.send(&frame(0, b'K', &key));
        assert!(friend.closed);
        assert_eq!(friend.cancels.iter().map(|target| &target.key.secret[..]).collect::<Vec<_>>(), [b"upstream-secret"]);
        client.eof(Side::Downstream);
        let mut late = world.client();
        late.send(&frame(0, b'K', &key));
        assert!(late.cancels.is_empty());
    }

    #[test]
    fn a_client_that_breaks_its_protocol_is_told_and_recorded() {
        let world = world();
        let mut client = busy(&world);
        client.send(&request(1, "read 0"));
        assert!(client.closed);
        journal(
            &world,
            &[
                "OUTCOME 1 unknown",
                "TX_END 1 unknown",
                "SESSION_CLOSE gateway",
                "<- 0 E protocol-violation the client sent a frame that has no place here",
            ],
        );
    }
}
