#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::Request;

fn described(method: &'static str, template: &str) -> Described {
    Described { method, template: template.to_owned(), operation: None }
}

/// Each line is a method and a template.
fn templates(lines: &str) -> Templates {
    let mut templates = Templates::default();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (method, template) = line.split_once(' ').unwrap();
        let method = ["GET", "HEAD", "POST", "DELETE"].into_iter().find(|known| *known == method).unwrap();
        templates.add(&described(method, template)).unwrap_or_else(|wrong| panic!("{line} {wrong}"));
    }
    templates
}

/// What a request calls, sorted.
fn called(templates: &Templates, method: &str, path: &str, sent: Option<&str>) -> Vec<String> {
    let mut called: Vec<_> =
        templates.called(method, path, sent).iter().map(|operation| operation.template.to_string()).collect();
    called.sort();
    called
}

const SHOP: &str = "
    GET /
    GET /users
    POST /users
    GET /users/{id}
    DELETE /users/{id}
    GET /users/all
    DELETE /users/all
    GET /users/{id}/orders/{order}
    GET /users/{id}/orders/
    GET /reports/{id}.json
    GET /reports/{from}-{to}
    GET /reports/{id}
    POST /v1/{name}:cancel
    POST /v1/{name}
    GET /books/{id}
    GET /{entity}/me
    GET /caf\u{e9}/{a}{b}
    GET /odd%20name/%7Eme";

#[test]
fn a_path_is_that_of_its_most_exact_template() {
    let shop = templates(SHOP);
    for (request, expected) in [
        ("GET /", "/"),
        ("GET /users", "/users"),
        ("HEAD /users", "/users"),
        ("GET /users/7", "/users/{id}"),
        ("HEAD /users/7", "/users/{id}"),
        ("GET /users/a%20b%2Cc", "/users/{id}"),
        ("GET /users/%C3%A9", "/users/{id}"),
        ("GET /users/all", "/users/all"),
        ("DELETE /users/all", "/users/all"),
        ("GET /users/7/orders/x", "/users/{id}/orders/{order}"),
        ("GET /users/7/orders/", "/users/{id}/orders/"),
        ("GET /reports/7.json", "/reports/{id}.json"),
        ("GET /reports/7.xml", "/reports/{id}"),
        ("GET /reports/.json", "/reports/{id}"),
        ("GET /reports/1-2", "/reports/{from}-{to}"),
        ("GET /reports/1-", "/reports/{id}"),
        ("POST /v1/x:cancel", "/v1/{name}:cancel"),
        ("POST /v1/x:start", "/v1/{name}"),
        ("GET /caf%C3%A9/xy", "/caf%C3%A9/{a}{b}"),
        ("GET /odd%20name/~me", "/odd%20name/~me"),
        // Neither is more exact than the other.
        ("GET /reports/1-2.json", "/reports/{from}-{to} /reports/{id}.json"),
        ("GET /books/me", "/books/{id} /{entity}/me"),
        // Nothing that the description has.
        ("POST /", ""),
        ("DELETE /users", ""),
        ("POST /users/7", ""),
        ("OPTIONS /users", ""),
        ("HEAD /v1/x", ""),
        ("GET /users/", ""),
        ("GET /users/7/", ""),
        ("GET /users/7/orders", ""),
        ("GET /Users", ""),
        ("GET /Users/7", ""),
        ("GET /users/7/x/orders/1", ""),
        ("GET /caf%C3%A9/x", ""),
        ("GET /users//7", ""),
        ("GET users", ""),
        ("GET /users/%zz", ""),
        ("GET /users/%C3", ""),
        ("GET ", ""),
    ] {
        let (method, path) = request.split_once(' ').unwrap();
        assert_eq!(called(&shop, method, path, None).join(" "), expected, "{request}");
    }
}

#[test]
fn no_spelling_leads_around_a_template() {
    let shop = templates(SHOP);
    let both = ["/users/all", "/users/{id}"];
    assert_eq!(called(&shop, "DELETE", "/users/ALL", None), both);
    assert_eq!(called(&shop, "DELETE", "/users/%61ll", None), ["/users/{id}"], "policy does not see such a path");
    assert_eq!(called(&shop, "GET", "/books/Me", None), ["/books/{id}", "/{entity}/me"]);
    // Some servers take what is escaped for a part of the name.
    let cancel = called(&shop, "POST", "/v1/x:cancel", Some("/v1/x%3Acancel"));
    assert_eq!(cancel, ["/v1/{name}", "/v1/{name}:cancel"]);
    let slashed = templates("GET /users/all\nGET /users/{id}/\nGET /{a}/{b}/{c}");
    assert_eq!(called(&slashed, "GET", "/users/all/", None), ["/users/all", "/users/{id}/"]);
    assert_eq!(called(&slashed, "GET", "/users/7", None), Vec::<String>::new());
    // An escape is one character, whatever its digits are.
    let hexed = templates("GET /{name}A9\nGET /{id}");
    assert_eq!(called(&hexed, "GET", "/x%C3%A9", None), ["/{id}"]);
    let kelvin = templates("GET /k\nGET /{id}");
    assert_eq!(called(&kelvin, "GET", "/%E2%84%AA", None), ["/k", "/{id}"]);
    // What has another method stands in nobody's way.
    let methods = templates(
        "GET /{x}/{y}\nPOST /users/all\nGET /users/{id}\nPOST /orgs/teams/{team}\nGET /{kind}/{id}/members\nGET /orgs/{org}/{tab}",
    );
    assert_eq!(called(&methods, "GET", "/Users/All", None), ["/users/{id}", "/{x}/{y}"]);
    assert_eq!(called(&methods, "GET", "/users/all", None), ["/users/{id}"]);
    assert_eq!(called(&methods, "GET", "/orgs/teams/members", None), ["/orgs/{org}/{tab}", "/{kind}/{id}/members"]);
    // Nor does what is spelled otherwise, too.
    let near = templates("GET /{x}/{y}\nGET /users/{id}/\nGET /users/all/");
    assert_eq!(called(&near, "GET", "/users/ALL", None), ["/users/all/", "/users/{id}/", "/{x}/{y}"]);
    // The description itself says that these are two.
    let cases = templates("GET /users\nGET /Users\nGET /users/");
    assert_eq!(called(&cases, "GET", "/users", None), ["/users"]);
    assert_eq!(called(&cases, "GET", "/users/", None), ["/users/"]);
}

#[test]
fn what_no_path_can_have_is_no_template() {
    for (template, wrong) in [
        ("users", WrongTemplate::NoPath),
        ("/{id", WrongTemplate::Braces),
        ("/id}", WrongTemplate::Braces),
        ("/{}", WrongTemplate::Braces),
        ("/{a{b}}", WrongTemplate::Braces),
        ("/{a/b}", WrongTemplate::Braces),
        ("/a//b", WrongTemplate::Impossible("an empty segment")),
        ("/a/../b", WrongTemplate::Impossible("a segment of dots")),
        ("/%2E%2e", WrongTemplate::Impossible("a segment of dots")),
        ("/a?b={c}", WrongTemplate::Impossible("a query or a fragment")),
        ("/#Action=x", WrongTemplate::Impossible("a query or a fragment")),
        ("/a%2Fb", WrongTemplate::Impossible("what separates or escapes")),
        ("/a%25b", WrongTemplate::Impossible("what separates or escapes")),
        ("/a;b", WrongTemplate::Impossible("what separates or escapes")),
        ("/a\\b", WrongTemplate::Impossible("what separates or escapes")),
        ("/a%", WrongTemplate::Impossible("a broken escape")),
        ("/a%C3", WrongTemplate::Impossible("a broken escape")),
        ("/a\nb", WrongTemplate::Impossible("a control character")),
        (&format!("/{}", "a".repeat(LONGEST)), WrongTemplate::TooLong),
    ] {
        assert_eq!(Templates::default().add(&described("GET", template)), Err(wrong), "{template}");
    }
    let twice = |first: &str, method, second: &str| templates(&format!("GET {first}")).add(&described(method, second));
    assert_eq!(twice("/a/{id}", "GET", "/a/{name}"), Err(WrongTemplate::SameAs("/a/{id}".into())));
    assert_eq!(twice("/a/{id}", "POST", "/a/{name}"), Ok(()));
    assert_eq!(twice("/{a}.x", "GET", "/{b}.x"), Err(WrongTemplate::SameAs("/{a}.x".into())));
    assert_eq!(twice("/a", "GET", "/%61"), Err(WrongTemplate::Twice("GET")));
    assert_eq!(twice("/a/{id}", "POST", "/a/{id}"), Ok(()));
    assert_eq!(twice("/a/{id}/x", "GET", "/a/{name}/y"), Ok(()));
}

#[test]
fn a_template_names_the_endpoint_and_the_dialect_says_the_rest() {
    let mut templates = templates("POST /v1/chat/completions\nGET /v1/evals/{id}");
    templates.add(&Described { operation: Some("getUser".into()), ..described("GET", "/users/{id}") }).unwrap();
    let effects = |dialect: Dialect, method, path, content: &str| {
        let content_type = Some("application/json");
        let request = Request { method, path, query: None, content_type, prompt: None, content: content.as_bytes() };
        let mut meaning = dialect.read(&request).unwrap().meaning;
        templates.name(dialect, None, &mut meaning);
        let effect = |effect: &Effect| match &effect.object {
            Object::Endpoint(endpoint) => {
                let operation = endpoint.operation.as_deref().unwrap_or("-");
                format!("{} {} ({}, {operation})", effect.verb.as_str(), effect.object, endpoint.path)
            }
            object => format!("{} {object}", effect.verb.as_str()),
        };
        let effects = meaning.effects.iter().map(effect);
        effects.chain(meaning.hazards.iter().map(|hazard| format!("! {}", hazard.as_str()))).collect::<Vec<_>>()
    };
    assert_eq!(effects(Dialect::Plain, "GET", "/users/7", ""), ["invoke GET /users/{id} (/users/7, getUser)"]);
    assert_eq!(effects(Dialect::Plain, "HEAD", "/users/7", ""), ["invoke HEAD /users/{id} (/users/7, getUser)"]);
    assert_eq!(effects(Dialect::Plain, "GET", "/nowhere", ""), ["unknown GET /nowhere (/nowhere, -)", "! unknown"]);
    assert_eq!(effects(Dialect::Plain, "PUT", "/users/7", ""), ["unknown PUT /users/7 (/users/7, -)", "! unknown"]);
    let chat = "invoke POST /v1/chat/completions (/v1/chat/completions, -)";
    assert_eq!(effects(Dialect::OpenAi, "POST", "/v1/chat/completions", r#"{"model":"m"}"#), [chat, "invoke m"]);
    // What the dialect knows stays known, and what it does not know stays unknown.
    assert_eq!(effects(Dialect::OpenAi, "GET", "/v1/models", ""), ["invoke GET /v1/models (/v1/models, -)"]);
    let evals = ["unknown GET /v1/evals/{id} (/v1/evals/7, -)", "! unknown"];
    assert_eq!(effects(Dialect::OpenAi, "GET", "/v1/evals/7", ""), evals);
}

#[test]
fn what_names_nothing_is_told_from_what_does() {
    let shop = templates(SHOP);
    for (name, named) in [
        ("GET /users/{id}", None),
        ("PUT /users/{id}", None),
        ("GET /users/all", None),
        ("GET /nowhere", None),
        ("GET /nowhere/{id}", None),
        ("PUT /users/7", None),
        ("GET", None),
        ("GET /users/7", Some("/users/{id}")),
        ("GET /users/ALL", Some("/users/{id}")),
        ("GET /users/{id}/", Some("/users/{id}")),
        ("GET /Users", Some("/users")),
        ("GET /users/{name}", Some("/users/{id}")),
        ("POST /v1/{id}:cancel", Some("/v1/{name}:cancel")),
        ("GET /users/{name", Some("/users/{id}")),
    ] {
        assert_eq!(shop.named_otherwise(name).map(|text| &**text), named, "{name}");
    }
}

/// Texts of which templates and paths are made, so that they often meet.
fn text() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "A", "ab", "a.b", ".", "-", "a:b", "%20", "%C3%A9", "%c3%89"])
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        text().prop_map(ToOwned::to_owned),
        Just("{x}".to_owned()),
        (text(), text()).prop_map(|(before, after)| format!("{before}{{x}}{after}")),
        text().prop_map(|after| format!("{{x}}{after}")),
        text().prop_map(|between| format!("{{x}}{between}{{y}}")),
    ]
}

fn template() -> impl Strategy<Value = String> {
    (vec(segment(), 1..3), any::<bool>()).prop_map(|(segments, slash)| {
        let path = segments.iter().map(|segment| format!("/{segment}")).collect::<String>();
        if slash { format!("{path}/") } else { path }
    })
}

/// Those of a list that there can be side by side.
fn service() -> impl Strategy<Value = Templates> {
    vec((select(vec!["GET", "POST"]), template()), 1..20).prop_map(|all| {
        let mut templates = Templates::default();
        for (method, template) in all {
            let _ = templates.add(&described(method, &template));
        }
        templates
    })
}

fn path() -> impl Strategy<Value = String> {
    let segment = vec(select(vec!["a", "b", "A", "B", "ab", ".", "-", ":", "%20", "%C3%A9", "%C3%89"]), 1..4)
        .prop_map(|parts| parts.concat());
    (vec(segment, 1..3), any::<bool>()).prop_map(|(segments, slash)| {
        let path = segments.iter().map(|segment| format!("/{segment}")).collect::<String>();
        if slash { format!("{path}/") } else { path }
    })
}

/// Whether a text fits a segment, tried out in every way.
fn tried(text: &[char], segment: &[char]) -> bool {
    match segment {
        [] => text.is_empty(),
        ['{', rest @ ..] => {
            let end = rest.iter().position(|c| *c == '}').unwrap();
            let after = rest.get(end + 1..).unwrap();
            (1..=text.len()).any(|taken| tried(text.get(taken..).unwrap(), after))
        }
        [c, rest @ ..] => text.split_first().is_some_and(|(first, text)| first == c && tried(text, rest)),
    }
}

fn tried_all(path: &str, template: &str) -> bool {
    let plain = |text: &str| text.replace("%20", " ").replace("%C3%A9", "\u{e9}").replace("%C3%89", "\u{c9}");
    let (path, template): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
    let chars = |text: &str| plain(text).chars().collect::<Vec<_>>();
    path.len() == template.len() && path.iter().zip(&template).all(|(text, segment)| tried(&chars(text), &chars(segment)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_looked_up_is_what_fits(service in service(), method in select(vec!["GET", "POST"]), path in path()) {
        let called = called(&service, method, &path, None);
        let of_method: Vec<(&Template, &str)> =
            service.templates.iter().filter_map(|one| Some((one, &*one.operation(method)?.template))).collect();
        let fitting: Vec<_> = of_method.iter().filter(|(_, text)| tried_all(&path, text)).collect();
        prop_assert_eq!(called.is_empty(), fitting.is_empty(), "{:?}", fitting);
        for (fit, text) in &fitting {
            let is_called = called.iter().any(|called| called == text);
            let is_beaten = fitting.iter().any(|(other, _)| other.is_more_exact(fit));
            prop_assert_eq!(is_called, !is_beaten, "{:?}", fit);
        }
        for name in &called {
            let loosely = |text: &str| folded(&text.replace("%C3%A9", "\u{e9}").replace("%C3%89", "\u{c9}")).trim_end_matches('/').to_owned();
            prop_assert!(tried_all(&loosely(&path), &loosely(name)), "{name}");
        }
    }

    #[test]
    fn another_spelling_calls_what_is_called_or_what_says_as_much(
        service in service(),
        method in select(vec!["GET", "POST"]),
        path in path(),
        flips in any::<u64>(),
        slash: bool,
    ) {
        let flip = |(n, c): (usize, char)| match flips >> (n % 64) & 1 {
            1 if c == 'a' || c == 'b' => c.to_ascii_uppercase(),
            _ => c,
        };
        let other: String = path.replace("%C3%89", "%C3%A9").chars().enumerate().map(flip).collect();
        let other = if slash { format!("{}/", other.trim_end_matches('/')) } else { other };
        let others = service.called(method, &other, None);
        let template = |operation: &Operation| service.templates.iter().find(|one| one.operations.contains(operation)).unwrap();
        for own in service.called(method, &path, None) {
            let is_there = others.is_empty() || others.iter().any(|other| template(other).says_as_much_as(template(own)));
            prop_assert!(is_there, "{} calls {:?}, and not {}", other, others, own.template);
        }
    }

    #[test]
    fn nothing_that_is_read_panics(service in service(), path in any::<String>(), sent in any::<Option<String>>(), template in any::<String>()) {
        let _ = service.called("GET", &path, sent.as_deref());
        let mut service = service;
        if service.add(&described("GET", &template)).is_ok() {
            let text = service.templates.last().and_then(|one| Some(one.operations.first()?.template.to_string())).unwrap_or_default();
            // What a template is called is a template itself, the same.
            prop_assert!(Templates::default().add(&described("GET", &text)).is_ok());
        }
    }
}
