//! What the names of labels have stood for, in the store.

use std::sync::Arc;

use claviger_proxy::Bindings;
use claviger_sql::Binding;
use claviger_store::Store;

pub(super) struct Stored(pub(super) Arc<Store>);

impl Bindings for Stored {
    fn load(&self, database: &str) -> Result<Vec<Binding>, String> {
        let stored = self.0.bindings(database).map_err(|error| error.to_string())?;
        Ok(stored.into_iter().map(|(name, relation, column)| Binding { name, relation, column }).collect())
    }

    fn keep(&self, database: &str, bindings: &[Binding]) -> Result<(), String> {
        let stored: Vec<_> = bindings.iter().map(|one| (Arc::clone(&one.name), one.relation, one.column)).collect();
        self.0.keep_bindings(database, &stored).map_err(|error| error.to_string())
    }
}
