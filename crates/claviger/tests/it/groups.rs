//! Groups of classified values: in which order they come, and what is summed up of them.

use crate::corpus::player::rows;
use crate::harness::{Conn, Gateway, Major, Message, PERMIT_ALL, Raw, Server, error_field, frame, terminated};

on_each_server!(groups_come_in_an_order_that_tells_nothing, whoever_may_see_the_values_sees_the_servers_order);

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
    // Where it cannot be sorted further, it is refused.
    for text in [format!("copy ({GROUPED}) to stdout"), format!("declare c cursor with hold for {GROUPED}")] {
        let answer = raw.query(&text);
        assert!(answer.iter().any(|message| message.0 == b'E' && error_field(message, b'C') == "42501"), "{text}");
    }
    drop(raw);
    let replaced = gateway.leaves_of("INTENT").iter().filter(|leaf| leaf["replaced"] == true).count();
    assert_eq!(replaced, 6, "the record says so");
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
