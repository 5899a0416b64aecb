//! Building frames of our own.

use bytes::{BufMut, Bytes, BytesMut};
use claviger_model::{Refusal, RefusalKind};

use crate::{Notice, Question};

/// The name of the statement and the portal of a question of ours.
const PROBE_NAME: &[u8] = b"claviger:probe";

/// A frame with this type, whose body the closure writes.
pub(super) fn frame(tag: u8, body: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(tag);
    sized(&mut out, body);
    out.freeze()
}

/// A start-up frame, which has no type.
pub(super) fn untyped(body: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    sized(&mut out, body);
    out.freeze()
}

fn sized(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    body(out);
    // What we write is bounded far below 4 GiB.
    let len = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}

/// A zero-terminated text. A zero inside would end it early, so it is left out.
pub(super) fn text(out: &mut BytesMut, text: &[u8]) {
    out.extend(text.iter().filter(|byte| **byte != 0));
    out.put_u8(0);
}

pub(super) fn query(sql: &[u8]) -> Bytes {
    frame(b'Q', |out| text(out, sql))
}

pub(super) fn password(secret: &[u8]) -> Bytes {
    frame(b'p', |out| text(out, secret))
}

pub(super) fn terminate() -> Bytes {
    frame(b'X', |_| {})
}

/// An ErrorResponse (PostgreSQL manual, 55.8).
pub(super) fn error(severity: &str, refusal: &Refusal) -> Bytes {
    let detail = refusal.detail.iter().map(|detail| (b'D', detail.as_str()));
    // By this clients know the server's own error, and prepare the statement again.
    let routine = (refusal.kind == RefusalKind::PlanChanged).then_some((b'R', "RevalidateCachedQuery"));
    report(b'E', severity, sqlstate(refusal.kind), &refusal.message, detail.chain(routine))
}

/// A NoticeResponse (the same).
pub(super) fn notice(notice: &Notice) -> Bytes {
    report(b'N', "NOTICE", "00000", &notice.message, [(b'D', notice.detail.as_str()), (b'H', notice.hint.as_str())])
}

fn report<'a>(
    tag: u8,
    severity: &'a str,
    code: &'a str,
    message: &'a str,
    more: impl IntoIterator<Item = (u8, &'a str)>,
) -> Bytes {
    frame(tag, |out| {
        let always = [(b'S', severity), (b'V', severity), (b'C', code), (b'M', message)];
        for (field, value) in always.into_iter().chain(more) {
            out.put_u8(field);
            text(out, value.as_bytes());
        }
        out.put_u8(0);
    })
}

/// The SQLSTATE of a refusal (PostgreSQL manual, appendix A).
pub(super) fn sqlstate(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::Unauthenticated => "28000",
        RefusalKind::NotPermitted => "42501",
        RefusalKind::NotUnderstood => "42601",
        RefusalKind::UndefinedTable => "42P01",
        RefusalKind::UndefinedColumn => "42703",
        RefusalKind::UndefinedSchema => "3F000",
        RefusalKind::UndefinedStatement => "26000",
        RefusalKind::UndefinedCursor => "34000",
        RefusalKind::TransactionFailed => "25P02",
        RefusalKind::Encoding => "22021",
        RefusalKind::Undecidable => "55000",
        RefusalKind::UnknownConnection => "3D000",
        RefusalKind::Unsupported | RefusalKind::PlanChanged => "0A000",
        RefusalKind::ProtocolViolation => "08P01",
        RefusalKind::InvalidSetting => "22023",
        RefusalKind::TooLarge => "54000",
        RefusalKind::TimedOut => "57014",
        RefusalKind::UpstreamUnavailable | RefusalKind::UpstreamTimedOut => "08006",
        RefusalKind::AuditUnavailable => "53100",
        RefusalKind::Terminated => "57P01",
        RefusalKind::TooMany => "53300",
        RefusalKind::Idle => "57P05",
        RefusalKind::IdleInTransaction => "25P03",
        RefusalKind::Internal => "XX000",
    }
}

/// A question of the gateway's own. A simple query would drop the client's unnamed statement and portal, so it goes by the
/// extended protocol, under a name of its own; the first Close clears what a question that failed may have left.
pub(super) fn probe(question: &Question) -> Bytes {
    let close = |kind: u8| {
        frame(b'C', |out| {
            out.put_u8(kind);
            text(out, PROBE_NAME);
        })
    };
    let bind = frame(b'B', |out| {
        text(out, PROBE_NAME);
        text(out, PROBE_NAME);
        list(out, question.binary.iter(), |out, binary| out.put_u16(u16::from(*binary)));
        list(out, question.parameters.iter(), |out, value| match value {
            Some(value) => {
                out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
                out.put_slice(value);
            }
            None => out.put_i32(-1),
        });
        out.put_u16(0);
    });
    let parse = frame(b'P', |out| {
        text(out, PROBE_NAME);
        text(out, question.text.as_bytes());
        list(out, question.types.iter(), |out, kind| out.put_u32(*kind));
    });
    let execute = frame(b'E', |out| {
        text(out, PROBE_NAME);
        out.put_u32(0);
    });
    let sync = frame(b'S', |_| {});
    [close(b'S'), parse, bind, execute, close(b'P'), close(b'S'), sync].concat().into()
}

/// A list that is preceded by its length.
fn list<T>(out: &mut BytesMut, items: impl ExactSizeIterator<Item = T>, mut each: impl FnMut(&mut BytesMut, T)) {
    out.put_u16(u16::try_from(items.len()).unwrap_or(u16::MAX));
    items.for_each(|item| each(out, item));
}

/// A Describe of a portal.
pub(super) fn describe_portal(name: &[u8]) -> Bytes {
    frame(b'D', |out| {
        out.put_u8(b'P');
        text(out, name);
    })
}

pub(super) fn parse(name: &[u8], sql: &[u8]) -> Bytes {
    frame(b'P', |out| {
        text(out, name);
        text(out, sql);
        out.put_u16(0);
    })
}
