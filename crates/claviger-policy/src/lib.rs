//! What is allowed.
//!
//! Policies are Cedar, validated strictly against the schema `claviger.cedarschema`: what does not validate is not loaded.
//! [`PolicySet::decide`] asks them one [`Question`]: may this chain do this to that, under these circumstances? Every link
//! of the chain is asked, and all must be permitted, so that an agent never has more than the human it acts for, nor the
//! other way round. Where nothing permits, the answer is no; where a policy cannot be evaluated, the answer is no as well,
//! because Cedar by itself passes over a policy that fails, and a failing `forbid` would open the door.
//!
//! Principals and groups of the local issuer, whose name is given to [`PolicySet::load`], stand in policies as they are:
//! `User::"alice"`. Those of every other issuer stand after its name and a slash: `User::"github/alice"`. A local name with a
//! slash could pass for a foreign one, so a chain with such a name is never permitted anything.
//!
//! Nothing here reads a clock, a file or a socket.

mod decide;
mod errors;
mod load;
mod names;

#[cfg(test)]
mod tests;

pub use decide::{Action, Answer, Context, Question, Resource};
pub use errors::{PolicyErrors, PolicyProblem};
pub use load::PolicySet;
