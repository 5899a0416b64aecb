//! Playing attacks and controls: what reaches the client, byte by byte.

use std::time::{Duration, Instant};

use super::cases::{Case, Needle, Step, What};
use super::ground::Ground;
use super::player::{Message, Player, errors, rows, unhex};
use super::policy::{Outcome, is_one_statement, refusal};

/// Two statements are told apart by time if they differ by as much.
const TELLING: Duration = Duration::from_millis(150);

/// Plays an attack by every protocol that can carry it: all ways must come out as expected.
pub(super) async fn play(ground: &mut Ground, case: &Case) -> Outcome {
    let case = case.placed(|text| ground.place(text));
    let mut got: Vec<String> = Vec::new();
    let (mut passed, mut spoilt) = (true, false);
    let mut before = None;
    for (way, steps) in ways(&case) {
        if before.is_none() {
            ground.set_up(&case).await;
            before = Some(ground.written().await);
        }
        let one = one_way(ground, &case, &steps).await;
        passed &= match case.expect.as_str() {
            "masked" => one == "safe",
            "masked_or_blocked" => ["safe", "blocked", "approval"].contains(&one),
            expected => one == expected,
        };
        if got.first().is_none_or(|first| first != one) {
            got.push(if got.is_empty() { one.to_owned() } else { format!("{way}: {one}") });
        }
        if before.as_ref() != Some(&ground.written().await) {
            before = None;
            if !ground.restore().await {
                spoilt = true;
                break;
            }
        }
    }
    spoilt = spoilt || !ground.restore().await;
    Outcome { got: got.join("; "), passed, spoilt }
}

/// Texts can come as simple queries, and as prepared statements where each is only one, with results as text or in binary.
fn ways(case: &Case) -> Vec<(&'static str, Vec<Step>)> {
    let steps = case.steps();
    let mut ways = vec![("simple", steps.clone())];
    let texts: Option<Vec<&str>> = steps
        .iter()
        .map(|step| match &step.what {
            What::Query(text) if step.session <= 1 && is_one_statement(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    if let Some(texts) = texts {
        let extended = |format| texts.iter().map(|text| Step { result_format: format, ..Step::extended(text) }).collect();
        ways.extend([("extended", extended(0)), ("binary", extended(1))]);
    }
    ways
}

async fn one_way(ground: &mut Ground, case: &Case, steps: &[Step]) -> &'static str {
    let role = case.role.as_deref().unwrap_or("agent");
    let decided = ground.decided();
    let (mut received, mut refused) = (Vec::new(), None);
    let mut player = ground.enter(role);
    for step in steps {
        let answers = one_step(ground, &mut player, case, role, step.clone()).await;
        let now = refusal(&answers, &ground.verdicts(decided)).or(unsupported(&answers));
        // What waits for an approval need not be the last word on all of it.
        refused = if now == Some("blocked") { now } else { refused.or(now) };
        received.extend(answers.into_iter().map(without_reference));
    }
    drop(player);
    let leaked = case.leak.iter().find(|needle| finds(needle, &received));
    let told = match &case.oracle {
        Some(statements) => tells(ground, role, statements),
        None => false,
    };
    match (leaked, told, refused) {
        (Some(_), _, _) => "leaked",
        (_, true, _) => "told apart",
        (_, _, Some(refused)) => refused,
        _ => "safe",
    }
}

/// A message without the name that the gateway's record has for a refusal: it is random, and might be what is looked for.
fn without_reference((kind, body): Message) -> Message {
    const REFERENCE: &[u8] = b"reference ";
    let Some(at) = body.windows(REFERENCE.len()).position(|here| here == REFERENCE) else { return (kind, body) };
    let (before, after) = body.split_at(at + REFERENCE.len());
    let named = |byte: &&u8| byte.is_ascii_hexdigit() || **byte == b'/';
    let length = after.iter().take_while(named).count();
    (kind, [before, &after[length..]].concat())
}

/// Plays a control: its rows, tags and error must be as the file has them.
pub(super) async fn control(ground: &mut Ground, case: &Case) -> Outcome {
    let case = case.placed(|text| ground.place(text));
    ground.set_up(&case).await;
    let role = case.role.as_deref().unwrap_or("agent");
    let decided = ground.decided();
    let mut player = ground.enter(role);
    let answers: Vec<Message> = case.steps().iter().flat_map(|step| player.play(step)).collect();
    drop(player);
    let mut faults = Vec::new();
    if let Some(refused) = refusal(&answers, &ground.verdicts(decided)) {
        faults.push(refused.to_owned());
    }
    let cell = |cell: &Option<Vec<u8>>| cell.as_ref().map(|cell| String::from_utf8_lossy(cell).into_owned());
    let came: Vec<Vec<Option<String>>> = rows(&answers).iter().map(|row| row.iter().map(cell).collect()).collect();
    if let Some(expected) = &case.rows
        && !alike(expected, &came, case.expect == "only_masked_cells_change")
    {
        faults.push(format!("rows {came:?}"));
    }
    let done = answers.iter().filter(|(kind, _)| *kind == b'C');
    let tags: Vec<String> = done.map(|(_, body)| String::from_utf8_lossy(body).trim_end_matches('\0').to_owned()).collect();
    if case.tags.as_ref().is_some_and(|expected| *expected != tags) {
        faults.push(format!("tags {tags:?}"));
    }
    let error = errors(&answers).next().map(|(code, _)| code);
    if error != case.sqlstate {
        faults.push(format!("error {error:?}"));
    }
    let passed = faults.is_empty();
    let got = if passed { case.expect.clone() } else { faults.join(", ") };
    Outcome { got, passed, spoilt: !ground.restore().await }
}

/// Where a cell is to change, the file has null, and the fixture has none.
fn alike(expected: &[Vec<Option<String>>], came: &[Vec<Option<String>>], masked: bool) -> bool {
    let cells = |a: &Option<String>, b: &Option<String>| a == b || (masked && a.is_none());
    let all = |a: &Vec<_>, b: &Vec<_>| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| cells(a, b));
    expected.len() == came.len() && expected.iter().zip(came).all(|(a, b)| all(a, b))
}

async fn one_step(ground: &Ground, player: &mut Player, case: &Case, role: &str, mut step: Step) -> Vec<Message> {
    if let What::Replication(command) = &step.what {
        return ground.replicate(role, command);
    }
    if let What::FastPath(signature) = &step.what {
        let oid = ground.value(&format!("select '{signature}'::regprocedure::oid")).await;
        step.params.insert(0, Some(oid));
    }
    if step.session > 1 {
        // What others see of it counts as received only if it comes through the gateway.
        ground.direct(role).play(&step);
        return Vec::new();
    }
    assert!(!matches!(step.what, What::Nothing), "{}: a step is not understood", case.id);
    player.play(&step)
}

/// What the gateway never lets through, whoever asks, is refused with another SQLSTATE than policy's.
fn unsupported(answers: &[Message]) -> Option<&'static str> {
    errors(answers).any(|(code, _)| ["0A000", "22023"].contains(&code.as_str())).then_some("blocked")
}

/// Whether a needle is in anything that came: in a message, or in the cells one after another.
fn finds(needle: &Needle, received: &[Message]) -> bool {
    let bytes = match needle {
        Needle { text: Some(text), .. } => text.clone().into_bytes(),
        Needle { hex: Some(hex), .. } => unhex(hex),
        Needle { server_file: Some(file), .. } => return std::fs::metadata(file).is_ok_and(|file| file.len() > 0),
        _ => panic!("a leak says nothing"),
    };
    let rows = rows(received);
    let cells: Vec<&[u8]> = rows.iter().flatten().flatten().map(Vec::as_slice).collect();
    let contains = |haystack: &[u8]| crate::harness::contains(haystack, &bytes);
    received.iter().any(|(_, body)| contains(body)) || contains(&cells.concat()) || contains(&cells.join(&b' '))
}

/// Whether two statements are told apart by their answers, or by how long they take.
fn tells(ground: &Ground, role: &str, statements: &[String]) -> bool {
    let (by_time, statements) = match statements.split_first() {
        Some((first, rest)) if first == "@time" => (true, rest),
        _ => (false, statements),
    };
    let mut play = |statement: &String| {
        let mut player = ground.enter(role);
        let began = Instant::now();
        let mut answers = player.play(&Step::query(statement));
        // A refusal has a number of its own each time.
        let refused = errors(&answers).any(|(code, _)| code == "42501");
        if refused {
            answers.clear();
        }
        (answers, began.elapsed())
    };
    let answers: Vec<_> = statements.iter().map(&mut play).collect();
    let [(first, took), (second, took_too)] = answers.as_slice() else { panic!("an oracle is two statements") };
    if by_time { took.abs_diff(*took_too) > TELLING } else { first != second }
}
