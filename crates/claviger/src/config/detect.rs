//! What texts are searched for on a connection.

use claviger_mask::detect::{CustomPattern, DetectorConfig, DetectorError, Entity, EntitySet, Style, TermList};
use claviger_session::Detecting;

use super::validate::At;
use super::{ConfigError, raw};

/// The longest file of terms, in bytes.
const TERMS_FILE: u64 = 16 << 20;

impl At<'_> {
    /// Where something is classified, all that is looked for by default.
    pub(super) fn detecting(&self, raw: &raw::Connection) -> Result<Option<Detecting>, ConfigError> {
        // What is asked of a model leaves for others, and people are named by their addresses there.
        let talks = raw.dialect.as_deref().is_some_and(|dialect| dialect != "plain");
        let mut usual = EntitySet::default();
        if talks {
            usual.insert(Entity::Email);
        }
        let config = match &raw.detect {
            None if raw.classify.is_empty() => return Ok(None),
            Some(raw::Detect::All(false)) => return Ok(None),
            None | Some(raw::Detect::All(true)) => DetectorConfig { on: usual, ..DetectorConfig::default() },
            Some(raw::Detect::These(names)) => {
                let mut on = EntitySet::NONE;
                self.entities("detect", names)?.for_each(|entity| on.insert(entity));
                DetectorConfig { on, ..DetectorConfig::default() }
            }
            Some(raw::Detect::Chosen(chosen)) => self.key("detect").chosen(chosen, usual)?,
        };
        Detecting::new(config).map(Some).map_err(|error| match &error {
            DetectorError::Style(_) => self.key("detect").error("replace", error.to_string()),
            DetectorError::TooManyTerms | DetectorError::Term { .. } => self.key("detect").error("terms", error.to_string()),
            _ => self.key("detect").error("patterns", error.to_string()),
        })
    }

    fn chosen(&self, raw: &raw::Detectors, mut on: EntitySet) -> Result<DetectorConfig, ConfigError> {
        self.entities("also", &raw.also)?.for_each(|entity| on.insert(entity));
        self.entities("off", &raw.off)?.for_each(|entity| on.remove(entity));
        let replace = self.key("replace");
        let styles = raw.replace.iter().map(|(name, word)| {
            let entity = replace.entity(name, name)?;
            Ok((entity, replace.word(name, word, &Style::WORDS)?))
        });
        let patterns = raw.patterns.iter().map(|raw| CustomPattern {
            name: raw.name.clone(),
            pattern: raw.pattern.clone(),
            words: raw.words.clone(),
        });
        let terms = raw.terms.iter().enumerate().map(|(i, raw)| self.entry("terms", i, &raw.name).terms(raw));
        Ok(DetectorConfig {
            on,
            styles: styles.collect::<Result<_, _>>()?,
            patterns: patterns.collect(),
            terms: terms.collect::<Result<_, _>>()?,
        })
    }

    /// A list's terms: those that are named, and the lines of its file.
    fn terms(&self, raw: &raw::Terms) -> Result<TermList, ConfigError> {
        let mut words = raw.words.clone();
        if let Some(file) = &raw.file {
            let file = self.file("file", file)?;
            let unreadable = |reason: String| self.error("file", format!("`{}`: {reason}", file.display()));
            let length = std::fs::metadata(&file).map_err(|error| unreadable(error.to_string()))?.len();
            if length > TERMS_FILE {
                return Err(unreadable(format!("longer than {TERMS_FILE} bytes")));
            }
            let text = std::fs::read_to_string(&file).map_err(|error| unreadable(error.to_string()))?;
            words.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(ToOwned::to_owned));
        }
        if words.is_empty() {
            return Err(self.error("words", "needs `words`, or a `file` of them"));
        }
        Ok(TermList { name: raw.name.clone(), words: words.into() })
    }

    fn entities(&self, key: &str, names: &[String]) -> Result<impl Iterator<Item = Entity>, ConfigError> {
        let entities = names.iter().map(|name| self.entity(key, name)).collect::<Result<Vec<_>, _>>()?;
        Ok(entities.into_iter())
    }

    fn entity(&self, key: &str, name: &str) -> Result<Entity, ConfigError> {
        let shown: String = name.chars().take(80).collect();
        name.parse().map_err(|error| self.error(key, format!("`{shown}`: {error}")))
    }
}
