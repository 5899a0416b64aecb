//! What whoever runs the gateway does to sessions: draining, changed rules, limits. As in `pipeline.rs`, most tests compare
//! the journal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::Duration;

use claviger_audit::LeafKind;
use claviger_model::{Durability, Mode, Refusal, RefusalKind};
use claviger_protocols::Side;
use claviger_session::{Bounds, Connection, Connections, Deadlines, Said};
use claviger_testkit::ledger::Storage;
use claviger_testkit::mux::{answer, request};
use claviger_testkit::world::{Client, Setup, World};

fn world() -> World {
    World::new(&Setup::default())
}

fn bounded(bounds: Bounds) -> World {
    World::new(&Setup { bounds, ..Setup::default() })
}

#[track_caller]
fn journal(world: &World, expected: &[&str]) {
    assert_eq!(world.ledger.journal(), expected);
}

fn entering(world: &World, who: &str) -> Client {
    let mut client = world.client();
    client.log_in(who, "bank", &world.token(who).token);
    client
}

mod draining {
    use super::*;

    #[test]
    fn an_idle_session_ends_at_once_and_says_so() {
        let world = world();
        let mut client = world.serving();
        world.gateway.drain();
        assert!(client.is_woken());
        client.turn();
        assert!(client.closed);
        journal(&world, &["SESSION_CLOSE gateway gateway.stop", "<- 0 E terminated the gateway is stopping"]);
    }

    #[test]
    fn what_is_under_way_ends_first_and_nothing_begins() {
        let world = world();
        let mut client = world.serving();
        client.send(&request(1, "write 0"));
        world.ledger.journal();
        client.asked();
        world.gateway.drain();
        client.turn();
        assert!(!client.closed);
        client.send(&request(2, "read 0"));
        journal(&world, &["REQUEST 2 deny gateway.stop", "<- 2 E terminated the gateway is stopping"]);
        assert!(client.asked().is_empty() && !client.closed);
        client.answer(&answer(1, "write 0"));
        assert!(client.closed && client.cancels.is_empty());
        journal(
            &world,
            &[
                "OUTCOME 1 completed",
                "TX_END 1 commit",
                "SESSION_CLOSE gateway gateway.stop",
                "<- 1 C WRITE",
                "<- 0 E terminated the gateway is stopping",
            ],
        );
    }

    #[test]
    fn what_waits_for_stable_storage_is_still_told() {
        let world = World::new(&Setup { durability: Durability::Synced, ..Setup::default() });
        let mut client = world.serving();
        client.send(&request(1, "write 0"));
        world.ledger.gate();
        client.answer(&answer(1, "write 0"));
        world.gateway.drain();
        client.turn();
        assert!(!client.closed, "the client has not heard of its commit");
        world.ledger.sync();
        client.turn();
        assert!(client.closed);
        let heard = client.heard();
        assert_eq!(heard, ["1 C WRITE", "0 E terminated the gateway is stopping"]);
    }

    #[test]
    fn patience_ends() {
        let deadlines = Deadlines { drain: Duration::from_secs(7), ..Deadlines::default() };
        let world = World::new(&Setup { deadlines, ..Setup::default() });
        let mut client = world.serving();
        client.send(&request(1, "write 0"));
        world.gateway.drain();
        client.turn();
        world.advance(6);
        client.turn();
        assert!(!client.closed);
        world.advance(1);
        client.turn();
        assert!(client.closed);
        assert_eq!(client.cancels.len(), 1, "what still runs upstream is cancelled");
        let journal = world.ledger.journal();
        assert!(journal.contains(&"OUTCOME 1 unknown".to_owned()), "{journal:?}");
    }

    #[test]
    fn a_second_word_ends_it_at_once() {
        let world = world();
        let mut client = world.serving();
        client.send(&request(1, "write 0"));
        world.gateway.drain();
        client.turn();
        world.gateway.registry.kill_all(&Refusal::new(RefusalKind::Terminated, "the gateway is stopping"), "gateway.stop");
        // A weaker order takes nothing back.
        world.gateway.drain();
        client.turn();
        assert!(client.closed);
    }

    #[test]
    fn nobody_gets_in_any_more() {
        let world = world();
        let mut late = world.client();
        let mut on_the_way = entering(&world, "ana");
        on_the_way.connect();
        world.gateway.drain();
        on_the_way.let_in();
        assert!(on_the_way.closed && world.gateway.registry.is_empty());
        late.log_in("ana", "bank", &world.token("ana").token);
        assert!(late.closed && late.connecting.is_none());
        let journal = world.ledger.journal();
        assert_eq!(journal.iter().filter(|line| *line == "SESSION_REFUSED gateway.stop").count(), 2, "{journal:?}");
    }

    #[test]
    fn one_session_can_be_wound_up_alone() {
        let world = world();
        let (mut one, mut other) = (world.serving(), world.serving());
        let refusal = Refusal::new(RefusalKind::Terminated, "make way");
        assert!(world.gateway.registry.wind_up(one.id, refusal, "session.killed"));
        one.turn();
        other.turn();
        assert!(one.closed && !other.closed);
        journal(&world, &["SESSION_CLOSE gateway session.killed", "<- 0 E terminated make way"]);
    }

    #[test]
    fn what_is_held_does_not_outlast_the_session() {
        let world = World::new(&Setup::default());
        let mut client = world.serving();
        client.send(&request(1, "hold"));
        world.gateway.drain();
        client.turn();
        assert!(client.closed && client.asked().is_empty());
        let held = world.pending().expect("the request stays, for whoever repeats it");
        world.review_as("dana", held, &Said::Approve).unwrap();
        assert!(client.asked().is_empty(), "an approval that comes too late begins nothing");
    }
}

mod rules {
    use super::*;

    fn changed(world: &World, change: impl Fn(&mut Connection)) {
        world.change(|rules| {
            let all = rules.connections.iter().map(|connection| {
                let mut connection = Connection::clone(connection);
                change(&mut connection);
                Arc::new(connection)
            });
            rules.connections = all.collect::<Connections>();
        });
    }

    #[test]
    fn a_policy_that_permits_no_longer_ends_the_session_at_its_next_operation() {
        let world = world();
        let mut client = world.serving();
        world.set_policy("");
        client.turn();
        assert!(!client.closed, "an idle session is left alone");
        client.send(&request(1, "read 0"));
        assert!(client.closed && client.asked().is_empty());
        journal(
            &world,
            &[
                "REQUEST 1 deny",
                "SESSION_CLOSE gateway policy.deny",
                "<- 0 E not-permitted policy does not permit this connection",
            ],
        );
    }

    #[test]
    fn a_policy_that_permits_still_is_the_one_that_is_recorded() {
        let world = world();
        let mut client = world.serving();
        world.set_policy(r#"@id("all") permit (principal, action == Action::"connect", resource);"#);
        client.send(&request(1, "read 0"));
        client.answer(&answer(1, "read 0"));
        let leaves = world.ledger.leaves();
        let policies = leaves.iter().find_map(|leaf| match &leaf.kind {
            LeafKind::Request(request) => Some(request.decision.policies.clone()),
            _ => None,
        });
        assert_eq!(policies.unwrap().iter().map(|id| &**id).collect::<Vec<_>>(), ["all"]);
    }

    #[test]
    fn labels_and_modes_apply_to_running_sessions() {
        let world = world();
        let forbid = r#"permit (principal, action == Action::"connect", resource);
            @reason("it is closed") forbid (principal, action, resource in Label::"closed");"#;
        world.set_policy(forbid);
        let mut client = world.serving();
        changed(&world, |connection| {
            connection.labels = vec!["closed".into()];
            connection.mode = Mode::Observe;
        });
        client.send(&request(1, "read 0"));
        assert_eq!(world.ledger.journal()[0], "REQUEST 1 permit would deny");
        changed(&world, |connection| connection.mode = Mode::Enforce);
        client.send(&request(2, "read 0"));
        assert!(client.closed);
        let heard = client.heard();
        assert!(heard.last().unwrap().ends_with("it is closed"), "{heard:?}");
    }

    #[test]
    fn groups_that_are_taken_away_are_missed_at_the_next_operation() {
        let world = world();
        let mut client = world.serving();
        world.leave_groups("ana");
        client.send(&request(1, "read 0"));
        assert!(client.closed && client.asked().is_empty());
        assert!(world.ledger.journal().contains(&"SESSION_CLOSE gateway policy.deny".to_owned()));
    }

    #[test]
    fn an_address_is_for_new_sessions_and_cancels_find_the_old_one() {
        let world = world();
        let mut client = world.serving();
        changed(&world, |connection| connection.host = "elsewhere.test".to_owned());
        client.send(&request(1, "read 0"));
        assert_eq!(client.asked(), ["1 Q read 0"]);
        world.gateway.registry.kill(client.id, Refusal::new(RefusalKind::Terminated, "x"), "session.killed");
        client.turn();
        assert_eq!(client.cancels[0].connection.host, "upstream.test");
        assert_eq!(entering(&world, "ana").connecting.unwrap().host, "elsewhere.test");
    }

    #[test]
    fn sessions_of_a_removed_connection_end() {
        let world = world();
        let mut client = world.serving();
        world.change(|rules| rules.connections = Connections::default());
        assert!(client.is_woken());
        client.turn();
        journal(&world, &["SESSION_CLOSE gateway connection.removed", "<- 0 E terminated the connection was removed"]);
    }

    #[test]
    fn deadlines_apply_to_running_sessions() {
        let world = world();
        let mut client = world.serving();
        world.advance(100);
        world.change(|rules| rules.deadlines.idle = Some(Duration::from_secs(60)));
        client.turn();
        assert!(client.closed);
        journal(&world, &["SESSION_CLOSE gateway session.idle", "<- 0 E idle nothing was done in the session for too long"]);
    }
}

mod limits {
    use super::*;

    #[test]
    fn seats_are_for_those_who_are_known() {
        let world = bounded(Bounds { sessions: 2, sessions_each: 1, ..Bounds::default() });
        let mut silent: Vec<_> = (0..5).map(|_| world.client()).collect();
        silent.iter_mut().for_each(Client::turn);
        let mut first = entering(&world, "ana");
        assert!(first.connecting.is_some(), "strangers take no seats");
        let mut second = entering(&world, "ana");
        assert!(second.closed);
        assert_eq!(second.heard(), ["0 E too-many too many connections of this principal"]);
        assert!(entering(&world, "eve").closed, "who may not connect takes no seat");
        first.connect();
        first.let_in();
        first.eof(Side::Downstream);
        first.abandon();
        assert!(entering(&world, "ana").connecting.is_some(), "a seat is free again when its session is over");
        let journal = world.ledger.journal();
        assert!(journal.contains(&"SESSION_REFUSED limit.principal".to_owned()), "{journal:?}");
    }

    #[test]
    fn the_gateway_is_full_for_everybody() {
        let world = bounded(Bounds { sessions: 1, ..Bounds::default() });
        let _first = world.serving();
        let mut second = entering(&world, "ana");
        assert!(second.closed && second.connecting.is_none());
        assert_eq!(second.heard(), ["0 E too-many too many connections"]);
        journal(&world, &["SESSION_REFUSED limit.connections", "<- 0 E too-many too many connections"]);
    }

    #[test]
    fn an_upstream_bears_so_many_and_others_wait() {
        let world = World::new(&Setup { upstream_connections: Some(1), ..Setup::default() });
        let mut first = world.serving();
        let mut second = entering(&world, "ana");
        assert!(second.connecting.is_none() && !second.closed);
        assert_eq!(world.gateway.budgets()[0].1.waiting, 1);
        first.eof(Side::Downstream);
        assert!(!second.is_woken(), "the first one's socket is not closed yet");
        first.leave_upstream();
        assert!(second.is_woken(), "it does not matter how long its client takes");
        second.turn();
        assert!(second.connecting.is_some());
        second.connect();
        second.let_in();
        assert!(!second.closed);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let deadlines = Deadlines { upstream_wait: Duration::from_secs(3), ..Deadlines::default() };
        let bounds = Bounds { upstream_queue: 1, ..Bounds::default() };
        let world = World::new(&Setup { upstream_connections: Some(1), deadlines, bounds, ..Setup::default() });
        let _first = world.serving();
        let mut second = entering(&world, "ana");
        let mut third = entering(&world, "ana");
        assert!(third.closed);
        assert_eq!(third.heard(), ["0 E too-many too many wait for the upstream already; try again later"]);
        world.advance(3);
        second.turn();
        assert!(second.closed);
        assert_eq!(second.heard(), ["0 E too-many the upstream has all the sessions that it bears; try again later"]);
        second.abandon();
        assert_eq!((world.gateway.budgets()[0].1.waiting, world.gateway.clients()), (0, 1));
        let journal = world.ledger.journal();
        for code in ["limit.upstream_queue", "limit.upstream_wait"] {
            assert!(journal.contains(&format!("SESSION_REFUSED {code}")), "{journal:?}");
        }
    }

    #[test]
    fn the_wait_for_the_upstream_is_not_the_logins_and_nothing_else_is_added() {
        let deadlines = Deadlines { login: Duration::from_secs(10), ..Deadlines::default() };
        let world = World::new(&Setup { upstream_connections: Some(1), deadlines, ..Setup::default() });
        let mut first = world.serving();
        let mut second = world.client();
        world.advance(6);
        second.log_in("ana", "bank", &world.token("ana").token);
        world.advance(8);
        first.abandon();
        second.turn();
        assert!(second.connecting.is_some() && !second.closed);
        world.advance(3);
        second.turn();
        assert!(!second.closed);
        world.advance(1);
        second.turn();
        assert_eq!(second.heard(), ["0 E timed-out the login took too long"]);
    }

    #[test]
    fn who_is_called_and_would_not_be_let_in_leads_nobody_to_the_upstream() {
        let world = World::new(&Setup { upstream_connections: Some(1), ..Setup::default() });
        let mut first = world.serving();
        let mut second = entering(&world, "ana");
        world.change(|rules| rules.connections = Connections::default());
        first.turn();
        first.abandon();
        second.turn();
        assert!(second.connecting.is_none() && second.closed);
        assert_eq!(second.heard(), ["0 E terminated the connection was removed"]);
        assert!(world.ledger.journal().contains(&"SESSION_REFUSED connection.removed".to_owned()));
        second.abandon();
        world.change(|_| {});
        assert!(world.gateway.budgets().is_empty(), "nothing is left of it");
    }

    #[test]
    fn who_leaves_the_queue_gives_way() {
        let world = World::new(&Setup { upstream_connections: Some(1), ..Setup::default() });
        let mut first = world.serving();
        let mut second = entering(&world, "ana");
        let mut third = entering(&world, "ana");
        second.abandon();
        first.eof(Side::Downstream);
        first.abandon();
        third.turn();
        assert!(third.connecting.is_some());
    }

    #[test]
    fn idle_sessions_and_idle_transactions_end_when_they_are_to() {
        let deadlines = Deadlines { idle: Some(Duration::from_secs(60)), ..Deadlines::default() };
        let world = World::new(&Setup { deadlines, ..Setup::default() });
        let mut client = world.serving();
        world.advance(59);
        client.turn();
        client.send(&request(1, "read 0"));
        world.advance(59);
        client.turn();
        assert!(!client.closed, "a statement that runs is no idleness");
        client.answer(&answer(1, "read 0"));
        world.advance(59);
        client.turn();
        assert!(!client.closed);
        world.advance(1);
        client.turn();
        assert!(client.closed);
        assert_eq!(client.heard().last().unwrap(), "0 E idle nothing was done in the session for too long");
    }

    #[test]
    fn a_session_lasts_no_longer_than_it_may() {
        let deadlines =
            Deadlines { max_age: Some(Duration::from_secs(100)), drain: Duration::from_secs(5), ..Deadlines::default() };
        let world = World::new(&Setup { deadlines, ..Setup::default() });
        let mut client = world.serving();
        client.send(&request(1, "write 0"));
        world.advance(100);
        client.turn();
        assert!(!client.closed, "what is under way may end");
        client.answer(&answer(1, "write 0"));
        assert!(client.closed);
        assert!(world.ledger.journal().contains(&"SESSION_CLOSE gateway session.max_age".to_owned()));
    }

    #[test]
    fn refusals_without_end_are_counted_exactly() {
        let world = bounded(Bounds { refusals: 1, ..Bounds::default() });
        for _ in 0..25 {
            let mut client = world.client();
            client.log_in("ana", "bank", &claviger_model::Secret::new("nonsense"));
            assert!(client.closed);
        }
        let refused =
            |world: &World| world.ledger.journal().into_iter().filter(|line| line.starts_with("SESSION_REFUSED")).count();
        assert_eq!(refused(&world), 10);
        world.gateway.record_refusals(false);
        journal(&world, &[]);
        world.ledger.set_storage(Storage::Full);
        world.advance(10);
        world.gateway.record_refusals(false);
        journal(&world, &[]);
        world.ledger.set_storage(Storage::Fine);
        world.gateway.record_refusals(false);
        journal(&world, &["REFUSALS 15 token.malformed"]);
        assert_eq!(world.gateway.meters.refused()[&(None, "token.malformed")], 25);
        // Who is known has an allowance of his own.
        world.disable("ana");
        entering(&world, "ana");
        assert_eq!(refused(&world), 1);
    }
}
