//! What tokens cost.

use std::sync::Arc;

use claviger_model::{ConnectionName, Tokens};

/// What the tokens of some models cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The models, by their names; a star at the end is any ending.
    pub models: Vec<Arc<str>>,
    /// Where; everywhere if it is not said.
    pub connection: Option<ConnectionName>,
    /// What a million tokens of prompts cost, in millionths.
    pub input: u64,
    /// What a million tokens of answers cost, in millionths.
    pub output: u64,
}

impl Price {
    fn fits(&self, connection: &ConnectionName, model: &str) -> bool {
        let named = |pattern: &Arc<str>| match pattern.strip_suffix('*') {
            Some(start) => model.starts_with(start),
            None => **pattern == *model,
        };
        self.connection.as_ref().is_none_or(|of| of == connection) && self.models.iter().any(named)
    }

    fn of(&self, tokens: Tokens) -> u64 {
        let cost = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let all = (cost(tokens.input, self.input) + cost(tokens.output, self.output)).div_ceil(u128::from(super::MICROS));
        u64::try_from(all).unwrap_or(u64::MAX)
    }
}

/// What these tokens cost, in millionths; nothing if there is no price.
pub(crate) fn cost(prices: &[Price], connection: &ConnectionName, model: &str, tokens: Tokens) -> u64 {
    prices.iter().find(|price| price.fits(connection, model)).map_or(0, |price| price.of(tokens))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_first_price_that_fits_counts() {
        let price = |model: &str, connection: Option<&str>, input, output| Price {
            models: vec![model.into()],
            connection: connection.map(|name| name.parse().unwrap()),
            input,
            output,
        };
        let prices = [
            price("gpt-4o", Some("cheap"), 0, 0),
            price("gpt-4o", None, 2_500_000, 10_000_000),
            price("gpt-4o*", None, 150_000, 600_000),
        ];
        let tokens = Tokens { input: 1000, output: 101, said: true };
        let of = |connection: &str, model: &str| cost(&prices, &connection.parse().unwrap(), model, tokens);
        assert_eq!((of("cheap", "gpt-4o"), of("openai", "gpt-4o")), (0, 2500 + 1010));
        assert_eq!((of("openai", "gpt-4o-mini"), of("openai", "other")), (150 + 61, 0), "what is begun counts");
    }
}
