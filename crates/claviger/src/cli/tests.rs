#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use clap::{CommandFactory, Parser};
use claviger_api::Problem;

use super::{Cli, Failure};

#[test]
fn the_grammar_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn commands_parse_or_do_not() {
    for (line, good) in [
        ("serve --config /etc/claviger", true),
        ("check --config d", true),
        ("token issue alice --config d", true),
        ("token issue alice --act agent --ttl 90m --purpose report --api-url https://g", true),
        ("token issue alice --ttl soon", false),
        ("token issue", false),
        ("token issue alice --token secret", false),
        ("token issue alice --config d --api-url https://g", false),
        ("token revoke t1", true),
        ("token revoke --principal alice", true),
        ("token revoke t1 --principal alice", false),
        ("token revoke", false),
        ("token list --json", true),
        ("token rotate-key", true),
        ("principals add user alice --group a --group b --display Alice", true),
        ("principals add workload agent --sponsor alice", true),
        ("principals add robot agent", false),
        ("principals list --json", true),
        ("principals disable alice@corp", true),
        ("principals enable alice", true),
        ("principals delegate agent alice --remove", true),
        ("sessions list --all --who a@b --connection bank --limit 5 --json", true),
        ("sessions show 00000000000000000000000000000001 --recording", true),
        ("sessions show 1", false),
        ("sessions tail", true),
        ("sessions tail 00000000000000000000000000000001", true),
        ("sessions kill 00000000000000000000000000000001 --reason lunch", true),
        ("connect bank --listen 127.0.0.1:5432 --token-file f --address gw:6400", true),
        ("connect bank --config d", false),
        ("audit verify --data d --key k --json", true),
        ("audit verify", false),
        ("audit checkpoint", true),
        ("audit key", true),
        ("tls self-signed --out d --host a --host 10.0.0.1", true),
        ("tls self-signed --out d", false),
        ("webhooks list --config d --json", true),
        ("webhooks test ops --config d", true),
        ("webhooks test --config d", false),
        ("completions bash", true),
        ("completions cobol", false),
        ("", false),
    ] {
        let words = std::iter::once("claviger").chain(line.split_whitespace());
        assert_eq!(Cli::try_parse_from(words).is_ok(), good, "{line}");
    }
}

/// Everybody on a machine can read the arguments of its processes.
#[test]
fn no_argument_takes_a_secret() {
    fn walk(command: &clap::Command) {
        for argument in command.get_arguments() {
            let name = argument.get_id().as_str();
            assert!(name != "token" && !name.contains("password") && !name.contains("secret"), "{name}");
        }
        command.get_subcommands().for_each(walk);
    }
    walk(&Cli::command());
}

#[test]
fn failures_have_their_codes() {
    for (failure, code) in [
        (Failure::from(Problem::unauthenticated("token.expired", "x")), 4),
        (Problem::denied("x").into(), 4),
        (Problem::invalid("x").into(), 2),
        (Problem::not_found("x").into(), 1),
        (Problem::audit_unavailable().into(), 1),
        (Failure::Usage("x".into()), 2),
        (Failure::Findings("x".into()), 3),
        (std::io::Error::from(std::io::ErrorKind::BrokenPipe).into(), 0),
        (std::io::Error::from(std::io::ErrorKind::NotFound).into(), 1),
    ] {
        assert_eq!(failure.code(), code, "{failure}");
    }
}
