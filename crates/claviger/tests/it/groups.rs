//! What may be told of classified values all the same: which are equal, sums, and, where policy lets it, which rows they decide.

use crate::corpus::player::rows;
use crate::harness::{Conn, Gateway, Major, Message, PERMIT_ALL, Raw, Server, contains, error_field, frame, terminated};

on_each_server!(
    groups_come_in_an_order_that_tells_nothing,
    whoever_may_see_the_values_sees_the_servers_order,
    sums_are_seen_over_groups_that_are_large_enough,
    nobody_is_singled_out_of_a_sum,
    filters_have_a_budget,
);

const SETUP: &str = "create table staff (id int primary key, dept text not null, badge text, salary int);
    insert into staff select i, (array['it', 'hr'])[1 + i % 2], nullif(md5(i::text), md5('7')), 1000 + i * 37 % 800 from generate_series(1, 60) i;
    alter table staff owner to keeper; analyze";

const CLASSIFY: &str = r#"detect = false
    classify = { "public.staff.badge" = ["badge"], "public.staff.salary" = ["pay"] }"#;

async fn before(server: &Server, policies: &str, more: &str) -> Gateway {
    server.admin("bank").await.batch_execute(SETUP).await.unwrap();
    let mut gateway = Gateway::configure(&[Conn::to("bank", server).set(CLASSIFY)], &format!("{PERMIT_ALL}\n{policies}"), more);
    gateway.add(&["user", "alice"]);
    gateway.start();
    gateway
}

fn enter(gateway: &Gateway) -> Raw {
    let mut raw = gateway.raw("bank");
    raw.login("alice", "bank", &gateway.token(&["alice"])).unwrap();
    raw
}

/// The rows of an answer, each as one text with bars between its cells.
fn lines(answer: &[Message]) -> Vec<String> {
    if let Some(error) = answer.iter().find(|(kind, _)| *kind == b'E') {
        panic!("{}", error_field(error, b'M'));
    }
    let text = |cell: Option<Vec<u8>>| cell.map_or("-".to_owned(), |cell| String::from_utf8(cell).unwrap());
    rows(answer).into_iter().map(|row| row.into_iter().map(text).collect::<Vec<_>>().join("|")).collect()
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    frame(b'P', &[terminated(name), terminated(text), vec![0, 0]].concat())
}

/// Bind with this parameter, Execute.
fn execute(name: &str, parameter: &str) -> Vec<u8> {
    let length = u32::try_from(parameter.len()).unwrap().to_be_bytes();
    let bind = [&terminated("")[..], &terminated(name), &[0, 0, 0, 1], &length, parameter.as_bytes(), &[0, 0]].concat();
    [frame(b'B', &bind), frame(b'E', b"\0\0\0\0\0")].concat()
}

const SYNC: &[u8] = b"S\0\0\0\x04";
const GROUPED: &str = "select badge, min(id) as first from staff group by badge";

async fn groups_come_in_an_order_that_tells_nothing(major: Major) {
    let server = server!(major);
    let gateway = before(&server, "", "").await;
    let direct: Vec<_> = server.ask("bank", GROUPED).await.into_iter().map(|row| row[1].clone().unwrap()).collect();
    let sorted: Vec<String> = (1..=60).map(|n| format!("[masked]|{n}")).collect();
    assert_ne!(direct, (1..=60).map(|n| n.to_string()).collect::<Vec<_>>(), "else there is nothing to tell");
    let mut raw = enter(&gateway);
    assert_eq!(lines(&raw.query(GROUPED)), sorted);
    assert_eq!(lines(&raw.query(&format!("{GROUPED} limit 3; -- few"))), sorted[..3]);
    // In a batch, each in its place; words that look like others do not count.
    let batch = format!("select 'order by'; {GROUPED} /* limit 1 */ offset 58; select 1 as limit");
    assert_eq!(lines(&raw.query(&batch)), ["order by", "[masked]|59", "[masked]|60", "1"]);
    // What was asked for comes first.
    let by_dept = "select dept, badge, min(id) from staff group by badge, dept order by dept desc limit 2";
    assert_eq!(lines(&raw.query(by_dept)), ["it|[masked]|2", "it|[masked]|4"]);
    assert_eq!(lines(&raw.query(&format!("with g as ({GROUPED}) select * from g limit 2"))), sorted[..2]);
    // Prepared once, run often, in one pipeline.
    let text = "select badge, min(id) from staff where id > $1 group by badge limit 2";
    raw.send(&[parse("g", text), execute("g", "4"), execute("g", "57"), SYNC.to_vec()].concat());
    assert_eq!(lines(&raw.until_ready()), ["[masked]|5", "[masked]|6", "[masked]|58", "[masked]|59"]);
    raw.send(&[execute("g", "10"), SYNC.to_vec()].concat());
    assert_eq!(lines(&raw.until_ready()), ["[masked]|11", "[masked]|12"]);
    // Inside, which groups a limit takes is seen by what is joined to them.
    let inside = "select t.n, s.id from (select badge, count(*) as n from staff group by badge limit 3) t join staff s using (badge) order by 2";
    assert_eq!(lines(&raw.query(inside)), ["1|1", "1|2", "1|3"]);
    raw.send(&[parse("i", &format!("{inside} offset $1")), execute("i", "1"), SYNC.to_vec()].concat());
    assert_eq!(lines(&raw.until_ready()), ["1|2", "1|3"]);
    // Where it cannot be sorted further, it is refused.
    for text in [format!("copy ({GROUPED}) to stdout"), format!("declare c cursor with hold for {GROUPED}")] {
        let answer = raw.query(&text);
        assert!(answer.iter().any(|message| message.0 == b'E' && error_field(message, b'C') == "42501"), "{text}");
    }
    drop(raw);
    let replaced = gateway.leaves_of("INTENT").iter().filter(|leaf| leaf["replaced"] == true).count();
    assert_eq!(replaced, 8, "the record says so");
    gateway.verify();
}

async fn whoever_may_see_the_values_sees_the_servers_order(major: Major) {
    let server = server!(major);
    let reveal = r#"permit (principal, action in [Action::"reveal"], resource);"#;
    let gateway = before(&server, reveal, "").await;
    let mut raw = enter(&gateway);
    let direct = server.ask("bank", GROUPED).await;
    let direct: Vec<_> =
        direct.into_iter().map(|row| format!("{}|{}", row[0].as_deref().unwrap_or("-"), row[1].as_deref().unwrap())).collect();
    assert_eq!(lines(&raw.query(GROUPED)), direct);
    gateway.verify();
}

const AGGREGATE: &str = r#"@id("sums") permit (principal, action == Action::"aggregate", resource in Label::"pay");"#;

/// Parse, Bind with all results in binary, Describe, Execute, Sync.
fn in_binary(text: &str) -> Vec<u8> {
    let rest = [frame(b'B', b"\0\0\0\0\0\0\0\x01\0\x01"), frame(b'D', b"P\0"), frame(b'E', b"\0\0\0\0\0"), SYNC.to_vec()];
    [parse("", text), rest.concat()].concat()
}

async fn sums_are_seen_over_groups_that_are_large_enough(major: Major) {
    let server = server!(major);
    let gateway = before(&server, AGGREGATE, "").await;
    let mut raw = enter(&gateway);
    let admin = server.admin("bank").await;
    admin.batch_execute("update staff set salary = null where dept = 'hr' and id > 20").await.unwrap();
    // What the server says to a superuser, and nothing instead where there are fewer than 10 values.
    for (text, asked) in [
        ("select dept, sum(salary), avg(salary), count(*) from staff group by dept order by dept", None),
        ("select sum(salary) as all, count(badge) from staff", None),
        (
            "select s.dept, avg(s.salary) mean from staff s where s.id > 5 group by s.dept order by mean desc nulls last, 1",
            Some(
                "select s.dept, case when count(s.salary) >= 10 then avg(s.salary) end mean from staff s where s.id > 5 group by s.dept order by mean desc nulls last, 1",
            ),
        ),
        (
            "select id / 15, sum(salary) from staff group by 1 order by 1",
            Some("select id / 15, case when count(salary) >= 10 then sum(salary) end as sum from staff group by 1 order by 1"),
        ),
        ("select sum(salary) from staff where id <= 9", Some("select null::bigint as sum")),
        ("select case when count(salary) >= 3 then sum(salary) end from staff where id < 6", Some("select 0::bigint as case")),
        ("select case when count(salary) >= 12 then sum(salary) end from staff where dept = 'it'", None),
    ] {
        let direct = admin.rows(asked.unwrap_or(text)).await;
        let direct: Vec<_> = direct
            .into_iter()
            .map(|row| row.into_iter().map(|cell| cell.unwrap_or("-".into())).collect::<Vec<_>>().join("|"))
            .collect();
        assert_eq!(lines(&raw.query(text)), direct, "{text}");
        raw.send(&parse("s", text));
        raw.send(&[frame(b'B', b"\0s\0\0\0\0\0\0\0"), frame(b'E', b"\0\0\0\0\0"), frame(b'C', b"Ss\0"), SYNC.to_vec()].concat());
        assert_eq!(lines(&raw.until_ready()), direct, "prepared: {text}");
    }
    raw.send(&in_binary("select dept, sum(salary) from staff where dept = 'it' group by dept"));
    let answer = raw.until_ready();
    let sum: i64 = admin.value("select sum(salary) from staff where dept = 'it'").await.parse().unwrap();
    assert_eq!(rows(&answer), [[Some(b"it".to_vec()), Some(sum.to_be_bytes().to_vec())]]);
    let look = &answer.iter().find(|(kind, _)| *kind == b'T').unwrap().1;
    assert!(contains(look, b"sum\0") && !contains(look, b"case"), "called as before");
    raw.send(&in_binary("select sum(salary) from staff where id < 4"));
    assert_eq!(rows(&raw.until_ready()), [[None]]);
    gateway.verify();
}

async fn nobody_is_singled_out_of_a_sum(major: Major) {
    let server = server!(major);
    let gateway = before(&server, AGGREGATE, "[masking]\ngroups_of = 20\n").await;
    let admin = server.admin("bank").await;
    admin
        .batch_execute(
            "update staff set salary = 777777 where id = 3; create table times (n int); alter table times owner to keeper;
        insert into times select 3 from generate_series(1, 50)",
        )
        .await
        .unwrap();
    let mut raw = enter(&gateway);
    for text in [
        "select sum(salary) from staff where id = 3",
        "select id, sum(salary) from staff group by id order by id",
        "select avg(salary) from staff where dept = 'hr' and id < 30",
        "select sum(salary) filter (where id = 3) from staff",
        "select sum(salary * (id = 3)::int) from staff",
        "select sum(case when id = 3 then salary end) from staff",
        "select sum(coalesce(nullif(salary, 0), 0)) from staff",
        "select sum(distinct salary) from staff",
        "select max(salary), min(salary) from staff",
        "select id, sum(salary) over (partition by id) from staff",
        "select sum(salary) from (select salary from staff where id = 3) x",
        "select (select sum(salary) from staff s where s.id = o.id) from staff o",
        "with one as (select sum(salary) as s from staff where id = 3) select s from one",
        "select sum(salary) from staff join times on n = id",
        "select sum(salary) from staff, times where n = id and id = 3",
        "select sum(salary) from staff join generate_series(1, 40) g on id = 3",
        "select sum(s.salary) from staff s join staff t on s.dept = t.dept where s.id = 3",
        "select dept, sum(salary) from staff where id <= 3 group by rollup (dept)",
        "select sum(sum(salary)) over () from staff where id = 3",
        "select sum(salary)::text || 'x' from staff where id = 3",
        "select json_agg(salary), array_agg(salary) from staff where id = 3",
        "select case when count(id) >= 20 then sum(salary) end from staff where id = 3 group by id",
        "select case when count(salary) >= 1 then sum(salary) end from staff where id = 3",
        "select case when count(salary) >= 20 then sum(salary) else sum(salary) end from staff where id = 3",
        "select sum(salary) from staff group by id having sum(salary) > 777776",
        "select id, sum(salary) from staff group by id order by sum(salary) desc limit 1",
        "select id from staff where salary > 777776",
        "select sum(salary) from staff where salary > 777776",
        "explain analyze select sum(salary) from staff where id = 3",
        "copy (select sum(salary) from staff where id = 3) to stdout",
        "begin; declare c cursor for select sum(salary) from staff where id = 3; fetch all from c; rollback",
    ] {
        let answer = raw.query(text);
        assert!(!answer.iter().any(|(_, body)| contains(body, b"777777")), "{text}: {answer:?}");
        let refused = answer.iter().any(|message| message.0 == b'E' && error_field(message, b'C') == "42501");
        let decides =
            ["order by sum", "having", "salary >", "salary *", "nullif", "explain"].iter().any(|word| text.contains(word));
        assert_eq!(refused, decides, "{text}: {answer:?}");
        raw.query("rollback");
    }
    // Who may not is told nothing, nor sorts by it.
    gateway.write_policies(PERMIT_ALL);
    assert!(gateway.reload(|config| config).await);
    assert_eq!(lines(&raw.query("select dept, sum(salary) from staff group by dept order by dept")), ["hr|0", "it|0"]);
    let answer = raw.query("select dept, sum(salary) from staff group by dept order by 2");
    assert!(answer.iter().any(|message| message.0 == b'E' && error_field(message, b'C') == "42501"), "{answer:?}");
    gateway.verify();
}

async fn filters_have_a_budget(major: Major) {
    let server = server!(major);
    let filter = r#"permit (principal, action == Action::"filter", resource);"#;
    let mut gateway = Gateway::configure(
        &[Conn::to("bank", &server).set(CLASSIFY)],
        &format!("{PERMIT_ALL}\n{filter}"),
        "[masking]\nfilter_budget = { statements = 4, per = \"1d\" }\n",
    );
    server.admin("bank").await.batch_execute(SETUP).await.unwrap();
    gateway.add(&["user", "alice"]);
    gateway.add(&["user", "bob"]);
    gateway.add(&["workload", "assistant", "--sponsor", "alice"]);
    gateway.must(&["principals", "delegate", "assistant", "alice"]);
    gateway.start();
    let enter = |user: &str, token: &[&str]| {
        let mut raw = gateway.raw("bank");
        raw.login(user, "bank", &gateway.token(token)).unwrap();
        raw
    };
    let spent = |answer: &[Message]| {
        let error = answer.iter().find(|(kind, _)| *kind == b'E');
        error.is_some_and(|error| {
            let why = error_field(error, b'M');
            assert!(error_field(error, b'C') == "42501" && why.starts_with("4 statements in 86400 seconds"), "{why}");
            true
        })
    };
    let mut alice = enter("alice", &["alice"]);
    let filtered = "select id from staff where salary > 1500";
    assert!(!spent(&alice.query(filtered)));
    // To prepare is no use; each execution is one, and each statement of a batch.
    alice.send(&[parse("f", "select id from staff where salary > 1400 and id > $1"), execute("f", "1"), SYNC.to_vec()].concat());
    assert!(!spent(&alice.until_ready()));
    assert!(
        !spent(&alice.query("select id from staff where salary is null; select badge, count(*) from staff group by badge")),
        "free"
    );
    // Who acts for her draws on hers.
    let mut agent = enter("assistant", &["alice", "--act", "assistant"]);
    assert!(spent(&agent.query(&format!("{filtered}; {filtered}; {filtered}"))), "not enough for all three");
    assert!(!spent(&agent.query(filtered)));
    alice.send(&[execute("f", "2"), SYNC.to_vec()].concat());
    assert!(!spent(&alice.until_ready()));
    alice.send(&[execute("f", "3"), SYNC.to_vec()].concat());
    assert!(spent(&alice.until_ready()));
    assert!(spent(&alice.query(filtered)) && spent(&agent.query(filtered)));
    assert!(!spent(&alice.query("select count(*) from staff")), "the rest goes on");
    assert!(!spent(&enter("bob", &["bob"]).query(filtered)), "he has his own");
    let refused = gateway.leaves_of("REQUEST").into_iter().filter(|leaf| leaf["decision"]["reason"] == "mask.budget").count();
    assert_eq!(refused, 4);
    gateway.verify();
    drop((alice, agent));
    assert!(gateway.stop().success());
    gateway.start();
    let mut alice = gateway.raw("bank");
    alice.login("alice", "bank", &gateway.token(&["alice"])).unwrap();
    assert!(spent(&alice.query(filtered)), "a gateway that starts anew knows it still");
}
