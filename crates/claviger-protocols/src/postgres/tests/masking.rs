//! What a plan masks, and what it lets pass.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use claviger_model::{Cell, Column, MaskPlan, Masked, MaskedColumn, StatementMask, Table, TableKind};

use super::rig::Step::{self, C, S};
use super::rig::*;
use crate::{Look, Masker, Side, Slot};

/// Values of columns become `#` and what they were like, those that are made `made`; in texts, `secret` is found. Columns of table 7 are
/// classified.
pub(super) struct Hash {
    plan: Arc<MaskPlan>,
    slots: Vec<Option<String>>,
    observes: bool,
    masked: Masked,
    sent: Vec<u8>,
}

impl Hash {
    pub(super) fn of(plan: MaskPlan) -> Option<Box<dyn Masker>> {
        let (plan, slots, masked, sent) = (Arc::new(plan), Vec::new(), Masked::default(), Vec::new());
        Some(Box::new(Self { plan, slots, observes: false, masked, sent }))
    }
}

impl Masker for Hash {
    fn plan(&self) -> &Arc<MaskPlan> {
        &self.plan
    }

    fn searches(&self) -> bool {
        self.plan.detect
    }

    fn observes(&self) -> bool {
        self.observes
    }

    fn is_classified(&self, table: u32, _: i16) -> bool {
        table == 7
    }

    fn begin(&mut self) {
        self.slots.clear();
    }

    fn column(&mut self, cell: &Cell, look: &Look) -> Option<Slot> {
        let becomes = match cell {
            Cell::Plain if self.plan.detect => None,
            Cell::Plain => return None,
            Cell::Column(_) | Cell::Grouped(_) => Some(format!("#{}{}", look.kind, if look.binary { "b" } else { "" })),
            Cell::Made => Some("made".to_owned()),
        };
        self.slots.push(becomes);
        Some(Slot(self.slots.len() - 1))
    }

    fn value(&mut self, slot: Slot, value: Option<&[u8]>, out: &mut BytesMut) -> bool {
        match (&self.slots[slot.0], value) {
            (Some(made), _) if made == "made" => {
                self.masked.made += 1;
                out.put_slice(made.as_bytes());
            }
            (_, None) => return false,
            (Some(hash), Some(_)) => {
                match self.masked.columns.first_mut() {
                    Some(column) => column.values += 1,
                    None => {
                        self.masked.columns.push(MaskedColumn { column: "t.c".into(), method: "hash", values: 1 });
                    }
                }
                out.put_slice(hash.as_bytes());
            }
            (None, Some(value)) => match self.text(value) {
                Some(found) => out.put_slice(&found),
                None => out.put_slice(value),
            },
        }
        true
    }

    fn text(&mut self, text: &[u8]) -> Option<Bytes> {
        let text = std::str::from_utf8(text).unwrap();
        (self.plan.detect && text.contains("secret")).then(|| text.replace("secret", "[found]").into())
    }

    fn stops(&mut self, sent: &[u8]) -> bool {
        self.sent.extend_from_slice(sent);
        self.sent.windows(8).any(|part| part == b"[masked]")
    }

    fn withheld(&mut self) {
        self.masked.withheld += 1;
    }

    fn masked(&mut self) -> Masked {
        std::mem::take(&mut self.masked)
    }
}

/// The column of this number of table 7.
pub(super) fn column(number: i16) -> Cell {
    let (schema, name) = ("public".into(), "t".into());
    let labels: claviger_model::Labels = ["pii".into()].into();
    let (kind, holds) = (TableKind::Table, Arc::clone(&labels));
    let table = Table { schema, name, id: 7, kind, system: false, labels: Arc::clone(&labels), holds };
    Cell::Column(Arc::new(Column { table: Arc::new(table), name: "c".into(), number, kind: 25, labels }))
}

pub(super) fn statement(cells: &[Cell]) -> StatementMask {
    let foreseen = BTreeSet::from([(7, 2)]);
    StatementMask { cells: cells.to_vec(), foreseen, ..StatementMask::default() }
}

pub(super) fn plan(statements: &[StatementMask]) -> MaskPlan {
    MaskPlan { statements: statements.to_vec(), detect: false, witness: false }
}

/// A RowDescription: of each field the table, the column, the type, and whether it is binary.
fn fields(fields: &[(u32, i16, u32, u8)]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u16(fields.len() as u16);
    for (table, column, kind, binary) in fields {
        body.put_slice(b"name\0");
        body.put_u32(*table);
        body.put_i16(*column);
        body.put_u32(*kind);
        body.put_i16(-1);
        body.put_i32(-1);
        body.put_u16(u16::from(*binary));
    }
    frame(b'T', &[&body])
}

fn cells(values: &[Option<&str>]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u16(values.len() as u16);
    for value in values {
        match value {
            None => body.put_i32(-1),
            Some(value) => {
                body.put_u32(value.len() as u32);
                body.put_slice(value.as_bytes());
            }
        }
    }
    frame(b'D', &[&body])
}

fn describe(kind: u8, name: &str) -> Bytes {
    frame(b'D', &[&[kind], name.as_bytes(), b"\0"])
}

/// The second of three columns is a classified one, the third is made of it.
fn two_of_three(_: u64) -> Option<Box<dyn Masker>> {
    Hash::of(plan(&[statement(&[Cell::Plain, column(2), Cell::Made])]))
}

const THREE: &[(u32, i16, u32, u8)] = &[(7, 1, 23, 0), (7, 2, 25, 0), (0, 0, 25, 1)];

/// As above, but what the first column comes from is not classified.
const ORIGINS: &[(u32, i16, u32, u8)] = &[(6, 1, 23, 0), (7, 2, 25, 0), (0, 0, 25, 1)];

fn check_one(mask: Masks, steps: &[Step], up: &[Bytes], down: &[Bytes]) {
    for chunk in [usize::MAX, 1, 2, 3, 7, 100] {
        let mut rig = Rig::serving(chunk);
        rig.mask = Some(mask);
        for step in steps {
            match step {
                C(bytes) => rig.client(bytes),
                S(bytes) => rig.server(bytes),
            }
        }
        assert_eq!(rig.sent("-> "), hex(up), "to the upstream, cut at {chunk}");
        assert_eq!(rig.sent("<- "), hex(down), "to the client, cut at {chunk}");
    }
}

#[test]
fn values_are_masked_by_their_place() {
    let described = fields(ORIGINS);
    let end = cat(&[tag("SELECT 3"), ready(b'I')]);
    let came = [[Some("1"), Some("secret"), Some("s")], [None, None, None], [Some(""), Some(""), Some("longer than before")]];
    let left = [[Some("1"), Some("#25"), Some("made")], [None, None, Some("made")], [Some(""), Some("#25"), Some("made")]];
    let rows = |rows: &[[Option<&str>; 3]]| cat(&rows.iter().map(|row| cells(row)).collect::<Vec<_>>());
    check_one(
        two_of_three,
        &[C(query("a")), S(cat(&[described.clone(), rows(&came), end.clone()]))],
        &[query("a")],
        &[described, rows(&left), end],
    );
}

#[test]
fn what_was_masked_is_told_with_the_outcome() {
    let mut rig = Rig::serving(usize::MAX);
    rig.mask = Some(two_of_three);
    rig.client(&query("a"));
    rig.server(&cat(&[fields(ORIGINS), cells(&[Some("1"), Some("x"), None]), tag("SELECT 1"), ready(b'I')]));
    let masked = rig.masked.pop().flatten().unwrap();
    assert_eq!((masked.made, masked.columns[0].values, masked.withheld), (1, 1, 0));
}

#[test]
fn each_statement_of_a_batch_has_its_own() {
    let both = |_| Hash::of(plan(&[statement(&[Cell::Plain]), statement(&[column(2)])]));
    let (first, second) = (fields(&[(6, 1, 25, 0)]), fields(&[(7, 2, 25, 0)]));
    let end = cat(&[tag("SELECT 1"), ready(b'I')]);
    check_one(
        both,
        &[
            C(query("a; b")),
            S(cat(&[first.clone(), row(b"x"), tag("SELECT 1"), second.clone(), row(b"x"), tag("SELECT 1"), ready(b'I')])),
        ],
        &[query("a; b")],
        &[first, row(b"x"), tag("SELECT 1"), second, row(b"#25"), end],
    );
}

#[test]
fn a_portal_of_which_the_client_does_not_ask_is_described_to_us() {
    let mask = |op| if op == 2 { Hash::of(plan(&[statement(&[column(2)])])) } else { None };
    let asked = cat(&[parse("", "a"), bind("", ""), execute(""), bare(b'S')]);
    let left = cat(&[parse("", "a"), bind("", ""), describe(b'P', ""), execute(""), bare(b'S')]);
    let end = cat(&[tag("SELECT 2"), ready(b'I')]);
    check_one(
        mask,
        &[C(asked), S(cat(&[bare(b'1'), bare(b'2'), fields(&[(7, 2, 20, 1)]), row(b"12345678"), row(b"x"), end.clone()]))],
        &[left],
        &[bare(b'1'), bare(b'2'), row(b"#20b"), row(b"#20b"), end],
    );
}

#[test]
fn where_rows_come_from_is_asked_though_nothing_of_them_is_masked() {
    let mask = |op| if op == 2 { Hash::of(MaskPlan { witness: true, ..plan(&[StatementMask::default()]) }) } else { None };
    let asked = cat(&[parse("", "a"), bind("", ""), execute(""), bare(b'S')]);
    let left = cat(&[parse("", "a"), bind("", ""), describe(b'P', ""), execute(""), bare(b'S')]);
    let came = |table| cat(&[bare(b'1'), bare(b'2'), fields(&[(table, 2, 25, 0)]), row(b"secret"), tag("SELECT 1"), ready(b'I')]);
    let heard = cat(&[bare(b'1'), bare(b'2'), row(b"secret"), tag("SELECT 1"), ready(b'I')]);
    check_one(mask, &[C(asked.clone()), S(came(6))], &[left], &[heard]);
    // A classified column, of which nothing was understood.
    let mut rig = Rig::serving(usize::MAX);
    rig.mask = Some(mask);
    rig.client(&asked);
    rig.server(&came(7));
    assert!(!rig.sent("<- ").contains(&hex(&[Bytes::from_static(b"secret")])));
    assert!(rig.told().last().unwrap().contains("ByGateway"));
}

#[test]
fn a_portal_that_the_client_describes_is_described_once() {
    let mask = |op| if op == 2 { Hash::of(plan(&[statement(&[column(2)])])) } else { None };
    let asked = cat(&[parse("", "a"), bind("p", ""), describe(b'P', "p"), execute("p"), execute("p"), bare(b'S')]);
    let described = fields(&[(7, 2, 25, 0)]);
    let answer = |value: &[u8]| {
        cat(&[bare(b'1'), bare(b'2'), described.clone(), row(value), bare(b's'), row(value), tag("SELECT 2"), ready(b'I')])
    };
    check_one(mask, &[C(asked.clone()), S(answer(b"secret"))], &[asked], &[answer(b"#25")]);
}

#[test]
fn a_portal_that_gives_nothing_runs() {
    let mask = |op| if op == 2 { Hash::of(plan(&[statement(&[column(2)])])) } else { None };
    let end = cat(&[tag("SELECT 0"), ready(b'I')]);
    check_one(
        mask,
        &[
            C(cat(&[parse("", "a"), bind("", ""), execute(""), bare(b'S')])),
            S(cat(&[bare(b'1'), bare(b'2'), bare(b'n'), end.clone()])),
        ],
        &[cat(&[parse("", "a"), bind("", ""), describe(b'P', ""), execute(""), bare(b'S')])],
        &[bare(b'1'), bare(b'2'), end],
    );
}

#[test]
fn an_error_of_our_own_question_is_that_of_the_operation() {
    let mask = |op| if op == 2 { Hash::of(plan(&[statement(&[column(2)])])) } else { None };
    let failed = failure("ERROR", "0A000");
    check_one(
        mask,
        &[
            C(cat(&[parse("", "a"), bind("", ""), execute(""), bare(b'S')])),
            S(cat(&[bare(b'1'), bare(b'2'), failed.clone(), ready(b'I')])),
        ],
        &[cat(&[parse("", "a"), bind("", ""), describe(b'P', ""), execute(""), bare(b'S')])],
        &[bare(b'1'), bare(b'2'), failed, ready(b'I')],
    );
}

/// The session ends, and of the rows nothing has left.
fn nothing_leaves(mask: Masks, answer: &Bytes) {
    for chunk in [usize::MAX, 1, 5] {
        let mut rig = Rig::serving(chunk);
        rig.mask = Some(mask);
        rig.client(&query("a"));
        rig.server(answer);
        let sent = rig.sent("<- ");
        assert!(!sent.contains(&hex(&[Bytes::from_static(b"secret")])), "cut at {chunk}");
        assert!(sent.contains(&hex(&[Bytes::from_static(b"FATAL")])), "cut at {chunk}");
        assert!(rig.told().last().unwrap().contains("ByGateway"));
    }
}

#[test]
fn what_was_not_foreseen_ends_the_session() {
    let answer = |described: &[(u32, i16, u32, u8)]| {
        cat(&[fields(described), cells(&vec![Some("secret"); described.len()]), tag("SELECT 1"), ready(b'I')])
    };
    // A classified column that was not foreseen; one that is masked, where the plan has nothing to mask; another number of columns.
    nothing_leaves(two_of_three, &answer(THREE));
    nothing_leaves(two_of_three, &answer(&[(7, 2, 25, 0), (7, 2, 25, 0), (0, 0, 25, 0)]));
    nothing_leaves(two_of_three, &answer(&[(6, 1, 25, 0), (7, 2, 25, 0)]));
    nothing_leaves(|_| Hash::of(plan(&[statement(&[Cell::Plain])])), &answer(&[(7, 3, 25, 0)]));
    // A whole row of the table.
    nothing_leaves(|_| Hash::of(plan(&[statement(&[column(2), Cell::Plain])])), &answer(&[(7, 2, 25, 0), (7, 0, 90, 0)]));
    // A second result where there is one statement.
    let more = cat(&[fields(&[(6, 1, 25, 0)]), tag("SELECT 0"), answer(&[(6, 1, 25, 0)])]);
    nothing_leaves(|_| Hash::of(plan(&[statement(&[Cell::Made])])), &more);
    // Rows of which nothing was said.
    nothing_leaves(two_of_three, &cat(&[cells(&[Some("secret"); 3]), tag("SELECT 1"), ready(b'I')]));
}

#[test]
fn rows_that_lie_about_themselves_end_the_session() {
    let described = fields(ORIGINS);
    for body in [
        &b"\0\x02\0\0\0\x06secret\0\0\0\x06secret"[..],
        b"\0\x03\0\0\0\x06secret\0\0\0\xffsecret",
        b"\0\x03\xff\xff\xff\xfesecret",
    ] {
        nothing_leaves(two_of_three, &cat(&[described.clone(), frame(b'D', &[body]), tag("SELECT 1"), ready(b'I')]));
    }
    let long = frame(b'D', &[&[0, 3], &[0, 0, 0x20, 0], &[b'x'; 0x2000], b"\0\0\0\x06secret\xff\xff\xff\xff"]);
    nothing_leaves(two_of_three, &cat(&[described, long]));
}

#[test]
fn more_rows_of_one_statement_are_all_made() {
    // Two results and one completion, as a rule makes them.
    let mask = |_| Hash::of(plan(&[statement(&[column(2)])]));
    let described = fields(&[(7, 2, 25, 0)]);
    let other = fields(&[(6, 1, 25, 0), (6, 2, 25, 0)]);
    let came = cat(&[described.clone(), row(b"x"), other.clone(), cells(&[Some("a"), None]), tag("SELECT 1"), ready(b'I')]);
    let left = cat(&[described, row(b"#25"), other, cells(&[Some("made"), Some("made")]), tag("SELECT 1"), ready(b'I')]);
    check_one(mask, &[C(query("a")), S(came)], &[query("a")], &[left]);
}

#[test]
fn an_error_that_could_tell_keeps_its_code_alone() {
    let mask = |_| Hash::of(plan(&[StatementMask { telling: true, ..StatementMask::default() }]));
    let mut rig = Rig::serving(3);
    rig.mask = Some(mask);
    rig.client(&query("a"));
    let detail = frame(b'E', &[b"SERROR\0VERROR\0C23502\0Msecret\0Dsecret\0Hsecret\0Wsecret\0nsecret\0P12\0\0"]);
    let notice = frame(b'N', &[b"SNOTICE\0VNOTICE\0C00000\0Msecret\0\0"]);
    rig.server(&cat(&[notice, detail, ready(b'I')]));
    let sent = rig.sent("<- ");
    assert!(!sent.contains(&hex(&[Bytes::from_static(b"secret")])));
    assert!(sent.contains(&hex(&[Bytes::from_static(b"SERROR\0VERROR\0C23502\0Ma column must not be null")])));
    assert!(sent.contains(&hex(&[Bytes::from_static(b"SNOTICE\0VNOTICE\0C00000\0M")])));
    assert_eq!(rig.masked.pop().flatten().unwrap().withheld, 2);
}

#[test]
fn what_a_commit_tells_of_earlier_statements_is_withheld() {
    let mask = |op| Hash::of(plan(&[StatementMask { telling: op == 2, ..StatementMask::default() }]));
    let mut rig = Rig::serving(usize::MAX);
    rig.mask = Some(mask);
    for (text, answer) in [
        ("begin", cat(&[tag("BEGIN"), ready(b'T')])),
        ("insert", cat(&[tag("INSERT 0 1"), ready(b'T')])),
        ("commit", cat(&[failure("ERROR", "23505"), ready(b'I')])),
    ] {
        rig.client(&query(text));
        rig.server(&answer);
    }
    assert!(!rig.sent("<- ").contains(&hex(&[Bytes::from_static(b"secret")])));
    // In the next transaction nothing of it is left.
    rig.client(&query("commit"));
    rig.server(&cat(&[failure("ERROR", "23505"), ready(b'I')]));
    assert!(rig.sent("<- ").contains(&hex(&[Bytes::from_static(b"secret")])));
}

#[test]
fn texts_are_searched_where_that_is_wanted() {
    let mask = |_| Hash::of(MaskPlan { statements: vec![StatementMask::default()], detect: true, witness: false });
    let described = fields(&[(6, 1, 25, 0)]);
    check_one(
        mask,
        &[C(query("a")), S(cat(&[described.clone(), row(b"a secret"), row(b"none"), failure("ERROR", "22012"), ready(b'I')]))],
        &[query("a")],
        &[described, row(b"a [found]"), row(b"none"), frame(b'E', &[b"SERROR\0VERROR\0C22012\0M[found]\0\0"]), ready(b'I')],
    );
}

#[test]
fn what_belongs_to_no_operation_is_searched_too() {
    let mut rig = Rig::serving(usize::MAX);
    crate::Protocol::resume(&mut rig.postgres, crate::Reply::Mask(Hash::of(MaskPlan { detect: true, ..MaskPlan::default() })));
    rig.feed(
        Side::Upstream,
        &cat(&[frame(b'A', &[b"\0\0\0\x07channel\0a secret\0"]), frame(b'S', &[b"application_name\0secret\0"])]),
    );
    let expected = [frame(b'A', &[b"\0\0\0\x07channel\0a [found]\0"]), frame(b'S', &[b"application_name\0[found]\0"])];
    assert_eq!(rig.sent("<- "), hex(&expected));
}

#[test]
fn observing_passes_everything_and_counts_it() {
    let observing = |_| {
        let plan = Arc::new(plan(&[StatementMask { telling: true, ..statement(&[Cell::Plain, column(2), Cell::Made]) }]));
        let masker = Hash { plan, slots: Vec::new(), observes: true, masked: Masked::default(), sent: Vec::new() };
        Some(Box::new(masker) as Box<dyn Masker>)
    };
    let answer =
        cat(&[fields(ORIGINS), cells(&[Some("1"), Some("x"), None]), tag("SELECT 1"), failure("ERROR", "22012"), ready(b'I')]);
    check_one(observing, &[C(query("a")), S(answer.clone())], &[query("a")], std::slice::from_ref(&answer));
    // What was not foreseen passes as well.
    let odd = cat(&[fields(THREE), cells(&[Some("1"), Some("x"), None]), tag("SELECT 1"), ready(b'I')]);
    check_one(observing, &[C(query("a")), S(odd.clone())], &[query("a")], &[odd]);
}
