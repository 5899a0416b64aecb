//! Forms with files (RFC 7578), read where there is one way to read them.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use crate::NotRead;

/// How many parts there may be, and how long their heads may be.
const MOST: usize = 256;
const LONGEST_HEAD: usize = 4096;

/// A form.
#[derive(Debug)]
pub(crate) struct Multipart<'a> {
    content: &'a [u8],
    parts: Vec<Part<'a>>,
}

/// A field, or a file.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(super) name: Cow<'a, str>,
    /// Whether it has the name of a file.
    pub(super) is_file: bool,
    body: &'a [u8],
    span: Range<usize>,
}

impl<'a> Part<'a> {
    /// What it says, if it is a text.
    pub(super) fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.body).ok().filter(|text| !text.contains('\0'))
    }
}

impl<'a> Multipart<'a> {
    pub(super) fn read(content: &'a [u8], content_type: &str) -> Result<Self, NotRead> {
        let boundary = parameter(content_type, "boundary")?.filter(|boundary| (1..=70).contains(&boundary.len()));
        let line = format!("--{}", boundary.ok_or(NotRead::Syntax)?);
        let mut parts = Vec::new();
        let mut at = if content.starts_with(line.as_bytes()) { line.len() } else { return Err(NotRead::Syntax) };
        let break_and_line = format!("\r\n{line}");
        loop {
            let rest = content.get(at..).unwrap_or_default();
            if let Some(end) = rest.strip_prefix(b"--") {
                let ends = matches!(end, b"" | b"\r\n");
                return if ends { Ok(Self { content, parts }) } else { Err(NotRead::Syntax) };
            }
            if parts.len() == MOST || !rest.starts_with(b"\r\n") {
                return Err(NotRead::Syntax);
            }
            at += 2;
            let rest = content.get(at..).unwrap_or_default();
            let head = find(rest.get(..LONGEST_HEAD).unwrap_or(rest), b"\r\n\r\n").ok_or(NotRead::Syntax)?;
            let body = at + head + 4;
            let length = find(content.get(body..).unwrap_or_default(), break_and_line.as_bytes()).ok_or(NotRead::Syntax)?;
            let head = rest.get(..head).and_then(|head| std::str::from_utf8(head).ok()).ok_or(NotRead::Syntax)?;
            let (name, is_file) = disposition(head)?;
            let span = body..body + length;
            parts.push(Part { name, is_file, body: content.get(span.clone()).unwrap_or_default(), span });
            at = body + length + break_and_line.len();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Part<'a>> {
        self.parts.iter()
    }

    /// The text of the one field of this name.
    pub(super) fn field(&self, name: &'static str) -> Result<Option<&'a str>, NotRead> {
        let mut fields = self.parts.iter().filter(|part| part.name == name);
        let first = fields.next();
        if fields.next().is_some() {
            return Err(NotRead::Twice);
        }
        first.map(|part| part.text().filter(|_| !part.is_file).ok_or(NotRead::Form(name))).transpose()
    }

    /// The form with other texts; `None` if all stay.
    pub(super) fn rewritten(&self, mut put: impl FnMut(&Part<'a>, &'a str) -> Option<String>) -> Result<Option<Bytes>, NotRead> {
        let mut out: Vec<u8> = Vec::new();
        let mut done = 0;
        for part in &self.parts {
            let Some(text) = part.text().and_then(|text| put(part, text)) else { continue };
            out.extend_from_slice(self.content.get(done..part.span.start).unwrap_or_default());
            out.extend_from_slice(text.as_bytes());
            done = part.span.end;
        }
        if done == 0 {
            return Ok(None);
        }
        out.extend_from_slice(self.content.get(done..).unwrap_or_default());
        Ok(Some(out.into()))
    }
}

/// The name of a field, and whether it is a file.
fn disposition(head: &str) -> Result<(Cow<'_, str>, bool), NotRead> {
    let mut found = None;
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or(NotRead::Syntax)?;
        if name.eq_ignore_ascii_case("content-disposition") && found.replace(value).is_some() {
            return Err(NotRead::Twice);
        }
        // What is coded otherwise is read by some and not by others.
        if name.eq_ignore_ascii_case("content-transfer-encoding") && !matches!(value.trim(), "binary" | "8bit" | "7bit") {
            return Err(NotRead::Syntax);
        }
    }
    let value = found.ok_or(NotRead::Syntax)?;
    // Some readers take the one that is coded, and others do not know it.
    if parameter(value, "name*")?.is_some() {
        return Err(NotRead::Syntax);
    }
    let name = parameter(value, "name")?.ok_or(NotRead::Syntax)?;
    let is_file = parameter(value, "filename")?.is_some() | parameter(value, "filename*")?.is_some();
    Ok((name, is_file))
}

/// A parameter of a header's value, which is there once.
fn parameter<'a>(value: &'a str, wanted: &str) -> Result<Option<Cow<'a, str>>, NotRead> {
    let mut wanted_is = None;
    let mut rest = value.split_once(';').map(|(_, rest)| rest);
    while let Some((name, after)) = rest.and_then(|rest| rest.split_once('=')) {
        // Words without a value may stand before it.
        let name = name.rsplit(';').next().unwrap_or_default().trim();
        let after = after.trim_start();
        let (found, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut escaped = false;
                let end = quoted.find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                let (inner, next) = quoted.split_at(end.ok_or(NotRead::Syntax)?);
                (unescaped(inner), next.get(1..).unwrap_or_default())
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (inner, next) = after.split_at(end);
                (Cow::Borrowed(inner.trim()), next)
            }
        };
        if name.eq_ignore_ascii_case(wanted) && wanted_is.replace(found).is_some() {
            return Err(NotRead::Twice);
        }
        rest = next.split_once(';').map(|(_, rest)| rest);
    }
    Ok(wanted_is)
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(out)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let next = from + rest.iter().position(|byte| Some(byte) == wanted.first())?;
        if bytes.get(next..)?.starts_with(wanted) {
            return Some(next);
        }
        from = next + 1;
    }
}
