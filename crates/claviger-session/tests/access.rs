//! Access for a time, in a gateway in memory: what becomes of it when the clock, the store or the record are not what they should be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use claviger_model::{ApprovalId, Timestamp};
use claviger_policy::Scope;
use claviger_session::{AccessAsk, AccessError, Grant, GrantStanding, Grants, GrantsFailed, ReviewError, Said};
use claviger_testkit::ledger::Storage;
use claviger_testkit::world::{Setup, World};

const POLICY: &str = r#"permit (principal, action == Action::"connect", resource) when { context.granted };
    permit (principal, action == Action::"requestAccess", resource);
    @approval("dbas") forbid (principal, action == Action::"requestAccess", resource)
        unless { context.break_glass || context.approvals.contains("dbas") };"#;

/// Keeps how each grant stood last, while it works.
#[derive(Default)]
struct Store {
    fails: AtomicBool,
    kept: Mutex<Vec<(ApprovalId, GrantStanding)>>,
}

impl Grants for Store {
    fn keep(&self, grant: &Grant) -> Result<(), GrantsFailed> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(GrantsFailed("the disk is full".into()));
        }
        let mut kept = self.kept.lock().unwrap();
        kept.retain(|(id, _)| *id != grant.id);
        kept.push((grant.id, grant.standing));
        Ok(())
    }

    fn forget(&self, id: ApprovalId) -> Result<(), GrantsFailed> {
        self.kept.lock().unwrap().retain(|(other, _)| *other != id);
        Ok(())
    }

    fn note_time(&self, _: Timestamp) -> Result<(), GrantsFailed> {
        Ok(())
    }
}

struct Ground {
    world: World,
    store: Arc<Store>,
}

impl Ground {
    fn new() -> Self {
        let store = Arc::<Store>::default();
        let grants = Arc::clone(&store) as Arc<dyn Grants>;
        Self { world: World::new(&Setup { policy: POLICY, grants, ..Setup::default() }), store }
    }

    fn ask(&self, who: &str, break_glass: bool) -> Result<Grant, AccessError> {
        let scope = Scope { break_glass, ..Scope::default() };
        let ask = AccessAsk { connection: "bank".parse().unwrap(), scope, seconds: 60, reason: "INC-1".into() };
        self.world.gateway.ask_access(&self.world.identity(who), IpAddr::from([127, 0, 0, 1]), &ask, |_| Ok(()))
    }

    fn review(&self, id: ApprovalId, said: &Said) -> Result<Grant, ReviewError> {
        self.world.gateway.review_access(id, &self.world.identity("dana"), said, Some("x"), |_| Ok(()))
    }

    fn given(&self) -> Grant {
        let asked = self.ask("eve", false).unwrap();
        self.review(asked.id, &Said::Approve).unwrap()
    }

    fn standing(&self, id: ApprovalId) -> GrantStanding {
        self.world.gateway.access.get(id).unwrap().standing
    }

    fn is_let_in(&self) -> bool {
        let mut client = self.world.client();
        client.log_in("eve", "bank", &self.world.token("eve").token);
        !client.closed
    }
}

#[test]
fn a_clock_that_is_set_gives_and_prolongs_nothing() {
    let ground = Ground::new();
    let grant = ground.given();
    ground.world.set_clock(-30);
    ground.world.advance(59);
    ground.world.gateway.expire_access();
    assert_eq!((ground.standing(grant.id), ground.is_let_in()), (GrantStanding::Active, true));
    ground.world.advance(2);
    assert!(!ground.is_let_in(), "though the clock says that it is early");
    ground.world.gateway.expire_access();
    assert_eq!(ground.standing(grant.id), GrantStanding::Ended);
    // What is given while the clock is ahead lasts no longer for it.
    ground.world.set_clock(30 + 86_400);
    let asked = ground.ask("eve", false).unwrap();
    ground.world.set_clock(-86_400);
    let grant = ground.review(asked.id, &Said::Approve).unwrap();
    assert!(ground.is_let_in());
    ground.world.advance(61);
    assert!(!ground.is_let_in());
    ground.world.gateway.expire_access();
    assert_eq!(ground.standing(grant.id), GrantStanding::Ended);
}

#[test]
fn what_cannot_be_kept_is_not_given_and_is_taken_all_the_same() {
    let ground = Ground::new();
    ground.store.fails.store(true, Ordering::Relaxed);
    assert!(matches!(ground.ask("eve", true), Err(AccessError::NotKept(_))));
    assert!(!ground.is_let_in());
    ground.store.fails.store(false, Ordering::Relaxed);
    let grant = ground.given();
    ground.store.fails.store(true, Ordering::Relaxed);
    let revoked = ground.world.gateway.revoke_access(grant.id, "dana@local", None, None);
    assert!(matches!(revoked, Err(AccessError::NotKept(_))));
    assert_eq!((ground.standing(grant.id), ground.is_let_in()), (GrantStanding::Revoked, false));
    let kept = || ground.store.kept.lock().unwrap().iter().find(|(id, _)| *id == grant.id).map(|(_, standing)| *standing);
    assert_eq!(kept(), Some(GrantStanding::Active), "a restart would bring it back");
    ground.store.fails.store(false, Ordering::Relaxed);
    ground.world.gateway.expire_access();
    assert_eq!(kept(), Some(GrantStanding::Revoked));
}

#[test]
fn what_cannot_be_recorded_is_not_given_and_is_taken_all_the_same() {
    let ground = Ground::new();
    ground.world.ledger.set_storage(Storage::Failed);
    assert_eq!(ground.ask("eve", false).err(), Some(AccessError::NotRecorded));
    ground.world.ledger.set_storage(Storage::Fine);
    let asked = ground.ask("eve", false).unwrap();
    ground.world.ledger.set_storage(Storage::Failed);
    assert!(ground.review(asked.id, &Said::Approve).is_err() && !ground.is_let_in());
    ground.world.ledger.set_storage(Storage::Fine);
    ground.review(asked.id, &Said::Approve).unwrap();
    ground.world.gateway.revoke_access(asked.id, "eve@local", None, None).unwrap();
    let grant = ground.given();
    ground.world.ledger.set_storage(Storage::Failed);
    assert!(ground.review(grant.id, &Said::Deny).is_err());
    ground.world.ledger.set_storage(Storage::Fine);
    assert_eq!((ground.standing(grant.id), ground.is_let_in()), (GrantStanding::Revoked, false));
}

#[test]
fn a_review_that_comes_too_late_counts_for_nothing() {
    let ground = Ground::new();
    let asked = ground.ask("eve", false).unwrap();
    ground.world.advance(24 * 3600);
    assert!(ground.review(asked.id, &Said::Approve).is_err(), "though nobody has looked meanwhile");
    ground.world.gateway.expire_access();
    assert_eq!((ground.standing(asked.id), ground.is_let_in()), (GrantStanding::Expired, false));
    let grant = ground.given();
    ground.world.disable("eve");
    ground.world.gateway.expire_access();
    assert_eq!(ground.standing(grant.id), GrantStanding::Revoked);
}

#[test]
fn what_was_never_taken_is_not_to_be_reviewed() {
    let ground = Ground::new();
    let taken = ground.ask("eve", true).unwrap();
    assert!(taken.is_unreviewed() && ground.is_let_in());
    assert!(!Grant { standing: GrantStanding::Revoked, until: None, ..taken }.is_unreviewed());
}
