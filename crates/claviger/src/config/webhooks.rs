//! `[[webhooks]]`: who is told of what happens to requests for approval.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use claviger_identity::Reach;
use claviger_session::CredentialRef;

use super::validate::{At, DAY};
use super::{ConfigError, raw};
use crate::webhooks::EVENTS;

/// The most webhooks.
const MOST: usize = 32;
/// How long a receiver may take, if nothing is said, and at most.
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));
/// How long a message is tried, at most.
const LONGEST: Duration = Duration::from_secs(3 * 24 * 3600);

/// A webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebhookConfig {
    /// How it is called in the record and in metrics.
    pub(crate) name: Arc<str>,
    /// Where its receiver is; whoever knows it may be able to write there, so it is shown nowhere.
    pub(crate) url: String,
    /// With which secrets messages are signed: with each of them, so that they can be changed.
    pub(crate) secrets: Vec<CredentialRef>,
    /// Of what it is told.
    pub(crate) events: Vec<&'static str>,
    /// How long the receiver may take to answer.
    pub(crate) timeout: Duration,
    /// How long a message is tried.
    pub(crate) give_up: Duration,
    /// Whether it is told the statement too.
    pub(crate) statement: bool,
    /// The authorities to trust for it, instead of the system's.
    pub(crate) tls_ca: Option<PathBuf>,
}

impl At<'_> {
    pub(super) fn webhooks(&self, raw: &[raw::Webhook]) -> Result<Vec<WebhookConfig>, ConfigError> {
        let mut webhooks: Vec<WebhookConfig> = Vec::with_capacity(raw.len());
        for (i, raw) in raw.iter().enumerate() {
            let at = self.entry("webhooks", i, &raw.name);
            let webhook = at.webhook(raw)?;
            if webhooks.iter().any(|known| known.name == webhook.name) {
                return Err(at.error("name", format!("`{}` is used twice", webhook.name)));
            }
            webhooks.push(webhook);
        }
        if webhooks.len() > MOST {
            return Err(self.error("webhooks", format!("there can be {MOST} of them")));
        }
        Ok(webhooks)
    }

    fn webhook(&self, raw: &raw::Webhook) -> Result<WebhookConfig, ConfigError> {
        // Without the address: receivers put what must not be known into it.
        if Reach::of(&raw.url).is_none() {
            return Err(self.error("url", "must begin with `https://`, or be `http://` on this machine"));
        }
        let timeout = self.duration("timeout", raw.timeout.as_deref(), TIMEOUT.0)?;
        if timeout > TIMEOUT.1 {
            return Err(self.error("timeout", "must be at most `60s`: what comes after it waits"));
        }
        let give_up = self.duration("give_up", raw.give_up.as_deref(), DAY)?;
        if give_up > LONGEST {
            return Err(self.error("give_up", "must be at most `3d`"));
        }
        Ok(WebhookConfig {
            name: self.label("name", &raw.name)?,
            url: raw.url.clone(),
            secrets: self.webhook_secrets(raw.secret.as_ref())?,
            events: self.events(raw.events.as_deref())?,
            timeout,
            give_up,
            statement: raw.statement,
            tls_ca: raw.tls_ca.as_deref().map(|path| self.file("tls_ca", path)).transpose()?,
        })
    }

    fn webhook_secrets(&self, raw: Option<&toml::Value>) -> Result<Vec<CredentialRef>, ConfigError> {
        let needed = "is needed: `env:NAME` or `file:PATH`, or a list of such, references to what messages are signed with";
        match raw {
            None => Err(self.error("secret", needed)),
            Some(toml::Value::Array(list)) if list.is_empty() => Err(self.error("secret", needed)),
            Some(toml::Value::Array(list)) => list.iter().map(|one| self.credential("secret", one)).collect(),
            Some(one) => Ok(vec![self.credential("secret", one)?]),
        }
    }

    fn events(&self, raw: Option<&[String]>) -> Result<Vec<&'static str>, ConfigError> {
        let words: Vec<_> = EVENTS.iter().map(|event| (*event, *event)).collect();
        match raw {
            None => Ok(EVENTS.to_vec()),
            Some([]) => Err(self.error("events", "at least one is needed")),
            Some(events) => events.iter().map(|event| self.word("events", event, &words)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]

    use std::time::Duration;

    use super::super::tests::{BASE, load, wrong};

    #[test]
    fn webhooks_are_told_by_signed_messages_and_safe_roads() {
        let hook = "[[webhooks]]\nname = \"ops\"\nurl = \"https://hooks.internal/x?token=sesame\"\n";
        let config = load(&format!("{BASE}{hook}secret = [\"file:password\", \"env:OLD\"]\nevents = [\"approval.denied\"]\n"));
        let [webhook] = &config.webhooks[..] else { panic!() };
        assert_eq!((webhook.secrets.len(), &webhook.events[..]), (2, &["approval.denied"][..]));
        assert_eq!((webhook.give_up, webhook.statement), (Duration::from_secs(86_400), false));
        let env = "secret = \"env:X\"\n";
        for (toml, words) in [
            (hook.to_owned(), "`webhooks[0] (ops).secret`: is needed"),
            (format!("{hook}secret = []\n"), "is needed"),
            (format!("{hook}secret = \"whsec_c2VzYW1l\"\n"), "a reference to the secret"),
            (format!("{hook}{env}events = [\"approval.lost\"]\n"), "`approval.lost` is not one of"),
            (format!("{hook}{env}timeout = \"2m\"\n"), "at most `60s`"),
            (format!("{hook}{env}give_up = \"4d\"\n"), "at most `3d`"),
            (format!("{}{env}", hook.replace("https://hooks", "http://sesame")), "must begin with `https://`"),
            (format!("{hook}{env}{hook}{env}"), "used twice"),
            ("[approvals]\nlink = \"https://review.internal/\"\n".to_owned(), "an address with `{id}` in it"),
            ("[approvals]\nper_minute = 0\n".to_owned(), "more than nothing"),
        ] {
            let said = wrong(&format!("{BASE}{toml}"));
            assert!(said.contains(words) && !said.contains("sesame") && !said.contains("c2VzYW1l"), "{said}");
        }
        let usual = load(BASE).reviewing;
        assert_eq!(
            (usual.per_minute, load(&format!("{BASE}[approvals]\npending_per_principal = 50\n")).reviewing.per_minute),
            (60, 150)
        );
    }
}
