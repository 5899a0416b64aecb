//! What a service's description says of its paths: OpenAPI 3, or Swagger 2.0, in JSON or YAML.
//!
//! Only paths, methods, names of operations and the paths of servers are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use claviger_dialects::{Described, Templates, WrongTemplate};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::ConfigError;

/// The longest description, in bytes.
const LONGEST: u64 = 32 << 20;

/// So much of a server's address is looked at for variables, in bytes: longer templates are refused.
const LONGEST_ADDRESS: usize = 16 << 10;

/// The most references that lead from one to the next.
const MOST_STEPS: usize = 8;

/// Reads a description's text.
pub(crate) fn read(file: &Path) -> Result<String, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { file: file.to_owned(), reason };
    let length = std::fs::metadata(file).map_err(|error| unreadable(error.to_string()))?.len();
    if length > LONGEST {
        return Err(unreadable(format!("longer than {LONGEST} bytes")));
    }
    super::read(file)
}

/// The templates of all operations that a description has. What is wrong is said with its place in the file.
pub(crate) fn templates(file: &Path, text: &str) -> Result<Templates, ConfigError> {
    let wrong = |key: String, message: String| ConfigError::Invalid { file: file.to_owned(), key, message };
    let description = Description::parse(file, text)?;
    description.check_version().map_err(|(key, message)| wrong(key.to_owned(), message))?;
    let mut templates = Templates::default();
    let paths = description.paths.as_ref().map(|Paths(paths)| paths.as_slice()).unwrap_or_default();
    if paths.is_empty() {
        return Err(wrong("paths".to_owned(), "is missing, or empty".to_owned()));
    }
    for (path, item) in paths {
        let place = format!("paths.{path}");
        if !path.starts_with('/') {
            return Err(wrong(place, WrongTemplate::NoPath.to_string()));
        }
        let Some(item) = item else { continue };
        let item = description.resolve(item).map_err(|message| wrong(place.clone(), message))?;
        for (method, operation) in item.operations() {
            for prefix in description.prefixes(item, operation) {
                let template = format!("{prefix}{path}");
                let described = Described { method, template, operation: operation.id.as_deref().map(Into::into) };
                let message = |error| format!("`{}` {error}", described.template);
                templates.add(&described).map_err(|error| wrong(place.clone(), message(error)))?;
            }
        }
    }
    Ok(templates)
}

#[derive(Deserialize)]
struct Description {
    openapi: Option<Scalar>,
    swagger: Option<Scalar>,
    #[serde(rename = "basePath")]
    base_path: Option<String>,
    servers: Option<Vec<Server>>,
    paths: Option<Paths>,
    components: Option<Components>,
}

/// In the order of the file; a path that is there twice is there twice.
struct Paths(Vec<(String, Option<Item>)>);

#[derive(Deserialize)]
struct Components {
    #[serde(rename = "pathItems")]
    path_items: Option<BTreeMap<String, Item>>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "$ref")]
    reference: Option<String>,
    servers: Option<Vec<Server>>,
    get: Option<Operation>,
    head: Option<Operation>,
    post: Option<Operation>,
    put: Option<Operation>,
    patch: Option<Operation>,
    delete: Option<Operation>,
    options: Option<Operation>,
}

#[derive(Deserialize)]
struct Operation {
    #[serde(rename = "operationId")]
    id: Option<String>,
    servers: Option<Vec<Server>>,
}

#[derive(Deserialize)]
struct Server {
    url: String,
    variables: Option<BTreeMap<String, Variable>>,
}

#[derive(Deserialize)]
struct Variable {
    default: Option<Scalar>,
}

/// A text, or what YAML takes for something else: `swagger: 2.0`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Whole(i64),
    Number(f64),
    Flag(bool),
}

impl Description {
    fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let malformed = |line, message: String| ConfigError::Malformed { file: file.to_owned(), line, message };
        let text = text.trim_start_matches('\u{feff}');
        if text.trim_start().starts_with('{') {
            return serde_json::from_str(text).map_err(|error| malformed(error.line(), error.to_string()));
        }
        let line = |error: &serde_yaml_ng::Error| error.location().map_or(1, |location| location.line());
        serde_yaml_ng::from_str(text).map_err(|error| malformed(line(&error), error.to_string()))
    }

    fn check_version(&self) -> Result<(), (&'static str, String)> {
        let (key, version, known) = match (&self.openapi, &self.swagger) {
            (Some(version), _) => ("openapi", version.to_string(), "3."),
            (None, Some(version)) => ("swagger", version.to_string(), "2."),
            (None, None) => return Err(("openapi", "is missing: this is no description in the form of OpenAPI".to_owned())),
        };
        let shown: String = version.chars().take(80).collect();
        // YAML takes `3.0` for a number, which is as good as `3`.
        let is_known = version.starts_with(known) || version == known.trim_end_matches('.');
        if is_known {
            Ok(())
        } else {
            Err((key, format!("`{shown}` is not a version that is known: 3.0, 3.1, or Swagger's 2.0")))
        }
    }

    /// A path's item itself, or what it refers to in the same file (RFC 6901, section 6).
    fn resolve<'a>(&'a self, item: &'a Item) -> Result<&'a Item, String> {
        let mut item = item;
        for _ in 0..MOST_STEPS {
            let Some(reference) = &item.reference else { return Ok(item) };
            let found = self.referred(reference);
            item = found.ok_or_else(|| format!("refers to `{reference}`, which is not among the paths of this file"))?;
        }
        Err(format!("leads over more than {MOST_STEPS} references"))
    }

    fn referred(&self, reference: &str) -> Option<&Item> {
        let unescaped = |name: &str| name.replace("~1", "/").replace("~0", "~");
        if let Some(name) = reference.strip_prefix("#/components/pathItems/") {
            return self.components.as_ref()?.path_items.as_ref()?.get(&unescaped(name));
        }
        let name = unescaped(reference.strip_prefix("#/paths/")?);
        let Paths(paths) = self.paths.as_ref()?;
        paths.iter().find(|(path, _)| *path == name)?.1.as_ref()
    }

    /// What stands before an operation's path, which the nearest servers say.
    fn prefixes(&self, item: &Item, operation: &Operation) -> BTreeSet<String> {
        if self.openapi.is_none() {
            return [path_of(self.base_path.as_deref().unwrap_or_default())].into();
        }
        let said = [&operation.servers, &item.servers, &self.servers];
        let servers = said.into_iter().flatten().find(|servers| !servers.is_empty());
        servers.map_or_else(|| [String::new()].into(), |servers| servers.iter().map(Server::path).collect())
    }
}

impl Item {
    fn operations(&self) -> impl Iterator<Item = (&'static str, &Operation)> {
        let all = [
            ("GET", &self.get),
            ("HEAD", &self.head),
            ("POST", &self.post),
            ("PUT", &self.put),
            ("PATCH", &self.patch),
            ("DELETE", &self.delete),
            ("OPTIONS", &self.options),
        ];
        all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
    }
}

impl Server {
    /// The path of its address, with what its variables are by default; one that is nothing by default is a parameter.
    fn path(&self) -> String {
        let default = |name: &str| self.variables.as_ref()?.get(name)?.default.as_ref();
        let (mut url, mut rest) = (String::new(), &*self.url);
        while url.len() < LONGEST_ADDRESS
            && let Some((before, (name, after))) =
                rest.split_once('{').and_then(|(before, after)| Some((before, after.split_once('}')?)))
        {
            url.push_str(before);
            match default(name) {
                Some(default) => url.push_str(&default.to_string()),
                None => url.extend(["{", name, "}"]),
            }
            rest = after;
        }
        path_of(&(url + rest))
    }
}

/// The path of an address without a slash at its end. What is relative is so to where the description would be, at the root.
fn path_of(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let authority = |rest: &str| rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default().to_owned();
    let path = match (url.strip_prefix("//"), url.split_once("://")) {
        (Some(rest), _) => authority(rest),
        (None, _) if url.starts_with('/') => url.to_owned(),
        (None, Some((_, rest))) => authority(rest),
        (None, None) => {
            let steps = url.split('/').filter(|step| !matches!(*step, "" | "." | ".."));
            steps.flat_map(|step| ["/", step]).collect()
        }
    };
    path.trim_end_matches('/').to_owned()
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collected;

        impl<'de> Visitor<'de> for Collected {
            type Value = Paths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("paths with what they have")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Paths, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = map.next_key::<String>()? {
                    // Extensions (OpenAPI 3.1, section 4.9).
                    match path.starts_with("x-") {
                        true => _ = map.next_value::<IgnoredAny>()?,
                        false => paths.push((path, map.next_value()?)),
                    }
                }
                Ok(Paths(paths))
            }
        }

        deserializer.deserialize_map(Collected)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Whole(number) => number.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use claviger_dialects::{Dialect, Request};
    use claviger_model::Object;

    use super::*;

    fn read(text: &str) -> Result<Templates, String> {
        templates(Path::new("d"), text).map_err(|error| error.to_string())
    }

    /// The template of a request in a description, and what its operation is called.
    fn found(text: &str, method: &'static str, path: &str) -> Option<String> {
        let templates = read(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let request = Request { method, path, query: None, content_type: None, prompt: None, content: b"" };
        let mut meaning = Dialect::Plain.read(&request).ok()?.meaning;
        templates.name(Dialect::Plain, None, &mut meaning);
        meaning.effects.iter().find_map(|effect| match &effect.object {
            Object::Endpoint(endpoint) => {
                Some(format!("{} {}", endpoint.template.as_ref()?, endpoint.operation.as_deref().unwrap_or("-")))
            }
            _ => None,
        })
    }

    #[test]
    fn descriptions_are_json_or_yaml_of_any_version() {
        let json = r#"{"openapi": "3.0.3", "paths": {"x-notes": 1, "/a/{b}": {"summary": "s", "parameters": [], "x-y": {},
            "get": {"operationId": "one", "responses": {"200": {}}}, "trace": {}}}, "servers": []}"#;
        let yaml = "openapi: 3.1.0\nwebhooks: {}\npaths:\n  /a/{b}:\n    get:\n      operationId: one\n      responses:\n        200: {}\n  /c:";
        let swagger = "swagger: 2.0\nhost: h\nbasePath: /\npaths:\n  /a/{b}: { get: { operationId: one } }";
        let marked = format!("\u{feff}\n{json}");
        for text in [json, yaml, swagger, &marked] {
            assert_eq!(found(text, "GET", "/a/7").as_deref(), Some("/a/{b} one"), "{text}");
            assert_eq!(found(text, "PUT", "/a/7"), None);
        }
    }

    #[test]
    fn the_nearest_servers_say_what_stands_before_paths() {
        let of = |servers: &str, path: &str| {
            let text = format!("openapi: 3.0.0\nservers: {servers}\npaths:\n  /a: {{ get: {{}} }}");
            found(&text, "GET", path)
        };
        for (servers, path) in [
            ("[]", "/a"),
            ("~", "/a"),
            ("[{ url: / }]", "/a"),
            ("[{ url: '' }]", "/a"),
            ("[{ url: . }]", "/a"),
            ("[{ url: ../v1 }]", "/v1/a"),
            ("[{ url: v1/x/ }]", "/v1/x/a"),
            ("[{ url: /v1/ }]", "/v1/a"),
            ("[{ url: 'https://h' }]", "/a"),
            ("[{ url: 'https://h:8443/v1?x#y' }]", "/v1/a"),
            ("[{ url: '//h/v1' }]", "/v1/a"),
            ("[{ url: 'https://{t}.h/{v}', variables: { t: { default: x }, v: { default: 2 } } }]", "/2/a"),
            ("[{ url: 'https://{t}.h/v1' }]", "/v1/a"),
            // What stands in the place of one is no other.
            ("[{ url: '/{v}', variables: { v: { default: '{w}' }, w: { default: x } } }]", "/{w}/a"),
        ] {
            assert_eq!(of(servers, path).as_deref(), Some(&*format!("{path} -")), "{servers}");
        }
        assert_eq!(of("[{ url: '/{tenant}' }]", "/acme/a").as_deref(), Some("/{tenant}/a -"));
        let both = "[{ url: /v1 }, { url: 'https://h/v2' }, { url: 'http://h/v2' }]";
        assert_eq!((of(both, "/v1/a").is_some(), of(both, "/v2/a").is_some(), of(both, "/a")), (true, true, None));
        let nearer = "openapi: 3.0.0\nservers: [{ url: /root }]\npaths:\n  /a:\n    servers: [{ url: /path }]\n    get: {}\n    \
                      put: { servers: [{ url: /own }] }\n  /b: { get: {} }";
        for (method, path) in [("GET", "/path/a"), ("PUT", "/own/a"), ("GET", "/root/b")] {
            assert!(found(nearer, method, path).is_some(), "{path}");
        }
        assert_eq!((found(nearer, "PUT", "/path/a"), found(nearer, "GET", "/root/a")), (None, None));
        assert!(
            found("swagger: '2.0'\nbasePath: /v2/\nservers: [{ url: /x }]\npaths: { /a: { get: {} } }", "GET", "/v2/a").is_some()
        );
    }

    #[test]
    fn items_are_followed_in_the_file_and_not_beyond() {
        let of = |reference: &str| {
            format!("openapi: 3.1.0\npaths:\n  /a: {{ $ref: '{reference}' }}\ncomponents:\n  pathItems:\n    x: {{ get: {{}} }}")
        };
        assert!(found(&of("#/components/pathItems/x"), "GET", "/a").is_some());
        let beside = "openapi: 3.1.0\npaths:\n  /a~b/{c}: { get: {} }\n  /d: { $ref: '#/paths/~1a~0b~1{c}' }\n  /e: { $ref: '#/paths/~1d' }";
        assert!(["/a~b/7", "/d", "/e"].iter().all(|path| found(beside, "GET", path).is_some()));
        let round = "openapi: 3.1.0\npaths:\n  /a: { $ref: '#/paths/~1a' }";
        assert_eq!(read(round).unwrap_err(), "d: `paths./a`: leads over more than 8 references");
        for elsewhere in ["#/components/pathItems/y", "a.yaml", "https://h/a.yaml"] {
            let error = read(&of(elsewhere)).unwrap_err();
            assert!(error.starts_with(&format!("d: `paths./a`: refers to `{elsewhere}`")), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let paths = |paths: &str| format!("openapi: 3.1.0\npaths:\n  {paths}");
        for (text, expected) in [
            ("", "d: `openapi`: is missing"),
            ("just words", "d:1: "),
            ("[1, 2]", "d:1: "),
            ("{\n  \"openapi\": \"3.0.0\",\n  \"paths\": }", "d:3: "),
            ("info: {}\npaths: { /a: {} }", "d: `openapi`: is missing"),
            ("openapi: 4.0.0\npaths: { /a: {} }", "d: `openapi`: `4.0.0` is not a version"),
            ("swagger: '1.2'\napis: []", "d: `swagger`: `1.2` is not a version"),
            ("openapi: 3.1.0\nwebhooks: {}", "d: `paths`: is missing, or empty"),
            (&paths("{}"), "d: `paths`: is missing, or empty"),
            (&paths("a: { get: {} }"), "d: `paths.a`: does not begin with a slash"),
            (&paths("/a: { get: [] }"), "d:3: "),
            (&paths("'/a/{b': { get: {} }"), "d: `paths./a/{b`: `/a/{b` has braces"),
            (&paths("/a/{b}: { get: {} }\n  /a/{c}: { get: {} }"), "d: `paths./a/{c}`: `/a/{c}` fits the same paths as `/a/{b}`"),
            (
                "{\"openapi\": \"3.0.0\", \"paths\": {\"/a\": {\"get\": {}}, \"/a\": {\"get\": {}}}}",
                "is there twice with the method GET",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        // Each name stands for nine of the one before it.
        let names: Vec<String> =
            (1..12).map(|n| format!("x{n}: &x{n} [{}]", vec![format!("*x{}", n - 1); 9].join(", "))).collect();
        let bomb = format!("x0: &x0 [x]\n{}\nopenapi: 3.0.0\npaths: *x11", names.join("\n"));
        assert!(read(&bomb).is_err());
    }
}
