//! What a token may be exchanged for, and what ends it.

use std::cell::Cell;

use ring::rand::SystemRandom;
use serde_json::json;

use super::*;
use crate::{Identity, LocalIssuer, NotExchanged, SigningKey};

/// A gateway that trusts itself and `okta`, whose users `bot@okta` and the local `bot` may act for.
struct Exchange {
    okta: Pair,
    issuer: LocalIssuer,
    authenticator: Authenticator,
    issued: Cell<u8>,
}

fn directory() -> Directory {
    Directory::new("local")
        .with_principal(key("carol"), registered(PrincipalKind::User, &["dba"], None))
        .with_principal(key("bot"), registered(PrincipalKind::Workload, &["agents"], Some("carol")))
        .with_principal(key("sub-bot"), registered(PrincipalKind::Workload, &[], Some("carol")))
        .with_delegation(key("bot"), key("alice@okta"))
        .with_delegation(key("bot@okta"), key("alice@okta"))
        .with_delegation(key("sub-bot"), key("bot"))
}

impl Exchange {
    fn with(okta: TrustedIssuer) -> Self {
        let pair = Pair::ed();
        let issuer = LocalIssuer::new(
            "local",
            "https://gateway.example",
            "claviger",
            vec![SigningKey::generate(&SystemRandom::new()).unwrap().0],
        )
        .unwrap();
        let authenticator = Authenticator::new(vec![local(), okta], directory());
        authenticator.set_keys("okta", jwks(&[pair.jwk("k")]));
        authenticator.set_keys("local", issuer.key_set().unwrap());
        Self { okta: pair, issuer, authenticator, issued: Cell::new(0) }
    }

    fn new() -> Self {
        Self::with(TrustedIssuer { act_believed: true, ..okta() })
    }

    fn of_okta(&self, changes: Value) -> Identity {
        self.authenticator.verify(&self.okta.token(&claims(changes)), NOW).unwrap()
    }

    fn of_ours(&self, subject: &str) -> Identity {
        let request = crate::TokenRequest { subject, actors: &[], purpose: None, lifetime: 600 };
        self.verify(&self.issuer.issue(&request, self.random(), NOW).unwrap().token)
    }

    fn verify(&self, token: &Secret) -> Identity {
        self.authenticator.verify(token, NOW).unwrap()
    }

    fn random(&self) -> [u8; 16] {
        self.issued.set(self.issued.get() + 1);
        [self.issued.get(); 16]
    }

    /// The token that comes of an exchange.
    fn token(&self, subject: &Identity, actor: Option<&Identity>, scope: Option<&str>) -> Result<Secret, NotExchanged> {
        let exchanged = self.authenticator.exchange(subject, actor, scope, NOW)?;
        Ok(self.issuer.issue_exchanged(&exchanged, 600, self.random(), NOW).unwrap().token)
    }

    /// Whom it names, or why there is none.
    fn outcome(&self, subject: &Identity, actor: Option<&Identity>) -> String {
        match self.token(subject, actor, None) {
            Ok(token) => self.verify(&token).chain.to_string(),
            Err(NotExchanged::Denied(denied)) => denied.code().to_owned(),
            Err(NotExchanged::Scope) => "scope".to_owned(),
            Err(NotExchanged::OfGrant) => "grant".to_owned(),
        }
    }
}

fn said(token: &Secret) -> Value {
    let claims = token.expose_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[test]
fn a_principal_stays_who_it_is() {
    let exchange = Exchange::new();
    let alice = exchange.of_okta(json!({ "groups": ["dba", "staff"], "purpose": "INC-1" }));
    let token = exchange.token(&alice, None, None).unwrap();
    let again = exchange.verify(&token);
    assert_eq!(again.chain, alice.chain, "with the same groups and kind");
    assert_eq!((&*again.issuer, again.purpose.as_deref()), ("local", Some("INC-1")));
    let said = said(&token);
    assert_eq!(
        (&said["sub"], &said["sub_id"]["sub"], &said["iss"]),
        (&json!("okta/alice"), &json!("alice"), &json!("https://gateway.example"))
    );
    assert_eq!(said["inputs"], json!([["okta", "t1"]]));
    // A namesake here is somebody else.
    let carol = exchange.of_ours("carol");
    assert_eq!(exchange.verify(&exchange.token(&carol, None, None).unwrap()).chain, carol.chain);
}

#[test]
fn it_never_lasts_longer_than_what_it_is_made_from() {
    let exchange = Exchange::new();
    let ends = |subject: &Identity, actor: Option<&Identity>| {
        said(&exchange.token(subject, actor, None).unwrap())["exp"].as_i64().unwrap()
    };
    for (left, expected) in [(60, 60), (599, 599), (600, 600), (3000, 600)] {
        let alice = exchange.of_okta(json!({ "exp": NOW_SECS + left }));
        assert_eq!(ends(&alice, None), NOW_SECS + expected);
        let bot = exchange.of_okta(json!({ "sub": "bot", "exp": NOW_SECS + 100, "jti": "b" }));
        assert_eq!(ends(&alice, Some(&bot)), NOW_SECS + expected.min(100));
    }
    // What counts only by the skew that its issuer is granted is not renewed by it.
    let late = exchange.of_okta(json!({ "iat": NOW_SECS - 600, "exp": NOW_SECS - 30 }));
    assert_eq!(exchange.outcome(&late, None), "token.expired");
}

#[test]
fn who_acts_must_be_registered_or_named_by_the_issuer() {
    let exchange = Exchange::new();
    let alice = exchange.of_okta(json!({}));
    for (subject, actor, expected) in [
        (alice.clone(), exchange.of_ours("bot"), "bot@local for alice@okta"),
        (alice.clone(), exchange.of_okta(json!({ "sub": "bot" })), "bot@okta for alice@okta"),
        (alice.clone(), exchange.of_ours("sub-bot"), "delegation.unregistered"),
        (alice.clone(), exchange.of_okta(json!({ "sub": "mallory" })), "delegation.unregistered"),
        (exchange.of_ours("bot"), alice.clone(), "delegation.unregistered"),
        (alice.clone(), alice, "delegation.unregistered"),
        (
            exchange.of_okta(json!({ "may_act": { "sub": "new" } })),
            exchange.of_okta(json!({ "sub": "new" })),
            "new@okta for alice@okta",
        ),
        (exchange.of_okta(json!({ "may_act": { "sub": "new" } })), exchange.of_ours("carol"), "delegation.unregistered"),
        (exchange.of_okta(json!({ "may_act": { "sub": "carol" } })), exchange.of_ours("carol"), "delegation.unregistered"),
        (
            exchange.of_okta(json!({ "may_act": { "sub": "carol", "iss": "https://gateway.example" } })),
            exchange.of_ours("carol"),
            "carol@local for alice@okta",
        ),
    ] {
        assert_eq!(exchange.outcome(&subject, Some(&actor)), expected);
    }
    // An issuer whose word on delegation does not count.
    let exchange = Exchange::with(okta());
    let alice = exchange.of_okta(json!({ "may_act": { "sub": "new" } }));
    assert_eq!(exchange.outcome(&alice, Some(&exchange.of_okta(json!({ "sub": "new" })))), "delegation.unregistered");
}

#[test]
fn chains_nest_and_have_an_end() {
    let exchange = Exchange::new();
    let (alice, bot) = (exchange.of_okta(json!({})), exchange.of_ours("bot"));
    let chain = exchange.verify(&exchange.token(&alice, Some(&bot), None).unwrap());
    assert_eq!(exchange.outcome(&chain, None), "bot@local for alice@okta", "it can be exchanged as it is");
    let deeper = exchange.verify(&exchange.token(&chain, Some(&exchange.of_ours("sub-bot")), None).unwrap());
    assert_eq!(deeper.chain.to_string(), "sub-bot@local for bot@local for alice@okta");
    assert_eq!(deeper.chain.actor().sponsor, Some(key("carol")));
    // One that acts for the bot does not act for Alice by itself.
    assert_eq!(exchange.outcome(&alice, Some(&exchange.of_ours("sub-bot"))), "delegation.unregistered");
    // Two chains are joined where they meet.
    let two = exchange.verify(&exchange.token(&exchange.of_ours("bot"), Some(&exchange.of_ours("sub-bot")), None).unwrap());
    assert_eq!(exchange.outcome(&alice, Some(&two)), "sub-bot@local for bot@local for alice@okta");
    assert_eq!(exchange.outcome(&chain, Some(&two)), "delegation.unregistered", "the bot does not act for itself");
    exchange.authenticator.set_directory(directory().with_delegation(key("bot"), key("bot")));
    assert_eq!(exchange.outcome(&chain, Some(&two)), "sub-bot@local for bot@local for bot@local for alice@okta");
    let four = exchange.verify(&exchange.token(&chain, Some(&two), None).unwrap());
    assert_eq!(exchange.outcome(&four, Some(&exchange.of_ours("bot"))), "delegation.depth");
    // Nor can a token be kept alive by exchanging it for ever.
    let mut last = alice;
    let refused = (0..40).find_map(|_| match exchange.token(&last, None, None) {
        Ok(token) => {
            last = exchange.verify(&token);
            None
        }
        Err(refused) => Some(refused.to_string()),
    });
    assert_eq!(refused.as_deref(), Some("the token was exchanged too many times"));
}

#[test]
fn it_ends_with_any_of_what_it_is_made_from() {
    let exchange = Exchange::new();
    let (alice, bot) = (exchange.of_okta(json!({})), exchange.of_okta(json!({ "sub": "bot", "jti": "b1" })));
    let chain = exchange.verify(&exchange.token(&alice, Some(&bot), None).unwrap());
    let twice = exchange.verify(&exchange.token(&chain, None, None).unwrap());
    let disabled = |who: &str| {
        directory().with_principal(key(who), Registered { disabled: true, ..registered(PrincipalKind::User, &[], None) })
    };
    let without = Directory::new("local").with_delegation(key("bot"), key("alice@okta"));
    for (changed, expected) in [
        (directory(), "ok"),
        (directory().with_revoked("okta", "t1"), "token.revoked"),
        (directory().with_revoked("okta", "b1"), "token.revoked"),
        (directory().with_revoked("local", chain.token), "token.revoked"),
        (directory().with_revoked("local", "t1"), "ok"),
        (disabled("alice@okta"), "principal.disabled"),
        (disabled("bot@okta"), "principal.disabled"),
        (disabled("alice"), "ok"),
        (without, "delegation.unregistered"),
    ] {
        exchange.authenticator.set_directory(changed);
        let stands = exchange.authenticator.recheck(&twice, NOW).map_or_else(|denied| denied.code(), |()| "ok");
        assert_eq!(stands, expected);
    }
    exchange.authenticator.set_directory(directory());
    let other = TrustedIssuer { issuer: "https://other.example".into(), ..okta() };
    for (issuers, why) in [(vec![local()], "okta is not trusted any more"), (vec![local(), other], "another has taken its name")]
    {
        exchange.authenticator.set_issuers(issuers, |_| true);
        assert_eq!(exchange.authenticator.recheck(&twice, NOW).unwrap_err().code(), "token.unknown_issuer", "{why}");
    }
}

#[test]
fn a_scope_only_narrows() {
    let exchange = Exchange::new();
    let alice = exchange.of_okta(json!({ "scope": "openid email" }));
    assert!(alice.origin.reaches("anything"), "another issuer's scopes are its own");
    let scoped =
        |subject: &Identity, scope: Option<&str>| exchange.token(subject, None, scope).map(|token| exchange.verify(&token));
    let two = scoped(&alice, Some("connection:bank connection:ledger")).unwrap();
    assert!(two.origin.reaches("bank") && two.origin.reaches("ledger") && !two.origin.reaches("hr"));
    let same = scoped(&two, None).unwrap();
    assert!(same.origin.reaches("bank") && !same.origin.reaches("hr"), "what is not said stays as it is");
    let one = scoped(&two, Some("connection:bank")).unwrap();
    assert!(one.origin.reaches("bank") && !one.origin.reaches("ledger"));
    for (subject, wider) in [
        (&one, "connection:ledger"),
        (&two, "connection:bank connection:hr"),
        (&alice, "openid"),
        (&alice, "connection:"),
        (&alice, " "),
        (&alice, "bank"),
    ] {
        assert_eq!(scoped(subject, Some(wider)).unwrap_err(), NotExchanged::Scope, "{wider}");
    }
    // Of two, what both are good for.
    let bot = exchange.of_ours("bot");
    let ledger = exchange.verify(&exchange.token(&bot, None, Some("connection:ledger")).unwrap());
    let both = exchange.verify(&exchange.token(&two, Some(&ledger), None).unwrap());
    assert!(both.origin.reaches("ledger") && !both.origin.reaches("bank"));
    assert_eq!(exchange.token(&one, Some(&ledger), None).err(), Some(NotExchanged::Scope), "there is none");
}

/// What only the gateway's own key can say, nobody else's token says.
#[test]
fn other_issuers_cannot_say_what_exchanged_tokens_say() {
    let exchange = Exchange::new();
    let sly = json!({
        "sub": "mallory", "sub_id": { "format": "iss_sub", "iss": "https://gateway.example", "sub": "carol" },
        "inputs": [], "scope": "connection:bank",
        "act": { "sub": "ghost", "groups": ["dba"], "vouched": true },
    });
    let denied = exchange.authenticator.verify(&exchange.okta.token(&claims(sly.clone())), NOW).unwrap_err();
    assert_eq!(denied.code(), "principal.unknown", "an actor's groups count only if the gateway has seen his token");
    let mut alone = sly;
    alone.as_object_mut().unwrap().remove("act");
    let identity = exchange.of_okta(alone);
    assert_eq!((identity.chain.to_string().as_str(), &identity.origin), ("mallory@okta", &crate::Origin::default()));
}

#[test]
fn the_purpose_is_the_subjects() {
    let exchange = Exchange::new();
    let of = |sub: &str, id: &str, purpose: Option<&str>| {
        let mut changes = json!({ "sub": sub, "jti": id });
        if let Some(purpose) = purpose {
            changes["purpose"] = json!(purpose);
        }
        exchange.of_okta(changes)
    };
    for (subject, actor, expected) in [
        (Some("one"), Some("one"), Ok(Some("one"))),
        (Some("one"), None, Ok(Some("one"))),
        (None, Some("one"), Ok(None)),
        (Some("one"), Some("other"), Err("exchange.purpose")),
    ] {
        let (alice, bot) = (of("alice", "t1", subject), of("bot", "t2", actor));
        let outcome = match exchange.authenticator.exchange(&alice, Some(&bot), None, NOW) {
            Ok(exchanged) => Ok(exchanged.purpose.map(|purpose| purpose.to_string())),
            Err(NotExchanged::Denied(denied)) => Err(denied.code().to_owned()),
            Err(other) => panic!("{other}"),
        };
        let expected = expected.map(|purpose| purpose.map(str::to_owned)).map_err(str::to_owned);
        assert_eq!(outcome, expected, "{subject:?} {actor:?}");
    }
}

#[test]
fn a_token_for_a_grant_stays_one() {
    let exchange = Exchange::new();
    let alice = exchange.of_okta(json!({ "sub": "alice", "jti": "t1" }));
    let grant = claviger_model::ApprovalId::from_bytes([7; 16]);
    let exchanged = exchange.authenticator.exchange(&alice, None, Some("connection:bank"), NOW).unwrap().for_grant(grant);
    let token = exchange.issuer.issue_exchanged(&exchanged, 600, [9; 16], NOW).unwrap().token;
    let identity = exchange.verify(&token);
    assert_eq!(
        (identity.origin.grant, identity.origin.reaches("bank"), identity.origin.reaches("shop")),
        (Some(grant), true, false)
    );
    assert_eq!(exchange.outcome(&identity, None), "grant", "nothing else is made of it");
}
