//! SASL OAUTHBEARER as a server (RFC 7628; PostgreSQL manual, 55.3.2).
//!
//! A client that has no token asks where to get one by an empty `auth`; so does one whose token is not good. It is told in JSON,
//! says a single separator, and is refused; then it gets a token and comes again.

use bytes::Bytes;
use claviger_model::{Refusal, RefusalKind, Secret};

use super::frame::{Reader, Violation};
use super::login::by_client;
use super::{Fault, write};

/// The mechanism's name.
pub(super) const MECHANISM: &str = "OAUTHBEARER";
/// What stands around each pair of a message, and alone says "understood".
pub(super) const SEPARATOR: u8 = 1;

/// What a client says.
pub(super) enum Said {
    /// Its token.
    Token(Secret),
    /// That it has none, or something that is none.
    Nothing,
}

/// AuthenticationSASL with this one mechanism.
pub(super) fn offer() -> Bytes {
    write::frame(b'R', |out| {
        out.extend_from_slice(&10_u32.to_be_bytes());
        write::text(out, MECHANISM.as_bytes());
        write::text(out, b"");
    })
}

/// AuthenticationSASLContinue with these data.
pub(super) fn proceed(data: &[u8]) -> Bytes {
    write::frame(b'R', |out| {
        out.extend_from_slice(&11_u32.to_be_bytes());
        out.extend_from_slice(data);
    })
}

/// The client's first message out of a SASLInitialResponse; `None` if it chose the mechanism and has yet to send one.
pub(super) fn initial_response(frame: &Bytes) -> Result<Option<Bytes>, Fault> {
    let mut reader = Reader::of(frame);
    if reader.text().map_err(by_client)? != MECHANISM.as_bytes() {
        return Err(by_client(Violation("a SASL mechanism that was not offered")));
    }
    let response = reader.value().map_err(by_client)?;
    reader.end().map_err(by_client)?;
    Ok(response)
}

/// What the client's first message says (RFC 7628, section 3.1): a GS2 header, then pairs, each with a separator after it, and
/// a last separator.
pub(super) fn client_message(message: &[u8]) -> Result<Said, Fault> {
    const MALFORMED: Violation = Violation("the OAUTHBEARER message is malformed");
    let pairs = match message {
        [b'p', ..] => return Err(by_client(Violation("an OAUTHBEARER message cannot be bound to a channel"))),
        [b'n' | b'y', b',', b',', SEPARATOR, pairs @ ..] => pairs,
        [b'n' | b'y', b',', b'a', b'=', ..] => {
            return Err(Fault::Client(Refusal::new(
                RefusalKind::Unsupported,
                "a client cannot act for another by naming him; its token says whom it acts for",
            )));
        }
        _ => return Err(by_client(MALFORMED)),
    };
    let mut auth = None;
    let mut rest = pairs;
    loop {
        let end = rest.iter().position(|byte| *byte == SEPARATOR).ok_or_else(|| by_client(MALFORMED))?;
        let (pair, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        if pair.is_empty() {
            break;
        }
        let name = pair.iter().position(|byte| *byte == b'=').ok_or_else(|| by_client(MALFORMED))?;
        let (name, value) = pair.split_at(name);
        let value = value.get(1..).unwrap_or_default();
        if name.is_empty() || !name.iter().all(u8::is_ascii_alphabetic) || !value.iter().all(|byte| is_text(*byte)) {
            return Err(by_client(MALFORMED));
        }
        if name == b"auth" && auth.replace(value).is_some() {
            return Err(by_client(Violation("an OAUTHBEARER message has two tokens")));
        }
    }
    if !rest.is_empty() {
        return Err(by_client(Violation("an OAUTHBEARER message goes on after its end")));
    }
    let auth = auth.ok_or_else(|| by_client(Violation("an OAUTHBEARER message says nothing of a token")))?;
    Ok(token(auth).map_or(Said::Nothing, |token| Said::Token(Secret::new(token))))
}

/// The token of a credential (RFC 6750, section 2.1), if it is one.
fn token(auth: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer ";
    let (scheme, rest) = auth.split_at_checked(SCHEME.len())?;
    let token = rest.trim_ascii_start();
    let body = token.get(..token.iter().rposition(|byte| *byte != b'=')? + 1)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    (scheme.eq_ignore_ascii_case(SCHEME) && body.iter().all(plain)).then_some(token)
}

/// What a value may hold (RFC 7628, section 3.1).
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn said(message: &str) -> Result<Option<String>, RefusalKind> {
        match client_message(message.as_bytes()) {
            Ok(Said::Token(token)) => Ok(Some(token.expose_str().unwrap().to_owned())),
            Ok(Said::Nothing) => Ok(None),
            Err(Fault::Client(refusal)) => Err(refusal.kind),
            Err(_) => panic!("whose fault is it?"),
        }
    }

    #[test]
    fn reads_what_clients_send() {
        for (message, token) in [
            ("n,,\x01auth=Bearer a.b-c_d~e+f/g==\x01\x01", Some("a.b-c_d~e+f/g==")),
            ("y,,\x01auth=bEARER   t\x01\x01", Some("t")),
            ("n,,\x01host=db\x01port=5432\x01auth=Bearer t\x01\x01", Some("t")),
            ("n,,\x01auth=\x01\x01", None),
            ("n,,\x01auth=Bearer \x01\x01", None),
            ("n,,\x01auth=Bearer\x01\x01", None),
            ("n,,\x01auth=Bearer ==\x01\x01", None),
            ("n,,\x01auth=Bearer a b\x01\x01", None),
            ("n,,\x01auth=Bearer a=b\x01\x01", None),
            ("n,,\x01auth=Basic dDp0\x01\x01", None),
        ] {
            assert_eq!(said(message), Ok(token.map(str::to_owned)), "{message:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_message() {
        for message in [
            "",
            "n",
            "n,,",
            "n,,\x01",
            "n,\x01auth=Bearer t\x01\x01",
            "x,,\x01auth=Bearer t\x01\x01",
            "p=tls-server-end-point,,\x01auth=Bearer t\x01\x01",
            "n,,\x01\x01",
            "n,,\x01auth=Bearer t\x01",
            "n,,\x01auth=Bearer t",
            "n,,\x01auth=Bearer t\x01\x01x",
            "n,,\x01auth=Bearer t\x01\x01\x01",
            "n,,\x01auth=Bearer t\x01auth=Bearer u\x01\x01",
            "n,,\x01auth\x01\x01",
            "n,,\x01=Bearer t\x01\x01",
            "n,,\x01a1=x\x01auth=Bearer t\x01\x01",
            "n,,\x01x=\0\x01auth=Bearer t\x01\x01",
        ] {
            assert_eq!(said(message), Err(RefusalKind::ProtocolViolation), "{message:?}");
        }
        assert_eq!(said("n,a=bob,\x01auth=Bearer t\x01\x01"), Err(RefusalKind::Unsupported));
    }

    proptest! {
        #[test]
        fn arbitrary_messages_never_panic(message in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = client_message(&message);
            let _ = client_message(&[b"n,,\x01auth=Bearer ", message.as_slice()].concat());
        }
    }
}
