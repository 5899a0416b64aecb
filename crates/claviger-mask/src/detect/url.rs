//! URLs and domain names. Off unless asked for: they are all over ordinary texts.

use super::Entity;
use super::scan::Scan;
use super::text::Text;

/// Generic top-level domains that are in wide use; those of countries are all that have two letters (IANA, *Root Zone Database*).
const TOP: &[&[u8]] = &[
    b"com",
    b"org",
    b"net",
    b"edu",
    b"gov",
    b"mil",
    b"int",
    b"info",
    b"biz",
    b"name",
    b"pro",
    b"mobi",
    b"app",
    b"dev",
    b"io",
    b"shop",
    b"online",
    b"site",
    b"store",
    b"tech",
    b"cloud",
    b"blog",
    b"xyz",
    b"club",
    b"live",
    b"news",
    b"agency",
    b"bank",
    b"digital",
    b"group",
    b"email",
    b"solutions",
    b"systems",
    b"world",
    b"today",
    b"top",
    b"travel",
    b"museum",
    b"coop",
    b"aero",
    b"jobs",
    b"tel",
    b"asia",
    b"cat",
];

/// What has two letters after a dot and is no country: abbreviations, and names of files.
const NO_COUNTRIES: &[&[u8]] =
    &[b"js", b"ts", b"py", b"rs", b"go", b"md", b"sh", b"cs", b"db", b"gz", b"xz", b"am", b"pm", b"eg"];

/// The longest host name (RFC 1035, 2.3.4).
pub(super) const HOST: usize = 255;

pub(super) fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')
}

impl Scan<'_, '_> {
    /// Looks a whole text over for them.
    pub(super) fn urls(&mut self) {
        self.urls_from(0);
    }

    /// The same from a place on; says where to go on when there is more of the text.
    pub(super) fn urls_from(&mut self, from: usize) -> usize {
        let mut place = from;
        while let Some(dot) = self.text.near(place, self.text.len()).iter().position(|byte| *byte == b'.') {
            let dot = place + dot;
            let found = self.found.len();
            self.text.close();
            place = dot + 1;
            let start = self.text.token_start(dot, dot.saturating_sub(HOST), is_host);
            let end = self.text.run_end(dot, is_host);
            if self.text.before(start) != b'@' && self.text.at(end) != b'@' && is_domain(self.text, start, end) {
                let (start, end) = (self.scheme(start), self.path(end));
                self.report(Entity::Url, start..end, 60);
            }
            if self.text.is_open() {
                self.found.truncate(found);
                return dot;
            }
            place = place.max(end);
        }
        self.text.len().max(place)
    }

    fn scheme(&self, host: usize) -> usize {
        if !self.text.slice(host.saturating_sub(3)..host).ends_with(b"://") {
            return host;
        }
        self.text.run_start(host - 3, host.saturating_sub(12), |byte| byte.is_ascii_alphabetic())
    }

    /// Behind port, path, query and fragment; without what rather ends the sentence.
    fn path(&self, host: usize) -> usize {
        let host = host - usize::from(self.text.before(host) == b'.');
        if !matches!(self.text.at(host), b'/' | b':' | b'?' | b'#') {
            return host;
        }
        let end = self.text.run_end(host, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'`'));
        self.text.run_start(end, host, |byte| matches!(byte, b'.' | b',' | b';' | b':' | b'!' | b'?' | b')' | b'\'')).max(host)
    }
}

fn is_domain(text: Text<'_>, start: usize, end: usize) -> bool {
    let host = text.slice(start..end);
    let host = host.strip_suffix(b".").unwrap_or(host);
    let labels = host.split(|byte| *byte == b'.');
    if labels
        .clone()
        .any(|label| label.is_empty() || label.len() > 63 || label.first() == Some(&b'-') || label.last() == Some(&b'-'))
    {
        return false;
    }
    let top = labels.clone().next_back().unwrap_or_default().to_ascii_lowercase();
    let country = top.len() == 2 && top.iter().all(u8::is_ascii_alphabetic) && !NO_COUNTRIES.contains(&top.as_slice());
    host.len() >= 4 && labels.count() >= 2 && (country || TOP.contains(&top.as_slice()))
}
