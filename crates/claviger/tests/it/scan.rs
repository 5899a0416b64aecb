//! What a database holds, found by samples: with the command line that people use, on a real server.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{Conn, Gateway, Major, PERMIT_ALL};

on_each_server!(columns_are_found_and_no_value_is_shown, what_cannot_be_read_is_said);

/// Numbers that are valid: cards by Luhn, IBANs by the remainder of 97.
const SETUP: &str = r#"
    create function luhn(payload text) returns text immutable language sql as $$
        select payload || (10 - sum(case when (length(payload) - i) % 2 = 1 then d when d > 4 then d * 2 - 9 else d * 2 end) % 10) % 10
        from generate_series(1, length(payload)) i, lateral (select substr(payload, i, 1)::int as d) digit $$;
    create function iban(account bigint) returns text immutable language sql as $$
        select 'DE' || lpad((98 - (('50010517' || lpad(account::text, 10, '0') || '131400')::numeric % 97))::text, 2, '0')
            || '50010517' || lpad(account::text, 10, '0') $$;
    create schema "Odd ""one""";
    create domain code as varchar(40);
    create table holders (id int primary key, taxpayer text, "E-Mail" code, date_of_birth date, quiet text, about jsonb, tags text[],
        passport_no text);
    insert into holders select n, '5' || lpad((n % 97 + 1)::text, 2, '0') || '-' || lpad((n % 99 + 1)::text, 2, '0') || '-' ||
        lpad((n * 37 % 9998 + 1)::text, 4, '0'), 'somebody' || n || '@bank.example', date '1950-01-01' + n, case when n % 2 = 0 then '' end,
        jsonb_build_object('n', n, 'ssn', '536-90-' || lpad((n % 9000 + 1000)::text, 4, '0')),
        array['x', luhn('411111' || lpad(n::text, 9, '0'))], null from generate_series(1, 3000) n;
    create table "Odd ""one"""."T.1" (account_id bigint, account_number text, iban text, card bigint, note text, order_no bigint,
        holder int references public.holders, ssn text);
    insert into "Odd ""one"""."T.1" select 4000000000 + n, (7000000000 + n * 1003)::text, iban(n), luhn('555555' || lpad(n::text, 9, '0'))::bigint,
        case when n % 50 = 0 then 'she paid with ' || luhn('411111' || lpad(n::text, 9, '0')) else 'nothing to see in order ' || n end,
        200000000000000 + n * 7919, n, '536-90-4399' from generate_series(1, 2000) n;
    create table staff (badge text, n int); insert into staff select 'E-' || lpad(n::text, 6, '0'), n from generate_series(1, 50) n;
    create table parts (id int, mail text) partition by range (id);
    create table parts_1 partition of parts for values from (0) to (100);
    insert into parts select n, 'part' || n || '@bank.example' from generate_series(0, 99) n;
    create view seen as select taxpayer from holders;
    create table locked (ssn text);
    alter schema "Odd ""one""" owner to keeper;
    alter table holders owner to keeper; alter table "Odd ""one"""."T.1" owner to keeper; alter table parts owner to keeper; alter table staff owner to keeper;
    analyze"#;

const CLASSIFY: &str = r#"[connections.classify]
    '"Odd ""one"""."T.1".ssn' = ["pii.ssn"]
    [[connections.detect.patterns]]
    name = "badge"
    pattern = 'E-\d{6}'
    "#;

fn proposals(report: &Value) -> BTreeMap<(String, String), (String, f64, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = report["proposals"].as_array().unwrap().iter();
    all.map(|one| {
        let share = one["share"].as_f64().unwrap();
        ((text(&one["column"]), text(&one["detector"])), (text(&one["confidence"]), share, text(&one["why"])))
    })
    .collect()
}

async fn columns_are_found_and_no_value_is_shown(major: Major) {
    let server = server!(major);
    server.admin("bank").await.batch_execute(SETUP).await.unwrap();
    let gateway = Gateway::configure(&[Conn::to("bank", &server).set(CLASSIFY)], PERMIT_ALL, "");
    let said = gateway.must(&["mask", "scan", "bank", "--sample", "200", "--json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    let found = proposals(&report);
    let odd = |column: &str| format!(r#""Odd ""one"""."T.1".{column}"#);
    let expect = |column: &str, detector: &str, confidence: &str, why: &str| {
        let known = found.get(&(column.to_owned(), detector.to_owned()));
        let (confident, share, ground) = known.unwrap_or_else(|| panic!("{column} {detector}: {said}"));
        assert_eq!((&**confident, &**ground), (confidence, why), "{column} {detector}: {said}");
        *share
    };
    for (column, detector) in [
        ("public.holders.taxpayer", "ssn"),
        (r#"public.holders."E-Mail""#, "email"),
        (&odd("iban"), "iban"),
        (&odd("card"), "credit_card"),
        ("public.parts.mail", "email"),
        ("public.staff.badge", "badge"),
    ] {
        assert!(expect(column, detector, "high", "values") > 0.95, "{column}");
    }
    expect("public.holders.tags", "credit_card", "high", "values");
    expect("public.holders.date_of_birth", "date_of_birth", "medium", "values");
    expect(&odd("account_number"), "bank_account", "medium", "values");
    expect("public.holders.about", "ssn", "low", "inside of values");
    let share = expect(&odd("note"), "credit_card", "low", "inside of values");
    assert!(share > 0.001 && share < 0.2, "{share}");
    expect("public.holders.passport_no", "passport", "low", "name only");
    // The table of the harness: what is called so and looks otherwise.
    expect("public.customers.ssn", "ssn", "low", "name only, values differ");
    assert_eq!(found.len(), 13, "nothing else, neither ids nor what has a label: {said}");
    assert_eq!(report["labelled"], 1);

    let shown = gateway.must(&["mask", "scan", "bank"]);
    for line in [r#""public.holders.taxpayer" = ["pii.ssn"]"#, r#"'"Odd ""one"""."T.1".iban' = ["pci.account"]"#] {
        assert!(shown.lines().any(|one| one == line), "{line}\n{shown}");
    }
    for (what, text) in [("JSON", &said), ("table", &shown)] {
        for value in ["536-90", "@bank", "411111", "555555", "50010517", "1950", "she paid", "70000"] {
            assert!(!text.contains(value), "{what} shows `{value}`: {text}");
        }
    }
    // What is printed is configuration: with it, the same columns are proposed no more.
    let snippet = shown.split_once("[connections.classify]").unwrap().1;
    let conn =
        Conn::to("bank", &server).set(&CLASSIFY.replace("[[connections.detect", &format!("{snippet}\n[[connections.detect")));
    let again = Gateway::configure(&[conn], PERMIT_ALL, "").must(&["mask", "scan", "bank", "--json"]);
    let left = proposals(&serde_json::from_str(&again).unwrap());
    assert!(left.values().all(|(confidence, ..)| confidence == "low") && left.len() == 4, "{again}");
}

async fn what_cannot_be_read_is_said(major: Major) {
    let server = server!(major);
    let admin = server.admin("bank").await;
    let setup = "create table locked (ssn text); create table half (id int, a text, b text); grant select (a) on half to keeper;
        insert into half select n, '536-90-4399', '536-90-4399' from generate_series(1, 100) n;
        create view slow as select pg_sleep(60)::text; grant select on slow to keeper;
        create table busy (ssn text); grant select on busy to keeper; create table calm (mail text); grant select on calm to keeper;
        insert into calm select 'a' || n || '@bank.example' from generate_series(1, 40000) n; analyze calm;
        delete from calm where mail not like 'a39___@%'";
    for statement in setup.split(';') {
        admin.batch_execute(statement).await.unwrap();
    }
    let gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, "");
    // Somebody works on a table for long: the others are looked at all the same.
    let worker = server.admin("bank").await;
    worker.batch_execute("begin; lock table busy").await.unwrap();
    let report: Value = serde_json::from_str(&gateway.must(&["mask", "scan", "bank", "--json"])).unwrap();
    let expected = serde_json::json!({ "public.half.a": ["pii.ssn"], "public.calm.mail": ["pii.contact"] });
    assert_eq!(report["classify"], expected, "{report}");
    let unread: Vec<_> = report["unread"].as_object().unwrap().iter().collect();
    let names: Vec<_> = unread.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["public.busy", "public.half.b", "public.half.id", "public.locked.ssn"], "{report}");
    assert!(unread[0].1.as_str().unwrap().contains("55P03"), "{report}");
    for (arguments, code) in [(["mask", "scan", "nowhere"], 2), (["mask", "scan", "--sample=0"], 2)] {
        assert_eq!(gateway.command(&arguments).status.code(), Some(code), "{arguments:?}");
    }
}
