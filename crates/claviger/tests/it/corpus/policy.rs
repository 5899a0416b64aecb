//! Playing policy cases: what is decided on a text, however it is sent, and that the server's tables say the same.

use std::collections::HashMap;

use super::cases::{Case, Sql, Step};
use super::ground::{Changes, Ground};
use super::player::{Message, errors, rows};
use crate::oracle::script;

/// How a case came out: what was got, and whether that is what is expected.
pub(super) struct Outcome {
    pub(super) got: String,
    pub(super) passed: bool,
    /// The cluster is not as it was and cannot be made so.
    pub(super) spoilt: bool,
}

/// Plays a case by every protocol that can carry it. All ways must come out as expected.
pub(super) async fn play(ground: &mut Ground, case: &Case) -> Outcome {
    let case = case.placed(|text| ground.place(text));
    let mut got: Vec<String> = Vec::new();
    let (mut passed, mut spoilt) = (true, false);
    for (way, steps) in ways(&case) {
        let written = ground.written().await;
        let (one, as_expected) = one_way(ground, &case, &steps).await;
        passed &= as_expected;
        if got.first() != Some(&one) {
            got.push(if got.is_empty() { one } else { format!("{way}: {one}") });
        }
        if ground.written().await != written && !ground.restore().await {
            spoilt = true;
            break;
        }
    }
    Outcome { got: got.join("; "), passed, spoilt }
}

/// One text can come as a simple query, and as a prepared statement if it is only one.
fn ways(case: &Case) -> Vec<(&'static str, Vec<Step>)> {
    let mut ways = vec![("simple", case.steps())];
    if let Sql::Text(text) = &case.sql
        && is_one_statement(text)
    {
        ways.push(("extended", vec![Step::extended(text)]));
    }
    ways
}

pub(super) fn is_one_statement(text: &str) -> bool {
    script::statements(&format!("{text}\n;"), &mut HashMap::new()).len() <= 1
}

async fn one_way(ground: &mut Ground, case: &Case, steps: &[Step]) -> (String, bool) {
    let before = ground.set_up(case).await;
    let (written, decided, logged) = (ground.written().await, ground.decided(), ground.logged());
    let mut player = ground.enter(role(case));
    let (mut answers, mut text) = (Vec::new(), "");
    for step in steps {
        text = step.text();
        answers = player.play(step);
        if refusal(&answers, &ground.verdicts(decided)).is_some() {
            break;
        }
    }
    let refusal = refusal(&answers, &ground.verdicts(decided));
    let lives = player.lives();
    drop(player);
    let mut faults = Vec::new();
    match refusal {
        Some(_) => {
            let changes = ground.changes_since(&written).await;
            faults.extend((!changes.is_empty() && changes != before).then_some("the server's tables changed"));
            // What is held may yet be approved when it is to be done.
            let held = refusal == Some("approval");
            faults.extend(ground.reached(logged, text, held).then_some("it reached the server"));
            faults.extend((!rows(&answers).is_empty()).then_some("rows came"));
            faults.extend((!lives).then_some("the session died"));
        }
        None => faults.extend((!does_as_directly(ground, case, steps, &written).await).then_some("its effect is not the same")),
    }
    let got = refusal.unwrap_or("allow");
    // What the server itself says is the case's own.
    let said = errors(&answers).next().filter(|_| refusal.is_none()).map(|(code, _)| format!(" (the server: {code})"));
    let faulty = faults.iter().map(|fault| format!(", but {fault}")).collect::<String>();
    (format!("{got}{}{faulty}", said.unwrap_or_default()), faults.is_empty() && got == case.expect)
}

fn role(case: &Case) -> &str {
    case.role.as_deref().unwrap_or("superuser")
}

/// Whether what has been done through the gateway is what the same steps do without it: the same tables changed, and have as many
/// rows. (Their values may hold the time, or chance.)
async fn does_as_directly(ground: &mut Ground, case: &Case, steps: &[Step], written: &str) -> bool {
    let through = ground.changes_since(written).await;
    if !through.is_empty() && !ground.restore().await {
        return false;
    }
    let written = ground.written().await;
    if !through.is_empty() {
        ground.set_up(case).await;
    }
    let mut direct = ground.direct(role(case));
    steps.iter().for_each(|step| _ = direct.play(step));
    drop(direct);
    let ours = |changes: Changes| changes.into_iter().filter(|(name, _)| !is_the_servers(name)).collect::<Changes>();
    let (through, direct) = (ours(through), ours(ground.changes_since(&written).await));
    if through != direct {
        eprintln!("{}: through the gateway {through:?}, directly {direct:?}", case.id);
    }
    through == direct
}

fn is_the_servers(table: &str) -> bool {
    table.starts_with("pg_") || table.starts_with("information_schema.")
}

/// `blocked` or `approval`, if the gateway refused: the client has an error with SQLSTATE 42501, and the record says why.
pub(super) fn refusal(answers: &[Message], verdicts: &[String]) -> Option<&'static str> {
    let told = errors(answers).any(|(code, _)| code == "42501");
    let held = verdicts.iter().any(|verdict| verdict == "hold");
    let denied = verdicts.iter().any(|verdict| verdict == "deny");
    match (told, held, denied) {
        (true, _, true) => Some("blocked"),
        (true, true, false) => Some("approval"),
        _ => None,
    }
}
