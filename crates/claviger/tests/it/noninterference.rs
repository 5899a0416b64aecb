//! What reaches a client does not depend on masked values: twin databases that differ in nothing else give the same bytes.
//!
//! The twins have the same NULLs, the same equalities and the same lengths in their masked columns. Statements are made at random, from
//! a seed that a failure names; `CLAVIGER_SEED` and `CLAVIGER_STATEMENTS` choose another seed and how many.

use std::fmt::Write as _;
use std::time::Duration;

use crate::harness::{Conn, Gateway, Major, Message, Raw, error_field, frame};

on_each_server!(twins_are_not_told_apart);

const STATEMENTS: usize = 5_000;
const SEED: u64 = 20_261_126;

/// What both have in common.
const TEMPLATE: &str = "
    create table customers (id int primary key, name text not null, ssn text, account_number text, born date, score int, balance numeric
        check (balance >= 0), branch text);
    create table accounts (id int primary key, customer_id int references customers, account_number text, kind text, amount numeric);
    create table branches (code text primary key, name text);
    create table notes (id serial primary key, body text);
    create view people as select id, name, ssn as number, born from customers where balance > 50;
    create materialized view kept as select id, ssn as label, branch from customers;
    create function ssn_of(int) returns text language sql stable as $$ select ssn from customers where id = $1 $$;
    create function plain_of(int) returns text language sql stable as $$ select name from customers where id = $1 $$;
    grant all on all tables in schema public to keeper; grant all on all sequences in schema public to keeper;
    alter view people owner to keeper";

/// `$K` is all that makes the twins differ.
const TWIN: &str = "
    insert into customers select i, 'Customer ' || i,
        case when i % 11 = 0 then null else format('%s-%s-%s', 100 + (i / 2 * 37 + 13 * $K) % 800, 10 + (i / 2 * 11 + 7 * $K) % 89,
            1000 + (i / 2 * 719 + 31 * $K) % 8999) end,
        (4000000000000000 + (i * 7919 + 101 * $K) % 900000)::text, date '1950-01-01' + (i * 97 + 1000 * $K) % 15000,
        case when i % 13 = 0 then null else 100 + (i * 17 + 101 * $K) % 900 end, i * 10, (array['NY', 'SF', 'LA'])[1 + i % 3]
        from generate_series(1, 60) i;
    insert into accounts select id, id, account_number, (array['checking', 'savings'])[1 + id % 2], id * 3 from customers;
    insert into branches values ('NY', 'New York'), ('SF', 'San Francisco'), ('LA', 'Los Angeles');
    insert into notes (body) select 'note ' || i from generate_series(1, 10) i;
    refresh materialized view kept; analyze";

const CLASSES: &str = "classify = { \"public.customers.ssn\" = [\"pii.ssn\"], \"public.customers.account_number\" = [\"pci.account\"], \
    \"public.accounts.account_number\" = [\"pci.account\"], \"public.customers.born\" = [\"pii.birth\"], \
    \"public.customers.score\" = [\"score\"] }";

const POLICIES: &str = r#"@id("all") permit (principal, action == Action::"connect", resource);"#;

async fn twins_are_not_told_apart(major: Major) {
    let server = server!(major, &["autovacuum=off", "synchronize_seqscans=off"]);
    let admin = server.admin("postgres").await;
    admin.batch_execute("create database template").await.unwrap();
    server.admin("template").await.batch_execute(TEMPLATE).await.unwrap();
    for (name, key) in [("one", "1"), ("two", "2")] {
        // So that the tables have the same numbers.
        while admin.batch_execute(&format!("create database {name} template template")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server.admin(name).await.batch_execute(&TWIN.replace("$K", key)).await.unwrap();
    }
    let conn = |name: &str| Conn::to(name, &server).database(name).set(CLASSES);
    let mut gateway = Gateway::configure(&[conn("one"), conn("two")], POLICIES, "");
    gateway.add(&["user", "alice"]);
    gateway.start();
    let token = gateway.token(&["alice"]);
    let enter = |name: &str| {
        let mut raw = gateway.raw(name);
        raw.login("alice", name, &token).unwrap();
        raw
    };
    let mut sides = [enter("one"), enter("two")];

    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |value| value.parse().unwrap());
    let seed = number("CLAVIGER_SEED", SEED);
    let statements = usize::try_from(number("CLAVIGER_STATEMENTS", STATEMENTS as u64)).unwrap();
    let mut random = Random(seed);
    let (mut admitted, mut told) = (0, Vec::new());
    for n in 0..statements {
        let text = statement(&mut random);
        let binary = n % 3 == 2;
        let [one, two] = sides.each_mut().map(|raw| answers(raw, &text, binary));
        assert!(one.last().is_some_and(|last| last.starts_with('Z')), "seed {seed}: the session ended at {text}: {one:?}");
        admitted += usize::from(!one.iter().any(|answer| answer.starts_with("refused")));
        if one != two {
            told.push(format!("{text}\n  {one:?}\n  {two:?}"));
        }
    }
    assert!(told.is_empty(), "seed {seed}: {} statements tell the twins apart:\n{}", told.len(), told.join("\n"));
    assert!(admitted * 2 > statements, "only {admitted} of {statements} were admitted");
}

/// What came, each message as text; of a refusal of the gateway's own only that it is one, as it has a number of its own.
fn answers(raw: &mut Raw, text: &str, binary: bool) -> Vec<String> {
    let mut messages = Vec::new();
    for part in text.split(";;") {
        if binary {
            raw.send(&extended(part));
            messages.extend(raw.until_ready());
        } else {
            messages.extend(raw.query(part));
        }
    }
    messages.iter().map(said).collect()
}

fn said(message: &Message) -> String {
    let (kind, body) = message;
    if *kind == b'E' && error_field(message, b'D').contains("reference ") {
        return format!("refused with {}", error_field(message, b'C'));
    }
    format!("{} {}", char::from(*kind), body.escape_ascii())
}

fn extended(text: &str) -> Vec<u8> {
    let mut bytes = frame(b'P', &[b"\0", text.as_bytes(), b"\0\0\0"].concat());
    // No parameters; every result in binary.
    bytes.extend(frame(b'B', b"\0\0\0\0\0\0\0\x01\0\x01"));
    bytes.extend(frame(b'E', b"\0\0\0\0\0"));
    bytes.extend(frame(b'S', b""));
    bytes
}

/// Numbers that are the same for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % most as u64).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Columns of `c`, half of them masked.
const COLUMNS: &[&str] =
    &["c.id", "c.name", "c.ssn", "c.account_number", "c.born", "c.score", "c.balance", "c.branch", "c.ssn", "c.score"];
const TEXTS: &[&str] = &["c.name", "c.ssn", "c.account_number", "c.branch", "c.ssn"];

fn statement(random: &mut Random) -> String {
    let query = query(random);
    match random.below(16) {
        0 => format!("begin;;declare k cursor for {query};;fetch 3 from k;;fetch all from k;;rollback"),
        1 => format!("prepare p as {query};;execute p;;deallocate p"),
        2 => format!("copy ({query}) to stdout"),
        3 => format!("copy ({query}) to stdout (format csv, header)"),
        4 => format!("copy ({query}) to stdout (format binary)"),
        5 => format!("explain (costs off) {query}"),
        6 => {
            let returning = value(random, 1);
            format!(
                "begin;;update customers c set balance = balance + 1 where {} returning {returning};;rollback",
                condition(random, 1)
            )
        }
        7 => {
            let given = value(random, 2);
            format!(
                "begin;;insert into notes (body) select ({given})::text from customers c where c.id < 4 returning body;;rollback"
            )
        }
        8 => format!("with q as materialized ({query}) select * from q"),
        9 => format!("select * from ({query}) q"),
        10 => format!("begin;;update customers c set balance = -1 where c.id = {};;rollback", 1 + random.below(60)),
        _ => query,
    }
}

fn query(random: &mut Random) -> String {
    let list = |random: &mut Random| {
        let mut list = String::new();
        for n in 0..=random.below(3) {
            let comma = if n > 0 { ", " } else { "" };
            write!(list, "{comma}{} as v{n}", value(random, 2)).unwrap();
        }
        list
    };
    let (list_here, place) = (list(random), condition(random, 2));
    match random.below(20) {
        14..20 => in_some_order(random, &place),
        0 => format!("select c.* from customers c where {place} order by c.id"),
        1 => format!(
            "select {list_here} from customers c join accounts a on a.account_number = c.account_number where {place} order by c.id"
        ),
        2 => format!(
            "select {list_here}, a.kind from customers c left join accounts a on a.customer_id = c.id where {place} order by c.id"
        ),
        3 => format!("select c.branch, {} from customers c where {place} group by c.branch order by c.branch", aggregate(random)),
        4 => format!("select {} from customers c where {place}", aggregate(random)),
        5 => format!(
            "select {list_here} from customers c, lateral (select b.name from branches b where b.code = c.branch) l order by c.id"
        ),
        6 => format!("select p.number, p.id, p.born from people p where p.id < {} order by p.id", random.below(60)),
        7 => format!("select k.label, k.branch from kept k where k.id = {}", random.below(60)),
        8 => format!("select ssn_of({0}), plain_of({0})", random.below(60)),
        9 => {
            let (one, other) = (random.one(TEXTS), random.one(TEXTS));
            let operation = random.one(&["union all", "union all", "union", "except", "intersect"]);
            format!("select {one} from customers c where c.id < 9 {operation} select {other} from customers c where c.id > 55")
        }
        10 => {
            let (what, by) = (random.one(COLUMNS), random.one(&["c.id", "c.balance", "c.ssn", "c.branch, c.id"]));
            format!("select c.id, lag({what}) over (order by {by}) from customers c where {place} order by c.id")
        }
        11 => format!(
            "with recursive r(n, v) as (select 1, {}::text from customers c where c.id = 1 union all select n + 1, v from r where n < 3) select * from r",
            random.one(COLUMNS)
        ),
        12 => format!(
            "select c.id, {list_here} from customers c where c.account_number in (select account_number from accounts where amount > 50) order by c.id"
        ),
        _ => format!(
            "select {list_here} from customers c where {place} order by {}",
            random.one(&["c.id", "c.id desc", "1", "c.ssn, c.id"])
        ),
    }
}

/// Groups, and other queries of which a server finds the rows in an order that hangs on values.
fn in_some_order(random: &mut Random, place: &str) -> String {
    let by = random.one(&["c.ssn", "c.account_number", "c.score", "c.born", "c.ssn, c.branch", "c.score, c.id", "c.id, c.ssn"]);
    let (shown, end) =
        (aggregate(random), random.one(&["", "", " order by 2", " limit 5", " order by 2 desc limit 3", " offset 2"]));
    let plain = random.one(&[
        "count(*)",
        "sum(c.balance)",
        "min(c.id)",
        "max(c.name)",
        "count(*), max(c.id)",
        "min(c.id), min(c.branch)",
    ]);
    let named = random.one(&["count(*) as n", "min(c.id) as n", "sum(c.balance) as n"]);
    let inner = format!("select {by}, {named} from customers c where {place} group by {by}");
    match random.below(20) {
        18 => format!(
            "select c.id, d.id from customers c join customers d on c.branch = d.branch and c.{0} {1} d.{0} where {place} order by 1, 2 limit 30",
            random.one(&["ssn", "score", "born"]),
            random.one(&["<>", "is distinct from", "is not distinct from"])
        ),
        19 => format!(
            "with x as (select {by}, c.branch as b, {named} from customers c where {place} group by {by}, c.branch) select *, {} over (partition by b order by n) from x{end}",
            random.one(&["sum(n)", "row_number()", "count(*)", "lag(n)"])
        ),
        17 => format!(
            "select c.id, x.n from (select c.ssn, count(*) as n from customers c where {place} group by c.ssn{}) x join customers c on c.ssn = x.ssn order by 1, 2",
            random.one(&[" order by n limit 3", " order by 2 desc limit 7", "", " limit 2"])
        ),
        12 => {
            let (all, sorted) =
                (random.one(&["union", "union all", "intersect", "except"]), random.one(&["", " order by 2", " limit 4"]));
            format!(
                "select c.ssn, c.branch from customers c where {place} {all} select c.ssn, c.branch from customers c where c.id < 40{sorted}"
            )
        }
        13 => format!(
            "select c.id from customers c where (c.ssn, c.account_number) in (select c.ssn, c.account_number from customers c where {place}) order by 1"
        ),
        14 => format!("select c.id, {0} from customers c where {0} {1} ''", random.one(TEXTS), random.one(&["=", "<>"])),
        15 => format!(
            "select {by}, sum(c.balance), row_number() over (order by sum(c.balance)), rank() over (order by count(*)) from customers c where {place} group by {by}{end}"
        ),
        16 => format!(
            "select {by}, sum(c.balance), sum(c.balance) / sum(sum(c.balance)) over (), sum(count(*)) over (order by sum(c.balance)) from customers c where {place} group by {by}{end}"
        ),
        0 => format!("select {by}, {shown} from customers c where {place} group by {by}{end}"),
        1 => format!("select {plain} from customers c where {place} group by {by}{end}"),
        2 => format!("select {by}, {plain} from customers c where {place} group by {by}{end}"),
        3 => format!("select distinct {by}, c.branch from customers c where {place}{end}"),
        4 => format!("select * from ({inner}) x{end}"),
        5 => format!("with x as ({inner}) select n, n * 2 from x where n > 1{end}"),
        6 => format!("select count(*), max(n), sum(n), avg(n) from ({inner}) x"),
        7 => format!("select array_agg(n), string_agg(n::text, ',') from ({inner}) x"),
        8 => format!(
            "select n, {} from ({inner}) x{end}",
            random.one(&["rank() over (order by n)", "row_number() over (order by n)", "n + 1"])
        ),
        9 => format!(
            "select c.id, c.name from customers c where c.id in (select min(c.id) from customers c where {place} group by {by}){end}"
        ),
        10 => format!(
            "select one.id, {0}, count(*) from customers one join customers c on one.branch = c.branch where {place} group by one.id, {0}{end}",
            random.one(&["c.ssn", "c.score, one.score"])
        ),
        _ => format!(
            "select c.branch, {plain} from customers c join ({inner}) x on x.n = c.id where {place} group by c.branch{end}"
        ),
    }
}

fn aggregate(random: &mut Random) -> String {
    let of = random.one(COLUMNS);
    let how = random.one(&["count", "count", "min", "max", "array_agg", "json_agg"]);
    match random.below(5) {
        0 => "count(*), sum(c.balance)".to_owned(),
        1 => format!("count(distinct {of})"),
        2 => format!("string_agg({}::text, ',' order by c.id)", of),
        3 => format!("{how}({of}) filter (where {})", condition(random, 1)),
        _ => format!("{how}({of})"),
    }
}

fn value(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return random.one(COLUMNS).to_owned();
    }
    let (text, column) = (random.one(TEXTS), random.one(COLUMNS));
    match random.below(26) {
        0 => format!("upper({text})"),
        1 => format!("substr({text}, {}, 3)", 1 + random.below(5)),
        2 => format!("length({text})"),
        3 => format!("md5({text})"),
        4 => format!("{text} || '-' || {}", random.one(TEXTS)),
        5 => format!("coalesce({text}, 'none')"),
        6 => format!("case when {} then {column}::text else 'no' end", condition(random, 1)),
        7 => format!("{column} is null"),
        8 => format!("{text} = {}", random.one(TEXTS)),
        9 => format!("to_jsonb(c) ->> '{}'", random.one(&["ssn", "name", "score"])),
        10 => "row_to_json(c)".to_owned(),
        11 => "c".to_owned(),
        12 => format!("array[{text}, {}]", random.one(TEXTS)),
        13 => format!("({column})::text"),
        14 => format!("({text})::int"),
        15 => format!("replace({text}, '{}', '')", random.one(&["-", "5", "Customer "])),
        16 => format!(
            "(select {} from customers d where d.id = {})",
            random.one(&["d.ssn", "d.name", "d.score", "max(d.score)"]),
            1 + random.below(60)
        ),
        17 => format!("c.score {} {}", random.one(&["+", "*", "/", "-", "%"]), random.below(300)),
        18 => "age(c.born)".to_owned(),
        19 => format!("nullif({text}, {})", random.one(&["c.name", "'NY'", "'536-90-4399'"])),
        20 => format!("json_build_object('k', {column})"),
        21 => format!("greatest({text}, 'm')"),
        22 => format!("encode({text}::bytea, 'hex')"),
        23 => format!("1 / ({})", random.one(&["c.id", "c.score", "c.id - 7", "c.score - 300"])),
        _ => column.to_owned(),
    }
}

fn condition(random: &mut Random, depth: usize) -> String {
    match random.below(if depth == 0 { 5 } else { 11 }) {
        0 => format!("c.id < {}", random.below(60)),
        1 => format!("c.branch = '{}'", random.one(&["NY", "SF", "LA"])),
        2 => format!("c.id = {}", 1 + random.below(60)),
        3 => format!("{} is not null", random.one(COLUMNS)),
        4 => format!("c.balance between {0} and {0} + 200", random.below(600)),
        5 => format!("c.name like 'Customer {}%'", random.below(6)),
        6 => format!("{} and {}", condition(random, depth - 1), condition(random, depth - 1)),
        7 => format!("({} or {})", condition(random, depth - 1), condition(random, depth - 1)),
        8 => format!(
            "exists (select 1 from accounts a where a.account_number = c.account_number and a.amount > {})",
            random.below(200)
        ),
        9 => format!("c.score > {}", 100 + random.below(900)),
        _ => format!("c.ssn like '{}%'", random.below(9)),
    }
}
