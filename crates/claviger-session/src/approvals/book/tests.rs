//! What becomes of requests in memory.

#![allow(clippy::unwrap_used, clippy::panic)]

use claviger_audit::DecisionFacts;
use claviger_model::{Chain, OpId, Principal, PrincipalKind, SessionId};

use super::super::{Asker, Need};
use super::*;

fn request(n: u8, at: i64) -> Approval {
    let principal =
        Principal { key: PrincipalKey::new("local", "bot"), kind: PrincipalKind::Workload, groups: Vec::new(), sponsor: None };
    let time = Timestamp::from_secs(at);
    Approval {
        id: ApprovalId::new(time, [n; 10]),
        asker: Asker {
            session: SessionId::from_bytes([n; 16]),
            op: OpId(1),
            chain: Chain::of(principal),
            purpose: None,
            connection: "bank".parse().unwrap(),
            client: Some(([127, 0, 0, 1], 1).into()),
            application: None,
        },
        statement: "delete from notes".into(),
        parameters: Arc::new([Some("a value".into())]),
        facts: DecisionFacts::default(),
        reason: None,
        in_transaction: false,
        has_written: false,
        digest: [n; 32],
        needs: vec![Need { group: "dbas".into(), quorum: 1, reasons: false }],
        votes: Vec::new(),
        asked: time,
        until: time.plus_secs(100),
        standing: Standing::Pending,
        waits: false,
        is_editable: true,
        view: View::default(),
    }
}

fn review(book: &mut Book, id: ApprovalId, who: &str, said: &Said) -> Result<Voted, ReviewError> {
    let key = PrincipalKey::new("local", who);
    let chain = Chain::of(Principal { key, kind: PrincipalKind::User, groups: Vec::new(), sponsor: None });
    let reviewer = Reviewer::of(&chain, ["dbas".to_owned()].into()).unwrap();
    book.vote(id, &reviewer, said, None, &Reviewing::default(), Timestamp::from_secs(0))
}

/// Asks, and has it granted.
fn granted(book: &mut Book, request: Approval) -> Consent {
    let Asked::Pending(id) = book.ask(request, None, &Reviewing::default()) else { panic!("it was not asked") };
    let Ok(Voted::Granted(consent, None)) = review(book, id, "dana", &Said::Approve) else { panic!("it was not granted") };
    assert!(matches!(book.keep(consent.clone()), Kept::Found));
    consent
}

fn ask(book: &mut Book, request: Approval) -> Option<Consent> {
    match book.ask(request, None, &Reviewing::default()) {
        Asked::Granted(consent) => Some(consent),
        Asked::Pending(_) | Asked::Again(_) | Asked::TooMany | Asked::TooOften(_) => None,
    }
}

#[test]
fn a_consent_is_found_by_what_it_is_about_and_once() {
    let mut book = Book::default();
    let consent = granted(&mut book, request(1, 0));
    assert_eq!(ask(&mut book, request(2, 1)), None);
    assert_eq!(ask(&mut book, request(1, 1)), Some(consent.clone()));
    assert_eq!(ask(&mut book, request(1, 1)), None, "it is in one hand");
    let taken_back = granted(&mut book, request(3, 0));
    assert!(matches!(review(&mut book, taken_back.id, "dana", &Said::Deny), Ok(Voted::Denied)));
    assert_eq!(ask(&mut book, request(3, 1)), None);
    let denied = review(&mut book, consent.id, "dana", &Said::Deny).map(drop);
    assert_eq!(denied, Err(ReviewError::Over(Standing::Spent)), "it is in somebody's hand");
    book.spent(consent.id);
    let known = book.get(consent.id).unwrap();
    assert_eq!((known.standing, &*known.statement, known.parameters.len()), (Standing::Spent, "", 0), "values are forgotten");
}

#[test]
fn what_is_granted_is_granted_once_whoever_comes_meanwhile() {
    let rules = Reviewing::default();
    let asked = |book: &mut Book, n, ear| match book.ask(request(n, 0), ear, &rules) {
        Asked::Pending(id) | Asked::Again(id) => id,
        _ => panic!("it was not asked"),
    };
    let mut book = Book::default();
    let id = asked(&mut book, 1, None);
    let Ok(Voted::Granted(consent, None)) = review(&mut book, id, "dana", &Said::Approve) else { panic!() };
    // While it is being written: a second reviewer comes too late, and a client that repeats it waits for it.
    assert_eq!(review(&mut book, id, "dirk", &Said::Approve).map(drop), Err(ReviewError::Over(Standing::Granted)));
    let ear = Arc::<Ear>::default();
    assert_eq!(asked(&mut book, 1, Some(Arc::clone(&ear))), id);
    assert!(matches!(book.keep(consent), Kept::Awaited(told) if Arc::ptr_eq(&told, &ear)));
    assert_eq!(ask(&mut book, request(1, 0)), None);
    // And one that is denied while it is being written is void.
    let id = asked(&mut book, 2, None);
    let Ok(Voted::Granted(consent, None)) = review(&mut book, id, "dana", &Said::Approve) else { panic!() };
    assert!(matches!(review(&mut book, id, "dirk", &Said::Deny), Ok(Voted::Denied)));
    assert!(matches!(book.keep(consent), Kept::Void));
    assert_eq!(ask(&mut book, request(2, 0)), None);
}

#[test]
fn a_quorum_is_of_people_who_approve_the_same() {
    let mut book = Book::default();
    let mut two = request(1, 0);
    two.needs = vec![Need { group: "dbas".into(), quorum: 2, reasons: false }];
    let Asked::Pending(id) = book.ask(two, Some(Arc::default()), &Reviewing::default()) else { panic!() };
    assert!(matches!(review(&mut book, id, "dana", &Said::Approve), Ok(Voted::Counted)));
    assert_eq!(review(&mut book, id, "dirk", &Said::Edit("select 1".into())).map(drop), Err(ReviewError::OtherText));
    assert_eq!(review(&mut book, id, "dana", &Said::Approve).map(drop), Err(ReviewError::Twice));
    assert!(matches!(review(&mut book, id, "dirk", &Said::Approve), Ok(Voted::Granted(..))));
}

#[test]
fn a_clock_that_is_set_back_prolongs_nothing() {
    let mut book = Book::default();
    granted(&mut book, request(1, 0));
    assert!(book.expire(Timestamp::from_secs(99)).0.is_empty());
    let (over, told) = book.expire(Timestamp::from_secs(100));
    assert_eq!((over.len(), told), (1, Some(Timestamp::from_secs(100))));
    assert_eq!(ask(&mut book, request(1, 50)), None, "it has expired, whatever the clock says now");
    let mut book = Book::default();
    granted(&mut book, request(1, 0));
    assert!(ask(&mut book, request(9, 200)).is_none());
    assert_eq!(ask(&mut book, request(1, 50)), None, "though nobody has looked meanwhile");
    granted(&mut book, request(2, 60));
    assert!(ask(&mut book, request(9, 159)).is_none());
    assert_eq!(ask(&mut book, request(2, 161)), None, "time goes on");
}

#[test]
fn requests_are_bounded_and_the_same_one_is_one() {
    let (mut book, rules) = (Book::default(), Reviewing { most_each: 2, ..Reviewing::default() });
    let mut asked = |n| book.ask(request(n, 0), None, &rules);
    let Asked::Pending(first) = asked(1) else { panic!() };
    assert!(matches!(asked(1), Asked::Again(id) if id == first));
    assert!(matches!(asked(2), Asked::Pending(_)));
    assert!(matches!(asked(3), Asked::TooMany));
    assert!(matches!(asked(2), Asked::Again(_)), "what is asked for already needs no room");
    let seldom = Reviewing { per_minute: 1, ..Reviewing::default() };
    assert!(matches!(book.ask(request(3, 0), None, &seldom), Asked::TooOften(wait) if wait.as_secs() == 2));
    for n in 0..2000u16 {
        let [high, low] = n.to_be_bytes();
        let mut request = request(low, i64::from(n));
        request.digest = [high; 32];
        let ear = Arc::<Ear>::default();
        let rules = Reviewing { most_each: 100, per_minute: 1000, ..Reviewing::default() };
        let (Asked::Pending(id) | Asked::Again(id)) = book.ask(request, Some(Arc::clone(&ear)), &rules) else { panic!("{n}") };
        book.publish(id);
        assert!(book.withdraw(id, &ear));
    }
    assert!(book.list().len() <= MOST_ENDED + 2 && book.bytes < 100, "{}", book.bytes);
}
