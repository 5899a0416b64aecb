//! Leaves as text: canonical JSON (RFC 8785), so that one leaf has exactly one form and one hash.
//!
//! Writing is by hand and allocates nothing. Every key of ours is ASCII and every number an integer below 2^53, so the two
//! hard parts of RFC 8785 (order by UTF-16 code units, shortest floats) do not arise; reading refuses what would need them.
//! Every text has a bound on its *written* length, so that the room a leaf can take is known before it is written; what is
//! cut off ends in `…`.

use std::io::Write;

use claviger_model::{BootId, Masked, SessionId, Timestamp};

use crate::hex;
use crate::leaf::{
    AccessLeaf, AdminLeaf, ApprovalLeaf, BootLeaf, ChunkRef, DecisionFacts, EffectFacts, GapLeaf, IntentLeaf, Leaf, LeafKind,
    OutcomeLeaf, RecoveryLeaf, RefusalsLeaf, RequestLeaf, SessionCloseLeaf, SessionOpenLeaf, SessionRefusedLeaf, StatementFacts,
    TokenFacts, TxEndLeaf,
};

/// No leaf is longer than this, in bytes.
pub const MAX_LEAF: usize = 64 * 1024;
/// No `OUTCOME` is longer than this.
pub const MAX_OUTCOME_LEAF: usize = 8 * 1024;
/// No `TX_END`, `SESSION_CLOSE` or `GAP` is longer than this.
pub const MAX_CLOSING_LEAF: usize = 768;

const VERSION: u64 = 1;
/// RFC 8785 §3.2.2.3: numbers are IEEE doubles, which hold every integer up to here.
pub(crate) const MAX_INTEGER: u64 = (1 << 53) - 1;

const TEXT: usize = 256;
const WHO: usize = 1024;
const TAG: usize = 48;
const CODE: usize = 64;
/// A masked column with its table, and a kind of value.
const MASKED: usize = 136;
const FOUND: usize = 32;
const LINKS: usize = 16;
/// The most actions and tables of a grant.
const REACH: usize = 32;
const POLICIES: usize = 64;
/// The most columns of one effect, and how long one's name may be.
const COLUMNS: usize = 64;
const COLUMN: usize = 66;
const LABELS: usize = 16;
/// When what a request's statements do takes more than this, the rest is left out.
const STATEMENTS: usize = 24 * 1024;

impl Leaf {
    /// Appends the leaf's canonical form, without a line end, as the leaf number `seq` of this `boot`.
    pub fn write_canonical(&self, seq: u64, boot: BootId, out: &mut Vec<u8>) {
        let header = Header { boot, seq, time: self.time, kind: self.kind.leaf_type().as_str() };
        let mut object = Object::begin(out, Some(header));
        match &self.kind {
            LeafKind::Boot(leaf) => write_boot(leaf, &mut object),
            LeafKind::Recovery(leaf) => write_recovery(leaf, &mut object),
            LeafKind::Admin(leaf) => write_admin(leaf, &mut object),
            LeafKind::SessionOpen(leaf) => write_session_open(leaf, &mut object),
            LeafKind::SessionRefused(leaf) => write_session_refused(leaf, &mut object),
            LeafKind::Refusals(leaf) => write_refusals(leaf, &mut object),
            LeafKind::SessionClose(leaf) => write_session_close(leaf, &mut object),
            LeafKind::Request(leaf) => write_request(leaf, &mut object),
            LeafKind::Intent(leaf) => write_intent(leaf, &mut object),
            LeafKind::Outcome(leaf) => write_outcome(leaf, &mut object),
            LeafKind::TxEnd(leaf) => write_tx_end(leaf, &mut object),
            LeafKind::Approval(leaf) => write_approval(leaf, &mut object),
            LeafKind::Access(leaf) => write_access(leaf, &mut object),
            LeafKind::Gap(leaf) => write_gap(leaf, &mut object),
        }
        object.end();
    }
}

// In each of these, the keys stand in canonical order; the header's are put between them by `Object`.

fn write_boot(leaf: &BootLeaf, o: &mut Object<'_>) {
    o.text("config", &leaf.config, TEXT);
    o.text("policy", &leaf.policy, TEXT);
    o.flag("reload", leaf.reload);
    o.text("version", &leaf.version, TEXT);
}

fn write_recovery(leaf: &RecoveryLeaf, o: &mut Object<'_>) {
    o.number("log_bytes_cut", leaf.log_bytes_cut);
    o.optional_text("of_boot", leaf.of_boot.as_deref(), TEXT);
    o.number("operations_unknown", leaf.operations_unknown);
    o.number("recording_bytes_cut", leaf.recording_bytes_cut);
}

fn write_admin(leaf: &AdminLeaf, o: &mut Object<'_>) {
    o.text("action", &leaf.action, TEXT);
    o.text("target", &leaf.target, WHO);
    o.text("verdict", leaf.verdict.as_str(), TEXT);
    o.text("who", &leaf.who, WHO);
}

fn write_approval(leaf: &ApprovalLeaf, o: &mut Object<'_>) {
    o.text("approval", &leaf.approval.to_string(), TEXT);
    o.text("connection", &leaf.connection, TEXT);
    o.text("digest", &hex::encode(&leaf.digest), TEXT);
    o.text("event", leaf.event.as_str(), TEXT);
    o.list("groups", &leaf.groups, LINKS, TEXT);
    o.number("op", leaf.op.0);
    o.optional_text("reason", leaf.reason.as_deref(), WHO);
    o.session(leaf.session);
    o.optional_text("token", leaf.token.as_deref(), TEXT);
    o.text("who", &leaf.who, WHO);
}

fn write_access(leaf: &AccessLeaf, o: &mut Object<'_>) {
    o.list("actions", &leaf.actions, REACH, TEXT);
    if leaf.break_glass {
        o.flag("break_glass", true);
    }
    o.optional_text("client", leaf.client.as_deref(), TEXT);
    o.text("connection", &leaf.connection, TEXT);
    o.text("event", leaf.event.as_str(), TEXT);
    o.text("grant", &leaf.grant.to_string(), TEXT);
    o.list("groups", &leaf.groups, LINKS, TEXT);
    o.list("policies", &leaf.policies, POLICIES, TEXT);
    o.optional_text("reason", leaf.reason.as_deref(), WHO);
    o.number("seconds", leaf.seconds.into());
    o.list("tables", &leaf.tables, REACH, TEXT);
    o.optional_text("token", leaf.token.as_deref(), TEXT);
    o.optional_text("until", leaf.until.map(|until| until.to_string()).as_deref(), TEXT);
    o.text("who", &leaf.who, WHO);
}

fn write_session_open(leaf: &SessionOpenLeaf, o: &mut Object<'_>) {
    o.optional_text("application", leaf.application.as_deref(), TEXT);
    o.list("chain", &leaf.chain, LINKS, WHO);
    o.text("client", &leaf.client, TEXT);
    o.text("connection", &leaf.connection, TEXT);
    o.decision(&leaf.decision);
    o.text("mode", leaf.mode.as_str(), TEXT);
    o.text("proof", leaf.proof, TEXT);
    o.text("protocol", &leaf.protocol, TEXT);
    o.optional_text("recording_key", leaf.recording_key.as_deref(), TEXT);
    o.session(leaf.session);
    o.optional_text("sponsor", leaf.sponsor.as_deref(), WHO);
    o.optional_text("tls", leaf.tls.as_deref(), TEXT);
    o.optional_text("token", leaf.token.as_deref(), TEXT);
    if let Some(process) = leaf.upstream_process {
        o.integer("upstream_process", process);
    }
    o.optional_text("upstream_tls", leaf.upstream_tls.as_deref(), TEXT);
}

fn write_session_refused(leaf: &SessionRefusedLeaf, o: &mut Object<'_>) {
    o.list("chain", &leaf.chain, LINKS, WHO);
    o.text("client", &leaf.client, TEXT);
    o.optional_text("connection", leaf.connection.as_deref(), TEXT);
    if let Some(decision) = &leaf.decision {
        o.decision(decision);
    }
    o.text("reason", &leaf.reason, TEXT);
    o.session(leaf.session);
}

fn write_refusals(leaf: &RefusalsLeaf, o: &mut Object<'_>) {
    o.counts("addresses", &leaf.addresses, LINKS, TEXT);
    o.optional_text("connection", leaf.connection.as_deref(), TEXT);
    o.number("count", leaf.count);
    o.text("reason", &leaf.reason, TEXT);
    o.text("since", &leaf.since.to_string(), TEXT);
    o.text("until", &leaf.until.to_string(), TEXT);
    o.optional_text("who", leaf.who.as_deref(), WHO);
}

fn write_session_close(leaf: &SessionCloseLeaf, o: &mut Object<'_>) {
    o.number("bytes_in", leaf.bytes_in);
    o.number("bytes_out", leaf.bytes_out);
    o.optional_text("detail", leaf.detail.as_deref(), TEXT);
    o.number("duration_us", leaf.duration_us);
    o.number("operations", leaf.operations);
    o.text("reason", leaf.reason.as_str(), TEXT);
    o.session(leaf.session);
}

fn write_request(leaf: &RequestLeaf, o: &mut Object<'_>) {
    o.text("connection", &leaf.connection, TEXT);
    o.decision(&leaf.decision);
    o.text("form", leaf.form, TEXT);
    o.number("op", leaf.op.0);
    o.optional_text("purpose", leaf.purpose.as_deref(), TEXT);
    o.chunk(leaf.rec);
    o.session(leaf.session);
    if !leaf.decision.statements.is_empty() {
        o.statements(&leaf.decision.statements);
    }
    o.number("tx", leaf.tx.0);
    o.text("who", &leaf.who, WHO);
}

fn write_effect(effect: &EffectFacts, out: &mut Vec<u8>) {
    let mut o = Object::begin(out, None);
    if !effect.columns.is_empty() {
        o.list("columns", &effect.columns, COLUMNS, COLUMN);
    }
    o.text("kind", effect.kind, TEXT);
    if !effect.labels.is_empty() {
        o.list("labels", &effect.labels, LABELS, TEXT);
    }
    o.text("object", &effect.object, TEXT);
    o.optional_text("through", effect.through.as_deref(), TEXT);
    o.text("verb", effect.verb, TEXT);
    o.end();
}

fn write_intent(leaf: &IntentLeaf, o: &mut Object<'_>) {
    o.number("op", leaf.op.0);
    o.flag("replaced", leaf.replaced);
    o.session(leaf.session);
}

fn write_outcome(leaf: &OutcomeLeaf, o: &mut Object<'_>) {
    o.number("bytes", leaf.bytes);
    o.number("bytes_unrecorded", leaf.bytes_unrecorded);
    o.optional_text("code", leaf.code.as_deref(), CODE);
    o.number("duration_us", leaf.duration_us);
    if let Some(masked) = leaf.masked.as_ref().filter(|masked| !masked.observed) {
        o.masked("masked", masked);
    }
    o.number("op", leaf.op.0);
    o.chunk(leaf.rec);
    o.number("rows", leaf.rows);
    o.session(leaf.session);
    o.text("status", leaf.status.as_str(), TEXT);
    o.list("tags", &leaf.tags, OutcomeLeaf::MAX_TAGS, TAG);
    if let Some(facts) = &leaf.tokens {
        o.tokens("tokens", facts);
    }
    if let Some(masked) = leaf.masked.as_ref().filter(|masked| masked.observed) {
        o.masked("would_mask", masked);
    }
}

fn write_tx_end(leaf: &TxEndLeaf, o: &mut Object<'_>) {
    o.text("result", leaf.result.as_str(), TEXT);
    o.session(leaf.session);
    o.number("tx", leaf.tx.0);
}

fn write_gap(leaf: &GapLeaf, o: &mut Object<'_>) {
    o.number("chunk", leaf.chunk);
    o.number("chunks", leaf.chunks);
    o.session(leaf.session);
}

/// What every leaf begins with, so to speak: in canonical order it is spread among the other keys.
struct Header {
    boot: BootId,
    seq: u64,
    time: Timestamp,
    kind: &'static str,
}

const HEADER_KEYS: [&str; 5] = ["boot", "seq", "time", "type", "v"];

/// A JSON object being written, its keys given in canonical order.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    header: Option<Header>,
    header_keys_written: usize,
    last: &'static str,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>, header: Option<Header>) -> Self {
        out.push(b'{');
        let header_keys_written = if header.is_some() { 0 } else { HEADER_KEYS.len() };
        Self { out, header, header_keys_written, last: "" }
    }

    fn end(mut self) {
        self.header_keys_before(None);
        self.out.push(b'}');
    }

    fn key(&mut self, key: &'static str) {
        self.header_keys_before(Some(key));
        self.plain_key(key);
    }

    fn header_keys_before(&mut self, key: Option<&str>) {
        while let Some(next) = HEADER_KEYS.get(self.header_keys_written)
            && key.is_none_or(|key| *next < key)
        {
            self.header_keys_written += 1;
            self.plain_key(next);
            let Some(header) = &self.header else { return };
            match *next {
                "boot" => write_hex_text(&header.boot.to_bytes(), self.out),
                "seq" => write_number(header.seq, self.out),
                "time" => {
                    self.out.push(b'"');
                    self.out.extend_from_slice(&header.time.to_ascii());
                    self.out.push(b'"');
                }
                "type" => write_text(header.kind, TEXT, self.out),
                _ => write_number(VERSION, self.out),
            }
        }
    }

    fn plain_key(&mut self, key: &'static str) {
        debug_assert!(self.last < key, "`{key}` comes before `{}`", self.last);
        if !self.last.is_empty() {
            self.out.push(b',');
        }
        self.last = key;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, key: &'static str, text: &str, max: usize) {
        self.key(key);
        write_text(text, max, self.out);
    }

    fn optional_text(&mut self, key: &'static str, text: Option<&str>, max: usize) {
        if let Some(text) = text {
            self.text(key, text, max);
        }
    }

    fn number(&mut self, key: &'static str, number: u64) {
        self.key(key);
        write_number(number, self.out);
    }

    fn integer(&mut self, key: &'static str, number: i64) {
        self.key(key);
        if number < 0 {
            self.out.push(b'-');
        }
        write_number(number.unsigned_abs(), self.out);
    }

    fn flag(&mut self, key: &'static str, flag: bool) {
        self.key(key);
        self.out.extend_from_slice(if flag { b"true" } else { b"false" });
    }

    /// A list of at most `max_items` texts; of a longer one, the last tells how many are left out.
    fn list<T: AsRef<str>>(&mut self, key: &'static str, items: &[T], max_items: usize, max: usize) {
        self.key(key);
        self.out.push(b'[');
        for (i, item) in items.iter().take(max_items).enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            write_text(item.as_ref(), max, self.out);
        }
        if let Some(more @ 1..) = items.len().checked_sub(max_items) {
            _ = write!(self.out, ",\"… {more} more\"");
        }
        self.out.push(b']');
    }

    /// How many of each, as a list of `{"count":…,"of":…}`.
    fn counts<T: AsRef<str>>(&mut self, key: &'static str, counts: &[(T, u64)], max_items: usize, max: usize) {
        self.list_of(key, counts.iter().take(max_items), |o, (of, count)| {
            o.number("count", *count);
            o.text("of", of.as_ref(), max);
        });
    }

    fn list_of<T>(&mut self, key: &'static str, items: impl Iterator<Item = T>, write: impl Fn(&mut Object<'_>, T)) {
        self.key(key);
        self.out.push(b'[');
        for (i, item) in items.enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            let mut o = Object::begin(self.out, None);
            write(&mut o, item);
            o.end();
        }
        self.out.push(b']');
    }

    fn masked(&mut self, key: &'static str, masked: &Masked) {
        self.key(key);
        let mut o = Object::begin(self.out, None);
        o.list_of("columns", masked.columns.iter().take(OutcomeLeaf::MAX_COLUMNS), |o, column| {
            o.text("column", &column.column, MASKED);
            o.text("method", column.method, FOUND);
            o.number("values", column.values);
        });
        o.counts("found", &masked.found, OutcomeLeaf::MAX_FOUND, FOUND);
        o.number("made", masked.made);
        o.number("withheld", masked.withheld);
        o.end();
    }

    fn tokens(&mut self, key: &'static str, facts: &TokenFacts) {
        self.key(key);
        let mut o = Object::begin(self.out, None);
        o.number("cost_micros", facts.cost_micros);
        if let Some(first) = facts.first_us {
            o.number("first_us", first);
        }
        o.number("input", facts.tokens.input);
        o.number("output", facts.tokens.output);
        o.flag("said", facts.tokens.said);
        o.end();
    }

    fn session(&mut self, session: SessionId) {
        self.key("session");
        write_hex_text(&session.to_bytes(), self.out);
    }

    fn decision(&mut self, facts: &DecisionFacts) {
        self.key("decision");
        let mut o = Object::begin(self.out, None);
        if !facts.approvals.is_empty() {
            o.list("approvals", &facts.approvals, LINKS, TEXT);
        }
        if !facts.grants.is_empty() {
            o.list("grants", &facts.grants, LINKS, TEXT);
        }
        o.list("policies", &facts.policies, POLICIES, TEXT);
        o.text("policy_hash", &facts.policy_hash, TEXT);
        o.optional_text("reason", facts.reason.as_deref(), TEXT);
        if let Some(risk) = facts.risk {
            o.number("risk", risk.into());
        }
        o.text("verdict", facts.verdict.as_str(), TEXT);
        o.optional_text("would", facts.would.map(super::leaf::Verdict::as_str), TEXT);
        o.end();
    }

    /// What statements do. Of what is too much, the last object tells how many effects, or statements, are left out: `{"more":…}`.
    fn statements(&mut self, statements: &[StatementFacts]) {
        self.key("statements");
        let room = self.out.len() + STATEMENTS;
        self.objects(statements, room, |statement, out| {
            let mut o = Object::begin(out, None);
            o.text("class", statement.class, TEXT);
            o.key("effects");
            o.objects(&statement.effects, room, write_effect);
            if !statement.hazards.is_empty() {
                o.list("hazards", &statement.hazards, LINKS, TEXT);
            }
            o.end();
        });
    }

    /// A list of objects, as many as fit until the whole is so long.
    fn objects<T>(&mut self, items: &[T], room: usize, write: impl Fn(&T, &mut Vec<u8>)) {
        self.out.push(b'[');
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            if self.out.len() > room {
                let mut o = Object::begin(self.out, None);
                o.number("more", (items.len() - i) as u64);
                o.end();
                break;
            }
            write(item, self.out);
        }
        self.out.push(b']');
    }

    fn chunk(&mut self, chunk: Option<ChunkRef>) {
        let Some(chunk) = chunk else { return };
        self.key("rec");
        let mut o = Object::begin(self.out, None);
        o.number("chunk", chunk.chunk);
        o.key("digest");
        write_hex_text(&chunk.digest, o.out);
        o.end();
    }
}

fn write_hex_text(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    hex::write(bytes, out);
    out.push(b'"');
}

/// An integer; one that a JSON number cannot hold is written as the greatest that it can.
pub(crate) fn write_number(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut rest = number.min(MAX_INTEGER);
    let mut first = digits.len();
    for digit in digits.iter_mut().rev() {
        // A remainder of ten fits a byte.
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        first -= 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// A text of which at most `max` bytes are written between the quotation marks.
pub(crate) fn write_text(text: &str, max: usize, out: &mut Vec<u8>) {
    out.push(b'"');
    if text.len() <= max && !text.bytes().any(must_escape) {
        out.extend_from_slice(text.as_bytes());
    } else {
        write_escaped(text, max, out);
    }
    out.push(b'"');
}

fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// RFC 8785 §3.2.2.2: the short escapes where there is one, `\u00xx` in lower case for other controls, all else as it is.
fn write_escaped(text: &str, max: usize, out: &mut Vec<u8>) {
    const ELLIPSIS: &str = "…";
    let start = out.len();
    // Where to cut if the text turns out too long: the last character's end that leaves room for the ellipsis.
    let mut cut = start;
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\r' => out.extend_from_slice(b"\\r"),
            c if c < ' ' => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        let written = out.len() - start;
        if written > max {
            out.truncate(cut);
            out.extend_from_slice(ELLIPSIS.as_bytes());
            return;
        }
        if written + ELLIPSIS.len() <= max {
            cut = out.len();
        }
    }
}

#[cfg(test)]
#[path = "canonical_tests.rs"]
mod tests;
