//! What becomes of what is refused, edited or held.

use super::*;

#[test]
fn what_is_refused_is_recorded_and_does_not_leave() {
    let world = world();
    let mut client = world.serving();
    client.send(&[request(1, "forbid"), request(2, "read 0")].concat());
    journal(&world, &["REQUEST 1 deny", "REQUEST 2 permit", "INTENT 2", "-> 2 Q read 0", "<- 1 E not-permitted policy says no"]);
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
