//! Whether everybody who is on an upstream came through this gateway.
//!
//! A session is the gateway's own if it comes from a socket that the gateway holds, or held until a moment ago, and its process
//! is that of a session of the gateway, as far as that is known. What a session says of itself proves nothing.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use claviger_api::Problem;
use claviger_api::wire::{Coverage, CoverageRules, HiddenSession, UpstreamSession};
use claviger_protocols::postgres;
use claviger_protocols::postgres::activity::{self, Activity};
use claviger_proxy::{OWN_APPLICATION, Upstreams};
use claviger_session::{Connection, Gateway, UpstreamTlsPolicy};

/// Looks at a connection's upstream.
pub(super) async fn look(gateway: &Gateway, upstreams: &Upstreams, connection: &Arc<Connection>) -> Result<Coverage, Problem> {
    if connection.kind != postgres::ENTRY.kind {
        return Err(Problem::invalid("only a database can be asked who is on it"));
    }
    let before = gateway.registry.processes(&connection.host, connection.port);
    let answer = upstreams.ask(gateway, connection, activity::QUESTION).await;
    let answer = answer.map_err(|refusal| Problem::bad_gateway("upstream.unavailable", refusal.message))?;
    let all = activity::read(&answer.rows);
    let all = all.ok_or_else(|| Problem::bad_gateway("upstream.unavailable", "the upstream's answer is not one"))?;
    let asking = all.iter().find(|one| one.asking).cloned().unwrap_or_default();
    let mut processes = before;
    processes.extend(gateway.registry.processes(&connection.host, connection.port));
    let mut addresses = addresses(connection).await;
    addresses.push(answer.peer);
    let ours = Ours { asking, local: answer.local, sockets: upstreams.sockets(&addresses), processes };
    Ok(report(connection, &ours, all))
}

/// All addresses that a connection's upstream has: its sessions may have come by any of them.
async fn addresses(connection: &Connection) -> Vec<SocketAddr> {
    let found = tokio::net::lookup_host((connection.host.as_str(), connection.port)).await;
    found.map(|found| found.map(plain).collect()).unwrap_or_default()
}

/// What is known of the gateway's own sessions on an upstream.
struct Ours {
    /// The session that asked, as the upstream sees it, and as it is here.
    asking: Activity,
    local: SocketAddr,
    /// The gateway's ends of sessions on this upstream: those open, and those closed a moment ago.
    sockets: HashSet<SocketAddr>,
    processes: HashSet<i32>,
}

impl Ours {
    fn has(&self, one: &Activity) -> bool {
        if one.asking {
            return true;
        }
        if one.is_hidden() || self.is_translated() {
            // Where addresses are translated on the way, the process must do, and the address that all of ours have.
            let address = one.is_hidden() || one.address == self.asking.address;
            return address && self.processes.contains(&one.process);
        }
        end(one).is_some_and(|end| self.sockets.contains(&end))
    }

    /// Whether the upstream sees us at another address or port than ours.
    fn is_translated(&self) -> bool {
        end(&self.asking) != Some(plain(self.local))
    }
}

/// The client's end of a session.
fn end(one: &Activity) -> Option<SocketAddr> {
    let port = u16::try_from(one.port?).ok()?;
    Some(plain(SocketAddr::new(one.address.as_ref()?.parse().ok()?, port)))
}

fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn report(connection: &Connection, ours: &Ours, all: Vec<Activity>) -> Coverage {
    let (mut through, mut around, mut hidden) = (0, Vec::new(), Vec::new());
    for one in all.into_iter().filter(Activity::is_of_client) {
        if ours.has(&one) {
            // The gateway's own sessions are nobody's way to the upstream.
            through += u64::from(one.application.as_deref() != Some(OWN_APPLICATION));
        } else if one.is_hidden() {
            hidden.push(HiddenSession { process: one.process, user: one.user, database: one.database });
        } else {
            around.push(UpstreamSession {
                process: one.process,
                user: one.user,
                database: one.database,
                address: one.address,
                port: one.port.filter(|port| *port >= 0),
                application: one.application,
                since: one.since,
            });
        }
    }
    let seen = ours.asking.address.clone().unwrap_or_else(|| ours.local.ip().to_canonical().to_string());
    Coverage {
        connection: connection.name.to_string(),
        upstream: format!("{}:{}", connection.host, connection.port),
        gateway: vec![seen.clone()],
        through,
        around,
        hidden,
        rules: rules(connection, &seen),
    }
}

/// The rules that leave the gateway's road as the only one.
fn rules(connection: &Connection, gateway: &str) -> CoverageRules {
    let (port, user) = (connection.port, &connection.user);
    let (family, bits) = if gateway.contains(':') { ("ip6", 128) } else { ("ip", 32) };
    let kind = if connection.tls == UpstreamTlsPolicy::Disable { "host" } else { "hostssl" };
    let database = quoted(&connection.database);
    CoverageRules {
        nftables: format!(
            "table inet claviger {{\n  chain input {{\n    type filter hook input priority 0; policy accept;\n    \
             tcp dport {port} {family} saddr {gateway} accept\n    tcp dport {port} drop\n  }}\n}}\n"
        ),
        pg_hba: format!(
            "{kind:<8} {database} {} {gateway}/{bits} scram-sha-256\nlocal    all all peer\nhost     all all all reject\n",
            quoted(user)
        ),
        security_group: format!(
            "Inbound: TCP {port} from {gateway}/{bits} (better, from the security group of the gateway), and nothing else.\n\
             No public address, and no peered network with a way to TCP {port}.\n"
        ),
    }
}

/// A name as `pg_hba.conf` takes it: in quotes, it is no keyword.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(process: i32, address: Option<&str>, port: i32) -> Activity {
        Activity {
            process,
            user: Some("u".into()),
            database: Some("bank".into()),
            address: address.map(str::to_owned),
            port: Some(port),
            kind: Some("client backend".into()),
            ..Activity::default()
        }
    }

    fn ours(seen: &str, port: i32) -> Ours {
        Ours {
            asking: Activity { asking: true, ..session(1, Some(seen), port) },
            local: SocketAddr::from(([10, 0, 0, 7], 4000)),
            sockets: HashSet::from([SocketAddr::from(([10, 0, 0, 7], 4001))]),
            processes: HashSet::from([2]),
        }
    }

    #[test]
    fn a_socket_of_ours_is_proof_and_a_name_is_none() {
        let ours = ours("10.0.0.7", 4000);
        assert!(ours.has(&session(2, Some("10.0.0.7"), 4001)));
        let named = Activity { application: Some("claviger:alice:0".into()), ..session(2, Some("10.0.0.7"), 4002) };
        assert!(!ours.has(&named), "another program on the gateway's own machine");
        assert!(!ours.has(&session(2, Some("10.0.0.8"), 4001)));
        assert!(!ours.has(&session(3, None, -1)), "a Unix socket");
    }

    #[test]
    fn behind_translated_addresses_the_process_counts() {
        let ours = ours("192.0.2.1", 999);
        assert!(ours.has(&session(2, Some("192.0.2.1"), 1234)));
        assert!(!ours.has(&session(3, Some("192.0.2.1"), 4001)));
        assert!(!ours.has(&session(2, Some("192.0.2.2"), 1234)));
    }

    #[test]
    fn what_is_hidden_is_judged_by_its_process() {
        let hidden = |process| Activity { kind: None, address: None, port: None, ..session(process, None, 0) };
        let ours = ours("10.0.0.7", 4000);
        assert!(ours.has(&hidden(2)) && !ours.has(&hidden(3)));
    }
}
