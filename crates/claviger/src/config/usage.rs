//! How much may be used, and what it costs.

use std::sync::Arc;
use std::time::Duration;

use claviger_model::ConnectionName;
use claviger_session::{Budget, Holder, MICROS, Measure, Price, UsageRules};

use super::validate::At;
use super::{ConfigError, LOCAL_ISSUER, raw};

/// The most that a price, or a budget of cost, may be.
const MOST: f64 = 1e9;

impl At<'_> {
    pub(super) fn usage(&self, budgets: &[raw::Budget], prices: &[raw::Price]) -> Result<UsageRules, ConfigError> {
        let mut all: Vec<Budget> = Vec::with_capacity(budgets.len());
        for (n, raw) in budgets.iter().enumerate() {
            let at = self.entry("budgets", n, &raw.name);
            let budget = at.budget(raw)?;
            if all.iter().any(|other| other.name == budget.name) {
                return Err(at.error("name", format!("`{}` is used twice", budget.name)));
            }
            all.push(budget);
        }
        let price = |(n, raw): (usize, &raw::Price)| {
            let at = self.entry("prices", n, raw.models.first().map_or("", String::as_str));
            if raw.models.is_empty() {
                return Err(at.error("models", "must name a model, such as `gpt-4o` or `gpt-4o*`"));
            }
            Ok(Price {
                models: raw.models.iter().map(|model| Arc::from(model.as_str())).collect(),
                connection: at.connection_of(raw.connection.as_deref())?,
                input: at.money("input", raw.input)?,
                output: at.money("output", raw.output)?,
            })
        };
        Ok(UsageRules { budgets: all, prices: prices.iter().enumerate().map(price).collect::<Result<_, _>>()? })
    }

    fn budget(&self, raw: &raw::Budget) -> Result<Budget, ConfigError> {
        let whole = |key, given: Option<u64>| match given {
            Some(0) => Err(self.error(key, "must be at least 1: policies say who may do nothing")),
            given => Ok(given),
        };
        let bytes = raw.bytes.as_deref().map(|text| self.size("bytes", Some(text), 0)).transpose()?;
        let cost = raw.cost.map(|cost| self.money("cost", cost)).transpose()?;
        let most = [
            (Measure::Requests, whole("requests", raw.requests)?),
            (Measure::Tokens, whole("tokens", raw.tokens)?),
            (Measure::Cost, whole("cost", cost)?),
            (Measure::Rows, whole("rows", raw.rows)?),
            (Measure::Bytes, whole("bytes", bytes.map(|bytes| bytes as u64))?),
        ];
        let most: Vec<_> = most.into_iter().filter_map(|(measure, most)| Some((measure, most?))).collect();
        if most.is_empty() {
            return Err(self.error("requests", "or `tokens`, `cost`, `rows` or `bytes` must say how much there is"));
        }
        let per = self.duration("per", Some(&raw.per), Duration::ZERO)?;
        if per < Duration::from_secs(1) {
            return Err(self.error("per", "must be at least `1s`"));
        }
        let group = |name: &String| match name.split_once('/') {
            Some((issuer, group)) => (issuer.into(), group.into()),
            None => (LOCAL_ISSUER.into(), name.as_str().into()),
        };
        Ok(Budget {
            name: self.not_empty("name", &raw.name)?.into(),
            connection: self.connection_of(raw.connection.as_deref())?,
            groups: raw.groups.iter().map(group).collect(),
            holder: self.word("of", raw.of.as_deref().unwrap_or("each"), &[("each", Holder::Each), ("all", Holder::All)])?,
            per,
            most,
        })
    }

    fn connection_of(&self, name: Option<&str>) -> Result<Option<ConnectionName>, ConfigError> {
        name.map(|name| self.parse("connection", name)).transpose()
    }

    /// An amount in millionths.
    fn money(&self, key: &str, amount: f64) -> Result<u64, ConfigError> {
        if !(0.0..=MOST).contains(&amount) {
            return Err(self.error(key, "must be an amount of money, from 0 up"));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        // Within bounds: see above.
        let micros = (amount * MICROS as f64).round() as u64;
        Ok(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{BASE, load, wrong};
    use super::*;

    #[test]
    fn budgets_and_prices_are_read() {
        let usage = load(&format!(
            "{BASE}[[connections]]\nname = 'openai'\nkind = 'http'\naddress = 'api'\n[[budgets]]\nname = 'a-day'\nconnection = 'openai'\ngroups = ['agents', 'corp/bots']\nper = '1d'\ntokens = 1000\ncost = 2.5\n\
             [[prices]]\nmodels = ['gpt-4o*']\ninput = 0.15\noutput = 0.6\n"
        ))
        .usage;
        let [budget] = &usage.budgets[..] else { panic!("{usage:?}") };
        assert_eq!(budget.most, [(Measure::Tokens, 1000), (Measure::Cost, 2_500_000)]);
        assert_eq!((budget.holder, budget.per), (Holder::Each, Duration::from_secs(86_400)));
        assert_eq!(budget.groups, [("local".into(), "agents".into()), ("corp".into(), "bots".into())]);
        assert_eq!((usage.prices[0].input, usage.prices[0].output), (150_000, 600_000));
    }

    #[test]
    fn what_would_be_no_budget_is_refused() {
        for (more, expected) in [
            ("[[budgets]]\nname = 'x'\nper = '1h'", "(x).requests`: or `tokens`"),
            ("[[budgets]]\nname = 'x'\nper = '1h'\nrows = 0", "(x).rows`: must be at least 1"),
            ("[[budgets]]\nname = ''\nper = '1h'\nrows = 1", ".name`: must not be empty"),
            ("[[budgets]]\nname = 'x'\nper = '1h'\ncost = -1.0", "(x).cost`: must be an amount"),
            ("[[budgets]]\nname = 'x'\nper = '1h'\nrows = 1\nof = 'some'", "(x).of`: `some` is not one of"),
            (
                "[[budgets]]\nname = 'x'\nper = '1h'\nrows = 1\nconnection = 'other'",
                "budgets.connection`: there is no connection `other`",
            ),
            ("[[prices]]\nmodels = []\ninput = 1\noutput = 1", ".models`: must name a model"),
        ] {
            let error = wrong(&format!("{BASE}{more}"));
            assert!(error.contains(expected), "{more}: {error}");
        }
    }
}
