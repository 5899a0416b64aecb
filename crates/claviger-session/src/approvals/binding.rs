//! What consent is bound to: all that an operation is, and all that it hangs on.
//!
//! The text and the values of its parameters in their formats, as the types that they are said to be of; who asks, where, and for what purpose; what it does to which objects, by
//! their identity; the definition of every view, function, trigger and rule that it reaches, and of what was prepared before under
//! a name; and what its session has set. The policy is not in it: the operation is decided again anyway. Names of prepared statements and portals are not either, so
//! that a driver which makes them up can repeat what it did.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use claviger_model::{Chain, Secret};
use claviger_protocols::{Exchange, Operation, Request};
use ring::hmac;

use super::Digest;
use crate::Connection;
use crate::understanding::{Reached, Understanding};

/// The longest statement that is shown to reviewers, with its parameters, in bytes. What is longer nobody would read.
const LONGEST: usize = 256 * 1024;

/// An operation, as reviewers see it, and what consent to it is bound to.
pub(crate) struct Bound {
    pub(crate) digest: Digest,
    pub(crate) statement: Arc<str>,
    pub(crate) parameters: Arc<[Option<Arc<str>>]>,
}

/// Who runs an operation: his chain, its purpose, and what he has set as his session began.
#[derive(Clone, Copy)]
pub(crate) struct Bearer<'a> {
    pub(crate) chain: &'a Chain,
    pub(crate) purpose: Option<&'a str>,
    pub(crate) settings: &'a [(String, Bytes)],
}

/// What an operation is bound by, in its chain and purpose, on its connection. What it reaches is told by the text; the error is for the
/// client.
pub(crate) fn bind(
    key: &Secret,
    operation: &Operation,
    understanding: Option<&Understanding>,
    reached: Option<&Reached>,
    asker: Bearer<'_>,
    connection: &Connection,
) -> Result<Bound, &'static str> {
    let Bearer { chain, purpose, settings } = asker;
    let whole: Vec<u8>;
    let (text, name, parameters, binary, types) = match &operation.request {
        Request::Batch { text } => (&**text, None, &[][..], &[][..], &[][..]),
        Request::Prepare { text, types, .. } => (&**text, None, &[][..], &[][..], &**types),
        Request::Execute { text: Some(text), parameters, binary, types, .. } => {
            (&**text, None, &**parameters, &**binary, &**types)
        }
        Request::Execute { name, text: None, parameters, binary, types } => {
            (&b""[..], Some(&**name), &**parameters, &**binary, &**types)
        }
        Request::Portal { name } => (&b""[..], Some(&**name), &[][..], &[][..], &[][..]),
        Request::Call { .. } => return Err("a call by number cannot be shown to a reviewer"),
        Request::Exchange(exchange) => {
            whole = exchange_text(exchange)?;
            (&*whole, None, &[][..], &[][..], &[][..])
        }
        Request::Tool { tool, arguments } => {
            whole = format!("{tool} {arguments}").into_bytes();
            (&*whole, None, &[][..], &[][..], &[][..])
        }
    };
    let length = text.len() + parameters.iter().flatten().map(|value| value.len()).sum::<usize>();
    if length > LONGEST {
        return Err("it is too long to be reviewed");
    }
    let mut seal = Seal(hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.expose())));
    seal.part(operation.request.form().as_bytes());
    seal.part(text);
    seal.part(name.unwrap_or_default());
    seal.list(parameters.iter(), |seal, value| match value {
        Some(value) => seal.list([value], |seal, value| seal.part(value)),
        None => seal.list([], |_, ()| {}),
    });
    seal.list(binary.iter(), |seal, binary| seal.part(&[u8::from(*binary)]));
    seal.list(types, |seal, kind| seal.part(&kind.to_be_bytes()));
    seal.list(chain.links().iter(), |seal, link| seal.part(link.key.to_string().as_bytes()));
    seal.part(purpose.unwrap_or_default().as_bytes());
    seal.list(settings, |seal, (name, value)| {
        seal.part(name.as_bytes());
        seal.part(value);
    });
    for part in [connection.name.as_str(), &connection.host, &connection.database, &connection.user] {
        seal.part(part.as_bytes());
    }
    seal.part(&connection.port.to_be_bytes());
    if let Some(Understanding::Text(understood)) = understanding {
        let matter = understood.matter.as_ref().map_err(|_| "it is not understood")?;
        seal.part(&matter.digest());
        if matches!(operation.request, Request::Exchange(_) | Request::Tool { .. }) {
            // What these do hangs on nothing that a catalog says.
            let statement = String::from_utf8_lossy(text).into();
            return Ok(Bound { digest: seal.digest(), statement, parameters: Arc::default() });
        }
        let reached = reached.ok_or("it cannot be told what it reaches")?;
        seal.list(&reached.texts, |seal, text| seal.part(text.as_bytes()));
        seal.list(&reached.session, |seal, part| seal.part(part));
        // What cannot be looked into may reach anything that is defined.
        if understood.may_reach_anything() {
            seal.part(reached.fingerprint.as_bytes());
        }
    }
    let statement = shown(text, name, reached);
    let parameters = parameters.iter().zip(binary.iter().chain(std::iter::repeat(&false)));
    let parameters = parameters.map(|(value, binary)| value.as_deref().map(|value| readable(value, *binary))).collect();
    Ok(Bound { digest: seal.digest(), statement, parameters })
}

/// An HTTP request as reviewers read it: what it is sent to, and its content.
fn exchange_text(exchange: &Exchange) -> Result<Vec<u8>, &'static str> {
    let content = exchange.content.as_deref().ok_or("its content is still to come")?;
    let query = exchange.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let kind = exchange.content_type.as_deref().unwrap_or("none");
    let head = format!("{} {}{query}\ncontent-type: {kind}\n\n", exchange.method, exchange.path);
    Ok([head.as_bytes(), content].concat())
}

/// A statement as reviewers read it. Where it uses what was prepared or declared before, that text says what runs.
fn shown(text: &[u8], name: Option<&[u8]>, reached: Option<&Reached>) -> Arc<str> {
    let own = String::from_utf8_lossy(name.unwrap_or(text));
    let before: Vec<&str> = reached.into_iter().flat_map(|reached| &reached.given).map(AsRef::as_ref).collect();
    if before.is_empty() { own.into() } else { format!("{own}\n\n-- given before:\n{}", before.join(";\n")).into() }
}

/// A value as reviewers read it. In binary form it may be a text or a number, and only the server knows.
fn readable(value: &[u8], binary: bool) -> Arc<str> {
    let hex = || {
        let mut hex = String::with_capacity(2 + 2 * value.len());
        hex.push_str("\\x");
        value.iter().for_each(|byte| _ = write!(hex, "{byte:02x}"));
        hex
    };
    let is_text = |text: &str| !text.chars().any(char::is_control);
    match std::str::from_utf8(value) {
        Ok(text) if !binary => text.into(),
        Ok(text) if is_text(text) && matches!(value.len(), 1 | 2 | 4 | 8) => format!("{text} (or {})", hex()).into(),
        Ok(text) if is_text(text) => text.into(),
        _ => hex().into(),
    }
}

/// A digest of parts, free of ambiguity: each is preceded by its length, and each list by its own.
struct Seal(hmac::Context);

impl Seal {
    fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Self, T)) {
        let mut count = 0_u64;
        for item in items {
            count += 1;
            self.0.update(b"+");
            each(self, item);
        }
        self.0.update(b".");
        self.0.update(&count.to_be_bytes());
    }

    fn digest(self) -> Digest {
        let mut digest = [0; 32];
        digest.iter_mut().zip(self.0.sign().as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }
}
