//! What a method makes of the values of a type, and what it says of one that it does not fit.

use serde_json::{Value, json};

use super::{CLASSIFY, MASKS, assert_clean, before, extended, raw, rows, texts};
use crate::harness::{Major, text};

on_each_server!(a_method_that_does_not_fit_is_refused, elements_of_arrays_are_masked_by_themselves);

async fn a_method_that_does_not_fit_is_refused(major: Major) {
    let server = server!(major);
    let masks = "[[masks]]\nlabel = \"pay\"\nmethod = \"partial\"\nlast = 2\n";
    let gateway = before(&server, CLASSIFY, masks).await;
    let session = gateway.session("bank", "alice").await;
    let error = session.batch_execute("select salary from people").await.unwrap_err();
    let why = "public.people.salary cannot be masked: `partial` does not mask numeric";
    assert!(text(&error).contains(why), "{}", text(&error));
    assert_eq!(session.value("select name from people where id = 1").await, "Ada");
    let refused = gateway.leaves_of("REQUEST").into_iter().find(|leaf| leaf["decision"]["reason"] == "mask.misfit");
    assert!(refused.is_some_and(|leaf| leaf["decision"]["verdict"] == "deny"));
    drop(session);
    gateway.verify();
    // Nobody has to ask for it to find out: it is said when the catalog is read, and before.
    assert_eq!(gateway.log().matches(why).count(), 1, "{}", gateway.log());
    let check = gateway.command(&["mask", "check", "bank", "--json"]);
    let said: Value = serde_json::from_slice(&check.stdout).unwrap();
    let found = said.as_array().unwrap().iter().find(|one| one["column"] == "public.people.salary").unwrap();
    let expected = json!({ "column": "public.people.salary", "type": "numeric", "label": "pay", "method": "partial", "fits": false,
        "note": "`partial` does not mask numeric: statements that would show it are refused" });
    assert_eq!((check.status.code(), found), (Some(3), &expected));
    std::fs::write(gateway.path("bank.catalog"), gateway.must(&["policy", "catalog", "bank"])).unwrap();
    let kept = gateway.path("bank.catalog");
    let again = gateway.command(&["mask", "check", "bank", "--json", "--catalog", kept.to_str().unwrap()]);
    assert_eq!((again.status.code(), again.stdout), (Some(3), check.stdout));
}

async fn elements_of_arrays_are_masked_by_themselves(major: Major) {
    let server = server!(major);
    server.admin("bank").await.batch_execute("create domain number as varchar(11); create domain ssn as number;
        create table lists (id int, ssns text[], ages int[], born date[], codes ssn[]);
        insert into lists values (1, '{536-90-4399,NULL,12}', '{{57,-3},{NULL,60}}', '[2:3]={1987-03-17,infinity}'), (2, null, '{}', null),
            (3, array['a \"b\\', 'null', '', 'x,536-90-4399'], null, null);
        update lists set codes = ssns where id = 1;
        alter table lists owner to keeper").await.unwrap();
    let classify = CLASSIFY.replace(
        "[connections.classify]",
        "[connections.classify]\n\"public.lists.ssns\" = [\"ssn\"]\n\
        \"public.lists.ages\" = [\"age\"]\n\"public.lists.codes\" = [\"ssn\"]\n\"public.lists.born\" = [\"born\"]\n",
    );
    let gateway =
        before(&server, &classify, &format!("{MASKS}[[masks]]\nlabel = \"age\"\nmethod = \"bucket\"\nwidth = 10\n")).await;
    let mut raw = raw(&gateway);
    let all = "select ssns, ages, born from lists order by id";
    let some = |value: &str| Some(value.to_owned());
    let expected = [
        [some("{*******4399,NULL,**}"), some("{{50,-10},{NULL,60}}"), some("[2:3]={1987-01-01,NULL}")],
        [None, some("{}"), None],
        [some(r#"{"* \"b\\",****,"",*********4399}"#), None, None],
    ];
    let answer = raw.query(all);
    assert_clean(all, &answer);
    assert_eq!(texts(&answer), expected);
    assert_eq!(texts(&raw.query("select codes from lists where id = 1")), [[expected[0][0].clone()]], "a domain's array");
    let copied = raw.query("copy (select ssns from lists where id = 3) to stdout");
    assert_clean("copied", &copied);
    let line: Vec<_> = copied.iter().filter(|(kind, _)| *kind == b'd').map(|(_, line)| String::from_utf8_lossy(line)).collect();
    assert_eq!(line, ["{\"* \\\\\"b\\\\\\\\\",****,\"\",*********4399}\n"]);
    // In binary they are what the server makes of what stands in the text.
    raw.send(&extended(all, &[1], true, 0));
    let binary = raw.until_ready();
    assert_clean(all, &binary);
    for (masked, text) in rows(&binary).iter().zip(&expected) {
        for ((masked, text), kind) in masked.iter().zip(text).zip(["text[]", "int4[]", "date[]"]) {
            let text = text.as_ref().map_or("null".to_owned(), |text| format!("'{text}'"));
            raw.send(&extended(&format!("select {text}::{kind}"), &[1], false, 0));
            assert_eq!(&rows(&raw.until_ready())[0][0], masked, "{text}");
        }
    }
    gateway.verify();
}
