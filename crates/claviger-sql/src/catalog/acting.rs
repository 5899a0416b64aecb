//! Types whose own code does more than compute.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Catalog, TypeFacts};

/// For how many search paths it is known.
const PATHS: usize = 64;

/// Which types they are, for each search path for which that was asked: to find out takes a while, and is asked of every statement. A catalog
/// that was made of another does not know it yet.
#[derive(Debug, Default)]
pub(crate) struct Acting(Mutex<HashMap<Vec<Arc<str>>, Kinds>>);

/// OIDs of types.
type Kinds = Arc<HashSet<u32>>;

impl Acting {
    pub(crate) fn of(&self, path: &[Arc<str>]) -> Option<Arc<HashSet<u32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).map(Arc::clone)
    }

    pub(crate) fn put(&self, path: &[Arc<str>], kinds: HashSet<u32>) -> Arc<HashSet<u32>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PATHS {
            known.clear();
        }
        Arc::clone(known.entry(path.to_vec()).or_insert_with(|| Arc::new(kinds)))
    }
}

impl Clone for Acting {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Catalog {
    pub(crate) fn acting(&self) -> &Acting {
        &self.acting
    }

    /// Whether any type has code that may run without being asked for: an implicit cast, or a check.
    pub(crate) fn has_code_of_types(&self) -> bool {
        self.code_of_types
    }

    /// The types of the users' own that check their values.
    pub(crate) fn types_with_checks(&self) -> impl Iterator<Item = &Arc<TypeFacts>> {
        self.types.values().filter(|kind| has_checks(kind))
    }

    pub(super) fn finds_code_of_types(&mut self) {
        self.code_of_types = self.casts.iter().any(|cast| cast.implicit) || self.types.values().any(has_checks);
    }
}

fn has_checks(kind: &Arc<TypeFacts>) -> bool {
    !kind.checks.is_empty() && !matches!(&*kind.schema, "pg_catalog" | "information_schema")
}
