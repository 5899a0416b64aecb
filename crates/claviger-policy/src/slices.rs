//! For each action on each type of thing, and for each sort of principal, the policies that can say anything about it.

use std::sync::{Arc, OnceLock};

use cedar_policy::{ActionConstraint, Effect, EntityTypeName, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use claviger_model::{Principal, Verb};

use crate::PolicySet;
use crate::cache::Cache;
use crate::entities::Kind;
use crate::mentions::Mentions;
use crate::names::{Ambiguous, Names};

/// How many of those for sorts of principals are remembered.
const SORTS: usize = 4096;

/// Policies whose scope fits. The rest could neither apply nor err: Cedar looks at a scope first.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) policies: cedar_policy::PolicySet,
    /// What they look at.
    pub(crate) mentions: Mentions,
}

impl Slice {
    fn of<'p>(policies: impl Iterator<Item = &'p Policy>) -> Self {
        let mut slice = Self::default();
        for policy in policies {
            slice.mentions.add(&Mentions::of(policy));
            // The ids are those of a set, so none is there twice.
            let _ = slice.policies.add(policy.clone());
        }
        slice
    }
}

/// All of them, each made when it is first needed.
pub(crate) struct Slices {
    for_all: [[OnceLock<Slice>; Kind::ALL.len()]; Verb::ALL.len()],
    /// What the policies' scopes say of principals, each once.
    constraints: Vec<PrincipalConstraint>,
    by_sort: Cache<(Verb, Kind, Sort), Arc<Slice>>,
}

/// Principals whom the same policies fit: for each of the constraints whether it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sort(Arc<[bool]>);

impl Slices {
    pub(crate) fn new(policies: &cedar_policy::PolicySet) -> Self {
        let mut constraints = Vec::new();
        for constraint in policies.policies().map(Policy::principal_constraint) {
            if !constraints.contains(&constraint) {
                constraints.push(constraint);
            }
        }
        Self {
            for_all: std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new())),
            constraints,
            by_sort: Cache::new(SORTS),
        }
    }

    /// What sort of principal this is.
    pub(crate) fn sort(&self, principal: &Principal, names: &Names) -> Result<Sort, Ambiguous> {
        let uid = names.principal(principal.kind, &principal.key)?;
        let groups = principal.groups.iter().map(|group| names.group(&principal.key.issuer, group));
        let groups: Vec<EntityUid> = groups.collect::<Result<_, _>>()?;
        let within = |of: &EntityUid| *of == uid || groups.contains(of);
        let holds = |constraint: &PrincipalConstraint| match constraint {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::Eq(of) => *of == uid,
            PrincipalConstraint::In(of) => within(of),
            PrincipalConstraint::Is(kind) => kind == uid.type_name(),
            PrincipalConstraint::IsIn(kind, of) => kind == uid.type_name() && within(of),
        };
        Ok(Sort(self.constraints.iter().map(holds).collect()))
    }

    /// The policies for this action on this type of thing, whoever asks. `None` cannot happen.
    pub(crate) fn for_all(&self, set: &PolicySet, verb: Verb, kind: Kind) -> Option<&Slice> {
        let slot = self.for_all.get(verb as usize)?.get(kind as usize)?;
        Some(slot.get_or_init(|| Slice::of(set.policies.policies().filter(|policy| fits(policy, set, verb, kind)))))
    }

    /// Those for this sort of principal.
    pub(crate) fn for_sort(&self, set: &PolicySet, verb: Verb, kind: Kind, sort: &Sort) -> Option<Arc<Slice>> {
        let key = (verb, kind, sort.clone());
        if let Some(slice) = self.by_sort.get(&key) {
            return Some(slice);
        }
        let held = |policy: &&Policy| {
            let constraint = policy.principal_constraint();
            let of = self.constraints.iter().zip(&*sort.0).find(|(known, _)| **known == constraint);
            of.is_none_or(|(_, holds)| *holds)
        };
        let slice = Arc::new(Slice::of(self.for_all(set, verb, kind)?.policies.policies().filter(held)));
        self.by_sort.put(key, Arc::clone(&slice));
        Some(slice)
    }
}

fn fits(policy: &Policy, set: &PolicySet, verb: Verb, kind: Kind) -> bool {
    let action = set.names.verb(verb);
    let named = |uid: &EntityUid| *uid == action;
    // What cannot be understood is permitted only by who says so: it could be anything that others forbid.
    // And to see what is classified is never part of something else.
    let by_name =
        matches!(verb, Verb::Unknown | Verb::Reveal | Verb::Filter | Verb::Aggregate) && policy.effect() == Effect::Permit;
    let held = |uid: &EntityUid| named(uid) || (!by_name && set.actions.is_ancestor_of(uid, &action));
    let action_fits = match policy.action_constraint() {
        ActionConstraint::Any => !by_name,
        ActionConstraint::Eq(uid) => named(&uid),
        ActionConstraint::In(uids) => uids.iter().any(held),
    };
    let of_kind = |type_name: &EntityTypeName| type_name == set.names.kind(kind);
    action_fits
        && match policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::In(_) => true,
            ResourceConstraint::Eq(uid) => of_kind(uid.type_name()),
            ResourceConstraint::Is(type_name) | ResourceConstraint::IsIn(type_name, _) => of_kind(&type_name),
        }
}
