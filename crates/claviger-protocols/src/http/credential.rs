//! What clients prove themselves with, and what the upstream is shown in its place.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger_model::{Refusal, RefusalKind, Secret};

use super::fields::{Fields, field};
use super::scrub::Needles;
use super::wrong::Wrong;
use crate::{Shown, UpstreamLogin};

/// A token that a request brings, and the word for where it stood.
#[derive(Clone)]
pub(super) struct Presented {
    pub(super) token: Secret,
    pub(super) place: &'static str,
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.place)
    }
}

impl PartialEq for Presented {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place && self.token.expose() == other.token.expose()
    }
}

impl Presented {
    /// The token of a request: in one place, or the same in several.
    pub(super) fn read(fields: &Fields) -> Result<Option<Self>, Wrong> {
        let keys = ["x-api-key", "api-key", "x-goog-api-key"].into_iter().filter_map(|name| fields.get(name));
        let keys = keys.map(|key| Ok(Self { token: Secret::new(key), place: "api-key" }));
        let authorization = fields.get("authorization").map(authorization);
        let mut all = authorization.into_iter().chain(keys).collect::<Result<Vec<_>, _>>()?.into_iter();
        let Some(first) = all.next() else { return Ok(None) };
        if all.any(|other| other.token.expose() != first.token.expose()) {
            return Err(Wrong::request("the request brings more than one token"));
        }
        if first.token.expose().is_empty() { Ok(None) } else { Ok(Some(first)) }
    }
}

/// `Bearer` with a token (RFC 6750), or `Basic` with a token as the password (RFC 7617).
fn authorization(value: &[u8]) -> Result<Presented, Wrong> {
    const UNKNOWN: Wrong = Wrong::new(401, "the Authorization header holds neither a bearer token nor a password");
    let space = value.iter().position(|c| *c == b' ').ok_or(UNKNOWN)?;
    let (scheme, rest) = value.split_at(space);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(Presented { token: Secret::new(rest), place: "bearer" });
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err(UNKNOWN);
    }
    let pair = Secret::new(STANDARD.decode(rest).map_err(|_| UNKNOWN)?);
    let colon = pair.expose().iter().position(|c| *c == b':').ok_or(UNKNOWN)?;
    Ok(Presented { token: Secret::new(pair.expose().get(colon + 1..).unwrap_or_default()), place: "basic" })
}

/// What an upstream is shown.
pub(super) struct Shows {
    /// The line of a head that shows it; empty if it has no credential.
    pub(super) line: Secret,
    /// The forms of the credential that must not come back.
    pub(super) needles: Needles,
}

impl Shows {
    pub(super) fn new(login: &UpstreamLogin) -> Result<Self, Refusal> {
        let Some(secret) = &login.password else {
            return Ok(Self { line: Secret::new(Vec::new()), needles: Needles::default() });
        };
        let is_plain = secret.expose().iter().all(|c| (b' '..=b'~').contains(c));
        if !is_plain || secret.expose().is_empty() {
            return Err(Refusal::new(RefusalKind::UpstreamUnavailable, "the upstream's credential is not available"));
        }
        let mut line = Vec::new();
        let mut forms = vec![secret.clone()];
        match &login.shown {
            Shown::Password | Shown::Bearer => field(&mut line, "authorization", &[b"Bearer ", secret.expose()].concat()),
            Shown::Basic => {
                let pair = Secret::new([login.user.as_bytes(), b":", secret.expose()].concat());
                let encoded = Secret::new(STANDARD.encode(pair.expose()));
                field(&mut line, "authorization", &[b"Basic ", encoded.expose()].concat());
                forms.push(encoded);
            }
            Shown::Header(name) => field(&mut line, name, secret.expose()),
        }
        Ok(Self { line: Secret::new(line), needles: Needles::new(forms) })
    }
}
