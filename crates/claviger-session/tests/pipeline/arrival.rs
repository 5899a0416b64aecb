//! Who comes in, and who does not.

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
    let login = journal.iter().position(|line| line.starts_with("-> 0 L gateway\\x00bank\\x00claviger:ana:")).expect("a login");
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
    let world = World::new(&Setup { mode: Mode::Record, policy: "forbid (principal, action, resource);", ..Setup::default() });
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
