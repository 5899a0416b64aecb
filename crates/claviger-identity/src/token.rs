//! A JWT (RFC 7519) in compact form (RFC 7515), and its claims once the signature has been checked.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_model::{Secret, Timestamp};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::denied::Reason;
use crate::exchange::{Origin, read_origin};
use crate::issuer::SPIFFE;
use crate::keys::Key;
use crate::{Algorithm, ClaimPath, TrustedIssuer};

/// The longest token that is read, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;
/// The longest subject, group, purpose, token id or key id, in bytes.
pub(crate) const MAX_TEXT: usize = 255;
/// The most groups that a token may list.
pub(crate) const MAX_GROUPS: usize = 512;

/// A token whose signature has not been checked. All it can say is whose it claims to be.
pub(crate) struct Unverified<'a> {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    message: &'a [u8],
    signature: &'a str,
}

impl<'a> Unverified<'a> {
    /// Splits and decodes a token.
    pub(crate) fn parse(token: &'a Secret) -> Result<Self, Reason> {
        let text = token.expose_str().filter(|text| text.len() <= MAX_TOKEN).ok_or(Reason::Malformed)?;
        let (message, signature) = text.rsplit_once('.').ok_or(Reason::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Reason::Malformed)?;
        let (header, claims) = (object(header)?, object(claims)?);
        // RFC 7515 section 4.1.11: extensions named in `crit` must be understood, and none is.
        if header.contains_key("crit") {
            return Err(Reason::Malformed);
        }
        Ok(Self { header, claims, message: message.as_bytes(), signature })
    }

    /// The issuer that the token names. JWT-SVIDs need name none: theirs is the trust domain of their subject.
    pub(crate) fn issuer(&self) -> Result<&str, Reason> {
        if let Some(issuer) = text(&self.claims, "iss")? {
            return Ok(issuer);
        }
        let subject = self.subject()?.ok_or(Reason::ClaimMissing)?;
        let domain = subject.strip_prefix(SPIFFE).and_then(|rest| rest.split('/').next());
        subject.get(..SPIFFE.len() + domain.ok_or(Reason::ClaimMissing)?.len()).ok_or(Reason::Malformed)
    }

    /// Whom the token says that it is about.
    pub(crate) fn subject(&self) -> Result<Option<&str>, Reason> {
        text(&self.claims, "sub")
    }

    /// What the token's signature is over.
    pub(crate) fn message(&self) -> &'a [u8] {
        self.message
    }

    /// The algorithm that the token names; `none` and HMAC are none of ours.
    pub(crate) fn algorithm(&self) -> Result<Algorithm, Reason> {
        text(&self.header, "alg")?.ok_or(Reason::Malformed)?.parse().map_err(|_| Reason::Algorithm)
    }

    /// The id of the key that the token names.
    pub(crate) fn kid(&self) -> Result<Option<&str>, Reason> {
        text(&self.header, "kid")
    }

    /// Refuses what is signed by the same keys for another end, such as logout tokens, which carry `events` (OpenID Connect
    /// Back-Channel Logout section 2.4). RFC 8725 section 3.11 and RFC 9068 section 4 are why.
    pub(crate) fn check_type(&self, trusted: &TrustedIssuer) -> Result<(), Reason> {
        let typ = text(&self.header, "typ")?.unwrap_or("JWT").to_ascii_lowercase();
        let accepted = match typ.strip_prefix("application/").unwrap_or(&typ) {
            "jwt" | "at+jwt" => true,
            // JWT-SVID section 2.3.
            "jose" => trusted.is_trust_domain(),
            _ => false,
        };
        if accepted && !self.claims.contains_key("events") { Ok(()) } else { Err(Reason::Type) }
    }

    /// The claims, if this key made the signature.
    pub(crate) fn verified_by(self, key: &Key, algorithm: Algorithm) -> Result<Claims, Reason> {
        if !key.takes(algorithm) {
            return Err(Reason::Algorithm);
        }
        let valid = key.verifies(algorithm, self.message, self.signature);
        if valid { Ok(Claims(self.claims)) } else { Err(Reason::Signature) }
    }
}

/// What a token says, and its issuer stands for.
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    /// Checks `exp`, `nbf`, `iat` and the lifetime; gives the moment from which the token is no longer accepted.
    ///
    /// A token without `iat` counts as issued now: it must end within the longest lifetime from here.
    pub(crate) fn check_times(&self, trusted: &TrustedIssuer, now: Timestamp) -> Result<Timestamp, Reason> {
        let (skew, lifetime) = (i64::from(trusted.clock_skew), i64::from(trusted.max_lifetime));
        let expires = self.time("exp")?.ok_or(Reason::ClaimMissing)?;
        let issued = self.time("iat")?;
        let end = expires.plus_secs(skew);
        if now >= end {
            return Err(Reason::Expired);
        }
        let starts = [issued, self.time("nbf")?].into_iter().flatten().max();
        if starts.is_some_and(|start| start > now.plus_secs(skew)) {
            return Err(Reason::NotYetValid);
        }
        if expires > issued.unwrap_or(now.plus_secs(skew)).plus_secs(lifetime) {
            return Err(Reason::Lifetime);
        }
        Ok(end)
    }

    /// Checks that `aud`, one text or a list of them, holds the required audience.
    pub(crate) fn check_audience(&self, required: &str) -> Result<(), Reason> {
        let meant = match self.0.get("aud") {
            None => return Err(Reason::Audience),
            Some(Value::String(one)) => one == required,
            Some(Value::Array(list)) => list.iter().any(|one| one.as_str() == Some(required)),
            Some(_) => return Err(Reason::Malformed),
        };
        if meant { Ok(()) } else { Err(Reason::Audience) }
    }

    /// Checks what the issuer's trust record requires of claims.
    pub(crate) fn check_requirements(&self, trusted: &TrustedIssuer) -> Result<(), Reason> {
        for requirement in &trusted.require {
            if !requirement.is_met(&self.0)? {
                return Err(Reason::Requirement);
            }
        }
        Ok(())
    }

    /// The subject, by the issuer's template. `sub` is required in any case.
    pub(crate) fn subject(&self, trusted: &TrustedIssuer) -> Result<String, Reason> {
        let sub = text(&self.0, "sub")?.ok_or(Reason::ClaimMissing)?;
        let within = |sub: &str| sub.strip_prefix(&*trusted.issuer).is_some_and(|path| path.starts_with('/'));
        if trusted.is_trust_domain() && !within(sub) {
            return Err(Reason::TrustDomain);
        }
        let subject = trusted.subject.fill(&self.0)?;
        if is_plain(&subject) { Ok(subject) } else { Err(Reason::Malformed) }
    }

    /// The groups, by the issuer's claims.
    pub(crate) fn groups(&self, trusted: &TrustedIssuer) -> Result<GroupsSaid, Reason> {
        groups(&self.0, &trusted.groups)
    }

    /// The actors of `act` (RFC 8693 section 4.1), the current one first, at most so many.
    pub(crate) fn actors(&self, most: usize) -> Result<Vec<Actor<'_>>, Reason> {
        let mut actors = Vec::new();
        let mut level = self.0.get("act");
        while let Some(act) = level {
            let act = act.as_object().ok_or(Reason::Malformed)?;
            if actors.len() == most {
                return Err(Reason::DelegationDepth);
            }
            let subject = text(act, "sub")?.ok_or(Reason::ClaimMissing)?;
            let vouched = act.get("vouched").is_some_and(|vouched| vouched.as_bool() == Some(true));
            actors.push(Actor { issuer: text(act, "iss")?, subject, groups: group_list(act).unwrap_or_default(), vouched });
            level = act.get("act");
        }
        Ok(actors)
    }

    /// Whom an exchanged token is about, where that is nobody of the local issuer: `iss` and `sub` (RFC 9493 section 3.2.3).
    pub(crate) fn foreign_subject(&self) -> Result<Option<(&str, &str)>, Reason> {
        let Some(id) = self.0.get("sub_id") else { return Ok(None) };
        let id =
            id.as_object().filter(|id| id.get("format").is_some_and(|format| format == "iss_sub")).ok_or(Reason::Malformed)?;
        let (issuer, subject) = (text(id, "iss")?, text(id, "sub")?);
        Ok(Some(issuer.zip(subject).ok_or(Reason::ClaimMissing)?))
    }

    /// The groups of that subject.
    pub(crate) fn foreign_groups(&self) -> Result<Vec<Arc<str>>, Reason> {
        Ok(group_list(&self.0)?.unwrap_or_default())
    }

    /// Who may act for the subject (RFC 8693 section 4.4): `iss`, if it is said, and `sub`.
    pub(crate) fn may_act(&self) -> Result<Option<(Option<&str>, &str)>, Reason> {
        let Some(may_act) = self.0.get("may_act") else { return Ok(None) };
        let may_act = may_act.as_object().ok_or(Reason::Malformed)?;
        let subject = text(may_act, "sub")?;
        subject.map(|subject| Ok((text(may_act, "iss")?, subject))).transpose()
    }

    /// What an exchanged token was made from.
    pub(crate) fn origin(&self) -> Result<Origin, Reason> {
        read_origin(&self.0)
    }

    /// `jti`.
    pub(crate) fn id(&self) -> Result<Option<&str>, Reason> {
        text(&self.0, "jti")
    }

    /// `purpose`, our own claim.
    pub(crate) fn purpose(&self) -> Result<Option<&str>, Reason> {
        text(&self.0, "purpose")
    }

    /// A NumericDate (RFC 7519 section 2), which may have a fraction; it is cut off.
    fn time(&self, claim: &str) -> Result<Option<Timestamp>, Reason> {
        /// The year 9999, so that no sum overflows.
        const LAST: f64 = 253_402_300_799.0;
        let Some(value) = self.0.get(claim) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..=LAST).contains(seconds)).ok_or(Reason::Malformed)?;
        // INVARIANT: within 0 and LAST, so it fits.
        #[allow(clippy::cast_possible_truncation)]
        Ok(Some(Timestamp::from_secs(seconds as i64)))
    }
}

/// Somebody who acts, as `act` says it.
pub(crate) struct Actor<'a> {
    /// The `iss` of its issuer; the token's own if it is not said.
    pub(crate) issuer: Option<&'a str>,
    pub(crate) subject: &'a str,
    /// Its groups, if it proved them when the token was exchanged.
    pub(crate) groups: Option<Vec<Arc<str>>>,
    /// Whether the issuer of whom it acts for lets it.
    pub(crate) vouched: bool,
}

/// `groups` as the local issuer writes them.
fn group_list(object: &Map<String, Value>) -> Result<Option<Vec<Arc<str>>>, Reason> {
    let Some(list) = object.get("groups") else { return Ok(None) };
    let list = list.as_array().filter(|list| list.len() <= 2 * MAX_GROUPS).ok_or(Reason::Malformed)?;
    let group = |group: &Value| group.as_str().filter(|group| is_plain(group)).map(Arc::from).ok_or(Reason::Malformed);
    list.iter().map(group).collect::<Result<_, _>>().map(Some)
}

/// What a token, or an answer of the userinfo endpoint, says of groups.
pub(crate) struct GroupsSaid {
    /// Those that it lists.
    pub(crate) listed: Vec<Arc<str>>,
    /// Whether a claim that could list some is not there.
    pub(crate) silent: bool,
    /// Whether it says that it left some out. The group that goes unseen may be one that is forbidden something.
    pub(crate) left_out: bool,
}

/// Reads groups from these claims: in each one text or a list of texts.
pub(crate) fn groups(object: &Map<String, Value>, claims: &[ClaimPath]) -> Result<GroupsSaid, Reason> {
    // OpenID Connect Core section 5.6.2. Microsoft Entra says `hasgroups` where there is no room for that.
    let elsewhere = object.get("_claim_names").and_then(Value::as_object);
    let elsewhere = elsewhere.into_iter().flat_map(Map::keys).map(String::as_str);
    let has_groups = object.get("hasgroups").is_some_and(|says| says.as_bool() == Some(true) || says.as_str() == Some("true"));
    let mut left_out = elsewhere.chain(has_groups.then_some("groups"));
    let left_out = left_out.any(|name| claims.iter().any(|claim| claim.begins_with(name)));
    let (mut listed, mut silent) = (Vec::new(), false);
    for claim in claims {
        let list = match claim.find(object)? {
            None | Some(Value::Null) => {
                silent = true;
                continue;
            }
            Some(Value::Array(list)) => list.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        if listed.len() + list.len() > MAX_GROUPS {
            return Err(Reason::Groups);
        }
        for group in list {
            let group = group.as_str().filter(|group| is_plain(group)).ok_or(Reason::Malformed)?;
            listed.push(group.into());
        }
    }
    Ok(GroupsSaid { listed, silent, left_out })
}

/// Whether a text can name something: not empty, not long, and without control characters.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}

fn text<'a>(object: &'a Map<String, Value>, member: &str) -> Result<Option<&'a str>, Reason> {
    match object.get(member) {
        None => Ok(None),
        Some(Value::String(text)) if is_plain(text) => Ok(Some(text)),
        Some(_) => Err(Reason::Malformed),
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Reason> {
    parse_object(&URL_SAFE_NO_PAD.decode(part).map_err(|_| Reason::Malformed)?)
}

/// A JSON object in which nothing is said twice.
pub(crate) fn parse_object(json: &[u8]) -> Result<Map<String, Value>, Reason> {
    match serde_json::from_slice(json) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        _ => Err(Reason::Malformed),
    }
}

/// JSON in which no object names a member twice (RFC 7519 section 4 lets us refuse it): two readers could each see another.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON without repeated members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = access.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = access.next_entry::<String, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is repeated"));
            }
        }
        Ok(Value::Object(object))
    }
}
