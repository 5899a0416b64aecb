//! A peer that vanishes without a word, as when a machine loses its power or a firewall its memory.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::figure;
use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, eventually, free_port, run, skip, unique};

/// A minute of silence, and nine questions ten seconds apart (the system's own default); and some time to act on it.
const NOTICED: Duration = Duration::from_secs(60 + 9 * 10 + 20);

const HERE: &str = "10.213.77.1";
const THERE: &str = "10.213.77.2";

/// A network of its own with one link to this one.
struct Elsewhere {
    name: String,
    link: String,
}

impl Elsewhere {
    /// `None` where this user may not, or a tool is missing.
    fn make() -> Option<Self> {
        let tail = &unique("")[..8];
        let elsewhere = Self { name: format!("claviger-{tail}"), link: format!("cv{tail}") };
        let (name, link) = (&elsewhere.name, &elsewhere.link);
        let made = ip(&format!("netns add {name}"))
            && ip(&format!("link add {link} type veth peer name far netns {name}"))
            && ip(&format!("addr add {HERE}/30 dev {link}"))
            && ip(&format!("link set {link} up"))
            && ip(&format!("-n {name} addr add {THERE}/30 dev far"))
            && ip(&format!("-n {name} link set far up"));
        made.then_some(elsewhere)
    }

    fn run(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Packets still arrive there, and nobody takes them.
    fn vanish(&self) {
        let far = std::fs::read_to_string(format!("/sys/class/net/{}/address", self.link)).unwrap();
        // Whose address it is does not matter, so long as nobody has to be asked for it.
        assert!(ip(&format!("neigh replace {THERE} lladdr {} dev {} nud permanent", far.trim(), self.link)));
        assert!(ip(&format!("-n {} addr flush dev far", self.name)));
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.link));
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A client that is stopped with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "minutes"]
fn a_client_that_vanishes_is_noticed() {
    let Some(psql) =
        ["/usr/bin/psql", "/usr/lib/postgresql/15/bin/psql"].into_iter().find(|path| std::path::Path::new(path).exists())
    else {
        return skip("a client that vanishes: there is no psql");
    };
    let Some(elsewhere) = Elsewhere::make() else {
        return skip("a client that vanishes: making a network namespace is not permitted here");
    };
    run(async {
        let server = server!(Major::V15);
        let port = free_port();
        let listener = format!("[[listeners]]\nkind = \"postgres\"\nlisten = \"{HERE}:{port}\"\n");
        let mut gateway = Gateway::configure(&[Conn::to("bank", &server)], PERMIT_ALL, &listener);
        gateway.add(&["user", "alice"]);
        gateway.start();
        let token = gateway.token(&["alice"]);
        let mut client = elsewhere.run(psql);
        client.args(["-qX", &format!("host={HERE} port={port} dbname=bank user=alice sslmode=require")]);
        let mut client = Running(client.env("PGPASSWORD", &token).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
        let mut says = client.0.stdin.take().unwrap();
        writeln!(says, "begin; update customers set name = 'locked' where id = 1;").unwrap();
        let state = "select count(*) from pg_stat_activity where usename = 'keeper' and state = 'idle in transaction'";
        eventually("its transaction is open", Duration::from_secs(10), async || server.value("postgres", state).await == "1")
            .await;
        // What is under way to it arrives first: what is not acknowledged is sent again for a quarter of an hour, by the system's own rules.
        tokio::time::sleep(Duration::from_secs(1)).await;
        elsewhere.vanish();
        let noticed = eventually("it is noticed", NOTICED, async || server.gateway_sessions().await == "0").await;
        figure(&format!("a client that vanishes in a transaction: noticed, and undone upstream, after {noticed:.0?}"));
        assert_eq!(server.value("bank", "select name from customers where id = 1").await, "Ada");
        gateway.verify();
    });
}
