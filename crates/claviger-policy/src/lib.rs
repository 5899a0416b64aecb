//! What is allowed.
//!
//! Policies are Cedar, validated strictly against the schema `claviger.cedarschema`: what does not validate is not loaded.
//! [`PolicySet::decide`] asks them one [`Question`]: may this chain do this to that, under these circumstances? Every link
//! of the chain is asked, and all must be permitted, so that an agent never has more than the human it acts for, nor the
//! other way round. Where nothing permits, the answer is no; where a policy cannot be evaluated, the answer is no as well,
//! because Cedar by itself passes over a policy that fails, and a failing `forbid` would open the door.
//!
//! [`PolicySet::judge`] asks about what statements do: one question for each thing that is done to something, all of which must be
//! permitted. A denial is a hold if every policy that forbids carries `@approval`, and if asking again with the approval of all the
//! groups that these name would permit; loading refuses an `@approval` that does not lift its own policy. What a judgement can depend
//! on is known from what the policies look at, so that the same question again costs a look-up.
//!
//! Principals and groups of the local issuer, whose name is given to [`PolicySet::load`], stand in policies as they are:
//! `User::"alice"`. Those of every other issuer stand after its name and a slash: `User::"github/alice"`. A local name with a
//! slash could pass for a foreign one, so a chain with such a name is never permitted anything.
//!
//! Nothing here reads a clock, a file or a socket.

mod access;
mod approval;
mod cache;
mod decide;
mod entities;
mod errors;
mod judge;
mod load;
mod masking;
mod mentions;
mod names;
mod party;
mod questions;
mod risk;
mod scope;
mod slices;

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod judge_tests;
#[cfg(test)]
mod tests;

pub use access::AccessQuestion;
pub use decide::{Action, Answer, Context, Question, Resource};
pub use errors::{PolicyErrors, PolicyProblem};
pub use judge::{Answered, Judgement, Reply, Ruling};
pub use load::{About, PolicySet};
pub use masking::Disclosed;
pub use party::{GROUPS_OF, Lately, Matter, Moment, Party};
pub use questions::Asked;
pub use risk::Risk;
pub use scope::{Grants, InvalidTableName, Scope, TableName};
