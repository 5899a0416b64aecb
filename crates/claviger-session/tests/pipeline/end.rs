//! How sessions end, and what is told of it.

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

/// A client whose token expires while something of it is under way.
fn whose_token_expires(world: &World) -> Client {
    let token = world.token_for("ana", &[], 100);
    let mut client = world.serving_with(&token.token);
    client.send(&request(1, "write 0"));
    world.advance(100);
    client.turn();
    client
}

#[test]
fn an_expired_token_gives_what_is_under_way_its_grace() {
    let world = world();
    let mut client = whose_token_expires(&world);
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
    let mut client = whose_token_expires(&world);
    assert_eq!(world.gateway.end_revoked(), 0, "an expiry alone is no revocation");
    world.disable("ana");
    assert_eq!(world.gateway.end_revoked(), 1);
    client.turn();
    assert!(client.closed);
}

#[test]
fn in_its_grace_a_session_begins_nothing_new() {
    let world = world();
    let mut client = whose_token_expires(&world);
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
