//! How requests to HTTP services are read, and their content.

use std::sync::Arc;

use claviger_dialects::{Described, Dialect, Templates};
use claviger_policy::PolicySet;
use claviger_protocols::http;
use claviger_session::{ContentRules, FieldPattern, Sent};

use super::validate::At;
use super::{Config, ConfigError, Files, openapi, raw};

impl Config {
    /// Refuses policies that name endpoints otherwise than they are named where paths are described: a forbid would forbid nothing, nor would the
    /// exception of a permit be one.
    pub(crate) fn check_endpoints(&self, policies: &PolicySet) -> Result<(), ConfigError> {
        for (about, endpoint) in policies.endpoints() {
            let Some((connection, name)) = endpoint.split_once('/') else { continue };
            let connection = self.connections.iter().find(|known| known.name.as_str() == connection);
            let templates = connection.and_then(|connection| connection.contents.templates.as_ref());
            if let Some(template) = templates.and_then(|templates| templates.named_otherwise(name)) {
                let file = self.dir.join("policies").join(&*about.file);
                let message = format!("Endpoint::{endpoint:?}: such endpoints are named by their template, `{template}`");
                return Err(ConfigError::Malformed { file, line: about.line, message });
            }
        }
        Ok(())
    }
}

impl At<'_> {
    /// Nothing where a connection is of another kind.
    pub(super) fn contents(&self, kind: &str, raw: &raw::Connection, files: &Files) -> Result<ContentRules, ConfigError> {
        if kind != http::ENTRY.kind {
            return Ok(ContentRules::default());
        }
        let sent = [("mask", Sent::Masked), ("tokens", Sent::Swapped), ("pass", Sent::Plain)];
        Ok(ContentRules {
            dialect: self.word("dialect", raw.dialect.as_deref().unwrap_or("plain"), &Dialect::WORDS)?,
            templates: self.templates(raw, files)?.map(Arc::new),
            sent: self.word("requests", raw.requests.as_deref().unwrap_or("mask"), &sent)?,
            fields: Arc::new(self.labelled::<FieldPattern, _>(&raw.classify)?),
        })
    }

    /// The paths that a service has, as far as it is said which: by its description, and by what is named beside it.
    fn templates(&self, raw: &raw::Connection, files: &Files) -> Result<Option<Templates>, ConfigError> {
        let described = raw.openapi.as_ref().and_then(|path| files.descriptions.get_key_value(path));
        let described = described.map(|(path, text)| openapi::templates(&self.beside(path), text)).transpose()?;
        let Some(endpoints) = &raw.endpoints else { return Ok(described) };
        let mut templates = described.unwrap_or_default();
        for endpoint in endpoints {
            let shown: String = endpoint.chars().take(80).collect();
            let no_endpoint = || self.error("endpoints", format!("`{shown}` is not a method and a path: `GET /users/{{id}}`"));
            let (method, template) = endpoint.split_once(' ').ok_or_else(no_endpoint)?;
            let method = http::METHODS.iter().find(|known| **known == method).ok_or_else(no_endpoint)?;
            let endpoint = Described { method, template: template.to_owned(), operation: None };
            templates.add(&endpoint).map_err(|wrong| self.error("endpoints", format!("`{shown}` {wrong}")))?;
        }
        Ok(Some(templates))
    }
}
