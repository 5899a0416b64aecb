//! For each action on each type of thing, the policies that can say anything about it.

use std::sync::OnceLock;

use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy, ResourceConstraint};
use claviger_model::Verb;

use crate::PolicySet;
use crate::entities::Kind;
use crate::mentions::Mentions;

/// Policies whose scope fits one action on one type of thing. The rest could neither apply nor err: Cedar looks at a scope first.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) policies: cedar_policy::PolicySet,
    /// What they look at.
    pub(crate) mentions: Mentions,
}

/// All of them, each made when it is first needed.
#[derive(Debug)]
pub(crate) struct Slices([[OnceLock<Slice>; Kind::ALL.len()]; Verb::ALL.len()]);

impl Slices {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new())))
    }

    /// The policies for this action on this type of thing. `None` cannot happen.
    pub(crate) fn get(&self, set: &PolicySet, verb: Verb, kind: Kind) -> Option<&Slice> {
        let slot = self.0.get(verb as usize)?.get(kind as usize)?;
        Some(slot.get_or_init(|| {
            let mut slice = Slice::default();
            for policy in set.policies.policies().filter(|policy| fits(policy, set, verb, kind)) {
                slice.mentions.add(&Mentions::of(policy));
                // The ids are those of a set, so none is there twice.
                let _ = slice.policies.add(policy.clone());
            }
            slice
        }))
    }
}

fn fits(policy: &Policy, set: &PolicySet, verb: Verb, kind: Kind) -> bool {
    let action = set.names.verb(verb);
    let named = |uid: &EntityUid| *uid == action;
    // What cannot be understood is permitted only by who says so: it could be anything that others forbid.
    let by_name = verb == Verb::Unknown && policy.effect() == Effect::Permit;
    let held = |uid: &EntityUid| named(uid) || (!by_name && set.actions.is_ancestor_of(uid, &action));
    let action_fits = match policy.action_constraint() {
        ActionConstraint::Any => !by_name,
        ActionConstraint::Eq(uid) => named(&uid),
        ActionConstraint::In(uids) => uids.iter().any(held),
    };
    let of_kind = |type_name: &cedar_policy::EntityTypeName| *type_name == *set.names.kind(kind);
    action_fits
        && match policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::In(_) => true,
            ResourceConstraint::Eq(uid) => of_kind(uid.type_name()),
            ResourceConstraint::Is(type_name) | ResourceConstraint::IsIn(type_name, _) => of_kind(&type_name),
        }
}
