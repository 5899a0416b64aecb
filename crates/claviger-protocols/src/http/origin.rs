//! Where an upstream sends its clients on to.

use super::path::Target;

/// The upstream as a client knows it.
pub(super) struct Origin {
    /// What the upstream calls itself.
    pub(super) host: String,
    /// How clients name it in the first segment, where they do.
    pub(super) connection: Option<String>,
}

impl Origin {
    /// What a client is told in place of this reference (RFC 9110, section 10.2.2); nothing if it leads anywhere else. A client that followed
    /// it would take its token along, or ask another connection for what it has asked this one.
    pub(super) fn reference(&self, value: &[u8]) -> Option<String> {
        // Some clients take a backslash for a slash.
        let plain = |text: &&str| text.bytes().all(|c| c.is_ascii_graphic() && c != b'\\');
        let text = std::str::from_utf8(value).ok().filter(plain)?;
        let (text, fragment) = text.split_once('#').map_or((text, None), |(text, fragment)| (text, Some(fragment)));
        let target = match text.find([':', '/', '?']).map(|at| text.split_at(at)) {
            // Relative to the request's own path, which begins with the connection's name already.
            None => return (!is_dots(text)).then(|| text.to_owned()),
            Some((before, rest)) if rest.starts_with('?') && !is_dots(before) => return Some(text.to_owned()),
            Some(("", _)) if !text.starts_with("//") => text,
            Some(("http" | "https", rest)) => self.own(rest.strip_prefix("://")?)?,
            _ => return None,
        };
        let target = Target::read(target.as_bytes(), None, false).ok()?;
        let mut out = self.connection.as_ref().map(|name| format!("/{name}").into_bytes()).unwrap_or_default();
        target.write(&mut out);
        let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
        String::from_utf8(out).ok().map(|path| path + &fragment)
    }

    /// The path of what is at this upstream.
    fn own<'a>(&self, rest: &'a str) -> Option<&'a str> {
        let path = rest.strip_prefix(self.host.as_str())?;
        match path {
            "" => Some("/"),
            path if path.starts_with('/') => Some(path),
            _ => None,
        }
    }
}

fn is_dots(segment: &str) -> bool {
    segment == "." || segment == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        let shared = Origin { host: "api.test:8443".into(), connection: Some("models".into()) };
        let own = Origin { host: "api.test:8443".into(), connection: None };
        for (value, as_shared, as_own) in [
            ("/v1/x?a=b#c", Some("/models/v1/x?a=b#c"), Some("/v1/x?a=b#c")),
            ("https://api.test:8443/v1/x", Some("/models/v1/x"), Some("/v1/x")),
            ("https://api.test:8443", Some("/models/"), Some("/")),
            ("x", Some("x"), Some("x")),
            ("x?a=/b", Some("x?a=/b"), Some("x?a=/b")),
            ("?a=b", Some("?a=b"), Some("?a=b")),
            ("https://elsewhere.test/v1/x", None, None),
            ("https://api.test:8443.elsewhere.test/", None, None),
            ("https://api.test:8443@elsewhere.test/", None, None),
            ("//elsewhere.test/", None, None),
            ("/../billing/x", None, None),
            ("..", None, None),
            ("x/../../y", None, None),
            ("javascript:alert(1)", None, None),
            ("\\\\elsewhere.test", None, None),
        ] {
            assert_eq!(shared.reference(value.as_bytes()).as_deref(), as_shared, "{value}");
            assert_eq!(own.reference(value.as_bytes()).as_deref(), as_own, "{value}");
        }
    }
}
