//! `claviger approvals`

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use claviger_api::wire::{
    Access, AccessQuery, Approval, ApprovalNeed, ApprovalQuery, PastOperation, Review, ReviewVerdict, RowCount,
};
use claviger_api::{Followed, Management};
use claviger_model::ApprovalId;

use super::gateway::GatewayArgs;
use super::output::{Output, or_dash};
use super::{Failure, access};
use crate::visible::visible;

/// The status of an answer about what there is not (RFC 9110 section 15.5.5).
const NOT_FOUND: u16 = 404;
/// How much of a statement a list shows, in characters.
const GLANCE: usize = 60;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what waits for approval, access for a time included
    List {
        /// Also what is over
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Show what is asked for, by whom, what it does, and why it needs an approval; the looking is itself recorded
    Show {
        /// The request
        id: ApprovalId,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Count the rows that it is about, by a query that changes nothing; for those who may decide it, and recorded
    Count {
        /// The request
        id: ApprovalId,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Approve it
    Approve {
        #[command(flatten)]
        review: ReviewArgs,
    },
    /// Approve another statement in its place, which runs as whoever asked, if policy permits it to them
    #[command(after_help = "Example:\n  claviger approvals edit 0199.. --statement 'DELETE FROM payments WHERE id = 7'")]
    Edit {
        /// The statement
        #[arg(long, value_name = "SQL", required_unless_present = "file", conflicts_with = "file")]
        statement: Option<String>,
        /// A file with the statement
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        review: ReviewArgs,
    },
    /// Deny it, or take back what was granted and is not used
    Deny {
        #[command(flatten)]
        review: ReviewArgs,
    },
    /// Follow what is asked for and what becomes of it, as JSON lines
    Watch {
        #[command(flatten)]
        gateway: GatewayArgs,
    },
}

/// Which request, and why.
#[derive(Debug, clap::Args)]
pub(super) struct ReviewArgs {
    /// The request
    id: ApprovalId,
    /// Why; whoever asked will see it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(super) fn run(command: Command, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::List { all, json, gateway } => {
            let gateway = gateway.open()?;
            let client = gateway.afar("approving")?;
            let approvals = client.approvals(ApprovalQuery { all })?;
            if json {
                return output.json(&approvals);
            }
            // Access for a time is decided in the same way.
            let access = client.grants(AccessQuery { all })?;
            let rows: Vec<_> =
                approvals.iter().map(row).chain(access.iter().filter(|one| all || waits(one)).map(access_row)).collect();
            output.list(false, &rows, ["ID", "CODE", "STANDING", "WHO", "CONNECTION", "NEEDS", "STATEMENT"], Clone::clone)
        }
        Command::Show { id, json, gateway } => {
            let gateway = gateway.open()?;
            let client = gateway.afar("approving")?;
            match client.approval(id) {
                Err(problem) if problem.status == NOT_FOUND => {
                    let access = client.grant(id)?;
                    if json { output.json(&access) } else { output.bytes(access::described(&access).as_bytes()) }
                }
                approval if json => output.json(&approval?),
                approval => output.bytes(described(&approval?).as_bytes()),
            }
        }
        Command::Count { id, json, gateway } => {
            let approval = gateway.open()?.afar("approving")?.count_rows(id)?;
            if json { output.json(&approval) } else { output.line(format_args!("{}", visible(&rows(&approval)))) }
        }
        Command::Approve { review } => review.give(ReviewVerdict::Approve, None, output),
        Command::Deny { review } => review.give(ReviewVerdict::Deny, None, output),
        Command::Edit { statement, file, review } => {
            let read = |file: PathBuf| std::fs::read_to_string(&file).with_context(|| file.display().to_string());
            let text = file.map(read).transpose()?.or(statement);
            review.give(ReviewVerdict::Approve, text, output)
        }
        Command::Watch { gateway } => {
            let gateway = gateway.open()?;
            gateway.afar("approving")?.tail(Followed::Approvals, |leaf| output.line(format_args!("{leaf}")))
        }
    }
}

impl ReviewArgs {
    fn give(self, verdict: ReviewVerdict, statement: Option<String>, output: &mut Output) -> Result<(), Failure> {
        let review = Review { verdict, statement, reason: self.reason };
        let gateway = self.gateway.open()?;
        let client = gateway.afar("approving")?;
        match client.review(self.id, &review) {
            Err(problem) if problem.status == NOT_FOUND && review.statement.is_none() => {
                let access = client.review_grant(self.id, &review)?;
                if self.json { output.json(&access) } else { output.line(format_args!("{}", access::outcome(&access))) }
            }
            approval if self.json => output.json(&approval?),
            approval => {
                let approval = approval?;
                output.line(format_args!("{}: {}{}", approval.id, approval.standing, outstanding(&approval)))
            }
        }
    }
}

fn row(approval: &Approval) -> [String; 7] {
    [
        approval.id.to_string(),
        approval.code.clone(),
        approval.standing.clone(),
        approval.chain.join(" for "),
        approval.connection.clone(),
        needs(&approval.needs),
        glance(&approval.statement),
    ]
}

fn access_row(access: &Access) -> [String; 7] {
    [
        access.id.to_string(),
        access.code.clone(),
        if access.unreviewed { "to be reviewed".to_owned() } else { access.standing.clone() },
        access.chain.join(" for "),
        access.connection.clone(),
        needs(&access.needs),
        glance(&format!("access: {}", access::what(access))),
    ]
}

/// Whether somebody is to decide it, or to look into it.
fn waits(access: &Access) -> bool {
    access.standing == "pending" || access.unreviewed
}

/// Who must still approve.
fn outstanding(approval: &Approval) -> String {
    let unmet: Vec<_> =
        approval.needs.iter().filter(|need| need.approved < need.quorum).map(|need| need.group.as_str()).collect();
    if approval.standing != "pending" || unmet.is_empty() {
        String::new()
    } else {
        format!(", waits for {}", unmet.join(" and "))
    }
}

pub(super) fn needs(needs: &[ApprovalNeed]) -> String {
    let need = needs.iter().map(|need| format!("{} {}/{}", need.group, need.approved, need.quorum));
    need.collect::<Vec<_>>().join(", ")
}

/// The beginning of a statement, on one line.
fn glance(statement: &str) -> String {
    let line = statement.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= GLANCE { line } else { line.chars().take(GLANCE - 1).chain(['…']).collect() }
}

/// A request as people read it. What a client sent may hold what a terminal obeys, so controls are shown escaped.
fn described(approval: &Approval) -> String {
    let mut text = String::new();
    let mut line = |head: &str, what: &str| {
        if !what.is_empty() {
            _ = writeln!(text, "{head:<12}{}", indented(what, 12));
        }
    };
    line("request", &format!("{} ({})", approval.id, approval.code));
    line("standing", &format!("{}, until {}", approval.standing, approval.until));
    line("who", &approval.chain.join(" for "));
    line("purpose", approval.purpose.as_deref().unwrap_or_default());
    line(
        "where",
        &format!(
            "{}, from {} ({})",
            approval.connection,
            or_dash(Some(&approval.client).filter(|client| !client.is_empty()).map(String::as_str)),
            or_dash(approval.application.as_deref())
        ),
    );
    line("session", &format!("{}, operation {}", approval.session, approval.op));
    line("why", &format!("{} (policy {})", or_dash(approval.reason.as_deref()), approval.policies.join(", ")));
    line("WARNING", &approval.deceptive.join(", "));
    line("risk", &approval.risk.map(|risk| risk.to_string()).unwrap_or_default());
    line("hazards", &approval.hazards.join(", "));
    approval.effects.iter().for_each(|effect| line("effect", effect));
    line("client", if approval.waits { "waits in its session" } else { "does not wait" });
    line(
        "transaction",
        match (approval.in_transaction, approval.has_written) {
            (true, true) => "open, and has changed something: others may wait for it",
            (true, false) => "open",
            _ => "",
        },
    );
    line("rows", &rows(approval));
    line("locks", &locks(approval));
    line("needs", &needs(&approval.needs));
    approval.history.iter().for_each(|past| line("before", &before(past)));
    for other in &approval.requests {
        let reason = other.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        line("asked", &format!("{} {} on {}, {}{reason}", other.asked, other.id, other.connection, other.standing));
    }
    for vote in &approval.votes {
        let reason = vote.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        line("review", &format!("{} by {} for {}{reason}", vote.verdict, vote.who, vote.group));
        line("edited to", vote.statement.as_deref().unwrap_or_default());
        line("", vote.diff.as_deref().map(|diff| format!("\n{diff}")).as_deref().unwrap_or_default().trim_end());
    }
    for (n, value) in (1..).zip(&approval.parameters) {
        line(&format!("${n}"), value.as_deref().unwrap_or("NULL"));
    }
    _ = writeln!(text, "\n    {}", indented(&approval.statement, 4));
    let laid_out = approval.formatted.as_ref().filter(|formatted| **formatted != visible(&approval.statement));
    if let Some(formatted) = laid_out {
        _ = writeln!(text, "\nformatted\n    {}", indented(formatted, 4));
    }
    text
}

/// Something that was done before.
fn before(past: &PastOperation) -> String {
    let classes = if past.classes.is_empty() { "not understood".to_owned() } else { past.classes.join("; ") };
    let ended = past.outcome.as_ref().map(|outcome| format!(", {outcome}")).unwrap_or_default();
    let tags = if past.tags.is_empty() { String::new() } else { format!(" ({})", past.tags.join(", ")) };
    format!("{} {}: {classes}: {}: {}{ended}{tags}", past.at, past.connection, past.effects.join(", "), past.verdict)
}

/// A text with everything visible, and its further lines moved in, so that none of them passes for one of ours.
pub(super) fn indented(text: &str, by: usize) -> String {
    visible(text).replace('\n', &format!("\n{:by$}", ""))
}

/// How many rows, and how that is known.
fn rows(approval: &Approval) -> String {
    let told = |count: &RowCount, how: &str| {
        let number = count.rows.map(|rows| format!("{how} {rows}"));
        let told = number.unwrap_or_else(|| format!("not {how}: {}", or_dash(count.unknown.as_deref())));
        [&[told], &count.notes[..]].concat().join("; ")
    };
    match (&approval.count, &approval.estimate) {
        (Some(count), _) => format!("{} ({})", told(count, "counted"), count.at),
        (None, Some(estimate)) => told(estimate, "estimated"),
        // What is over is forgotten, and so is what was granted before a restart.
        (None, None) if approval.statement.is_empty() => String::new(),
        (None, None) => "the planner is being asked".to_owned(),
    }
}

/// What its transaction holds, and who waits for it.
fn locks(approval: &Approval) -> String {
    let Some(locks) = approval.locks.as_ref().filter(|_| approval.waits) else { return String::new() };
    if let Some(unknown) = &locks.unknown {
        return format!("not known: {unknown}");
    }
    let mut held: Vec<_> = locks.held.iter().map(|lock| format!("{} ({})", lock.table, lock.modes)).collect();
    held.extend(locks.more.then(|| "others".to_owned()));
    let held = if held.is_empty() { "none".to_owned() } else { held.join(", ") };
    format!("{held}; {} waiting for them", locks.waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_cannot_disguise_itself() {
        assert_eq!(indented("a\u{1b}[2Jb\nneeds \u{202e}c", 4), "a\\u{1b}[2Jb\n    needs \\u{202e}c");
        assert_eq!(glance("DELETE\n  FROM t"), "DELETE FROM t");
        assert_eq!(glance(&"x".repeat(100)).chars().count(), GLANCE);
    }
}
