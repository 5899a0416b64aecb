//! Rights that are taken away: every session that stood on them ends within two seconds, whatever it is doing, and no other.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::client::{ask, enter, message, until_end, until_ready, value};
use super::figure;
use super::ground::Latency;
use crate::harness::{Conn, Gateway, Major, PERMIT_ALL, Server, SigningKey, eventually, frame, key_set, now, run};

/// A right that is taken away is gone everywhere within this time.
const SOON: Duration = Duration::from_secs(2);

/// A set in the list of values is made as it is sent; in `from`, all of it would be written to a file first, and nothing streamed.
const ENDLESS: &str = "select repeat(md5(n::text), 30) from (select generate_series(1, 100000000) as n) as numbers";

#[test]
#[ignore = "minutes"]
fn off_boarding_two_hundred_sessions() {
    run(off_board(50, SOON));
}

#[test]
fn off_boarding_ends_whatever_somebody_began() {
    // Enough for one session of each kind; how soon is for the long run.
    run(off_board(7, Duration::from_secs(20)));
}

/// What a session is doing when its right is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Busy {
    Idle,
    InTransaction,
    Sleeping,
    Streaming,
    Copying,
    /// It waits for an approval.
    Held,
    /// It has asked for much and reads nothing.
    Stuck,
}

const ALL: [Busy; 7] = [Busy::Idle, Busy::InTransaction, Busy::Sleeping, Busy::Copying, Busy::Held, Busy::Stuck, Busy::Streaming];

/// What is deleted waits for an approval.
pub(super) const HOLDS: &str = r#"@id("held") @approval("dbas") forbid (principal, action == Action::"delete", resource)
    unless { context.approvals.contains("dbas") };"#;

/// A client with its session.
struct Client {
    /// Its process upstream.
    process: String,
    /// Ends with the session; `None` if the client does not read.
    ended: Option<JoinHandle<Instant>>,
    held: Option<TcpStream>,
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(ended) = &self.ended {
            ended.abort();
        }
    }
}

impl Client {
    async fn begin(gateway: &Gateway, token: &str, busy: Busy) -> Self {
        let mut socket = enter(gateway.port("open"), "open", token).await.unwrap();
        let process = value(&mut socket, "select pg_backend_pid()").await.unwrap();
        match busy {
            Busy::Idle => {}
            Busy::InTransaction => {
                ask(&mut socket, "begin; insert into sink values ('never to be seen')").await.unwrap();
                until_ready(&mut socket).await.unwrap();
            }
            Busy::Sleeping => ask(&mut socket, "select pg_sleep(600)").await.unwrap(),
            Busy::Streaming | Busy::Stuck => ask(&mut socket, ENDLESS).await.unwrap(),
            Busy::Copying => {
                ask(&mut socket, "copy sink from stdin").await.unwrap();
                assert_eq!(message(&mut socket).await.unwrap().0, b'G');
            }
            Busy::Held => {
                ask(&mut socket, "delete from sink").await.unwrap();
                assert_eq!(message(&mut socket).await.unwrap().0, b'N', "it is told that it waits");
            }
        }
        if busy == Busy::Stuck {
            return Self { process, ended: None, held: Some(socket) };
        }
        let (mut reading, mut writing) = socket.into_split();
        let ended = tokio::spawn(async move {
            let goes_on = async {
                while busy == Busy::Copying && writing.write_all(&frame(b'd', b"never to be seen\n")).await.is_ok() {
                    sleep(Duration::from_millis(20)).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! { _ = until_end(&mut reading) => {}, () = goes_on => {} }
            Instant::now()
        });
        Self { process, ended: Some(ended), held: None }
    }
}

/// Who is there: Erin, an agent for her, an agent for that one, and a workload that she answers for; and the same around Bob.
struct Scene<'a> {
    server: &'a Server,
    gateway: Gateway,
    key: SigningKey,
    dana: String,
}

impl<'a> Scene<'a> {
    async fn before(server: &'a Server) -> Self {
        server.admin("bank").await.batch_execute("create table sink (line text); grant all on sink to keeper").await.unwrap();
        let conns = [Conn::to("bank", server), Conn::to("open", server).tls("disable", None).plaintext().set("hold = \"wait\"")];
        let corp = "[[issuers]]\nname = \"corp\"\nissuer = \"https://idp.corp.test\"\naudience = \"claviger\"\n\
                    jwks_file = \"corp.json\"\nact = true\n[approvals]\npending_per_principal = 100\n";
        let mut gateway = Gateway::configure(&conns, &format!("{PERMIT_ALL}\n{HOLDS}"), corp);
        let key = SigningKey::new("k1");
        std::fs::write(gateway.path("corp.json"), key_set(&[&key])).unwrap();
        for user in ["erin@corp", "bob@corp", "alice"] {
            gateway.add(&["user", user]);
        }
        gateway.add(&["user", "dana", "--group", "dbas"]);
        for workload in ["copilot@corp", "planner@corp"] {
            gateway.add(&["workload", workload]);
        }
        gateway.add(&["workload", "nightly", "--sponsor", "erin@corp"]);
        gateway.add(&["workload", "weekly", "--sponsor", "bob@corp"]);
        for (actor, subject) in [("copilot@corp", "erin@corp"), ("copilot@corp", "bob@corp"), ("planner@corp", "copilot@corp")] {
            gateway.must(&["principals", "delegate", actor, subject]);
        }
        gateway.start();
        let dana = gateway.token(&["dana"]);
        Self { server, gateway, key, dana }
    }

    /// A token of the identity provider for this subject, on whose behalf these act, the last actor first.
    fn corp(&self, subject: &str, actors: &[&str]) -> String {
        let acting = actors.iter().rev().fold(Value::Null, |inner, actor| match inner {
            Value::Null => json!({ "sub": actor }),
            inner => json!({ "sub": actor, "act": inner }),
        });
        let mut claims =
            json!({ "iss": "https://idp.corp.test", "aud": "claviger", "sub": subject, "iat": now(), "exp": now() + 900 });
        if acting != Value::Null {
            claims["act"] = acting;
        }
        let token = self.key.sign(&claims);
        self.gateway.must_not_write_token(&token);
        token
    }

    fn around(&self, person: &str, workload: &str) -> [String; 4] {
        [
            self.corp(person, &[]),
            self.corp(person, &["copilot"]),
            self.corp(person, &["planner", "copilot"]),
            self.gateway.token(&[workload]),
        ]
    }

    /// So many sessions of each kind of token.
    async fn sessions(&self, tokens: &[String], each: usize) -> Vec<Client> {
        let mut clients = Vec::new();
        for token in tokens {
            for n in 0..each {
                // Streams keep the whole machine busy, so there are fewer of them in a crowd.
                let busy = ALL[if each > ALL.len() && n >= 10 { n % 5 } else { n % ALL.len() }];
                clients.push(Client::begin(&self.gateway, token, busy).await);
            }
        }
        clients
    }

    /// Does it, and sees which sessions end, and how soon.
    async fn take_away(&self, what: &str, gone: Vec<Client>, stay: &mut [Client], within: Duration, act: impl FnOnce(&Self)) {
        // What is to be stuck is, by now.
        sleep(Duration::from_secs(1)).await;
        let wanted: BTreeSet<String> = gone.iter().map(|client| client.process.clone()).collect();
        let watch = tokio::spawn(watch(self.server.admin("postgres").await, wanted, within * 5));
        let began = Instant::now();
        act(self);
        let acted = began.elapsed();
        let ended = watch.await.unwrap();
        let since = |instant: &Instant| instant.duration_since(began);
        let upstream = Latency::of(gone.iter().map(|client| ended.get(&client.process).map_or(within * 5, since)).collect());
        let mut seen = Vec::new();
        let count = gone.len();
        for mut client in gone {
            match (client.ended.take(), client.held.take()) {
                (Some(ended), _) => seen.push(since(&timeout(within * 5, ended).await.expect("the client is told").unwrap())),
                (None, Some(mut socket)) => {
                    timeout(within * 5, until_end(&mut socket)).await.expect("what is left has an end");
                }
                (None, None) => unreachable!(),
            }
        }
        let seen = Latency::of(seen);
        figure(&format!(
            "{what}: {count} sessions; from the act, which took {acted:.0?}, to the client's seeing its end p50/p99/max {seen}, \
             to the end upstream {upstream}"
        ));
        assert!(seen.max < within && upstream.max < within, "{what}: {seen}, {upstream}");
        let processes = self.server.ask("postgres", "select pid::text from pg_stat_activity where usename = 'keeper'").await;
        for client in stay {
            assert!(
                !client.ended.as_ref().is_some_and(JoinHandle::is_finished),
                "{what}: a session ended that it did not concern"
            );
            assert!(processes.contains(&vec![Some(client.process.clone())]), "{what}: a process ended that it did not concern");
        }
    }
}

/// When each of these processes was first seen to be gone.
async fn watch(admin: crate::harness::Session, mut wanted: BTreeSet<String>, patience: Duration) -> HashMap<String, Instant> {
    let (mut ended, began) = (HashMap::new(), Instant::now());
    while !wanted.is_empty() && began.elapsed() < patience {
        let rows = admin.rows("select pid::text from pg_stat_activity where usename = 'keeper'").await;
        let there: BTreeSet<String> = rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        let now = Instant::now();
        ended.extend(wanted.difference(&there).map(|process| (process.clone(), now)));
        wanted.retain(|process| there.contains(process));
        sleep(Duration::from_millis(10)).await;
    }
    ended
}

async fn off_board(each: usize, within: Duration) {
    let server = server!(Major::V15);
    let scene = Scene::before(&server).await;
    let (erins, bobs) = (scene.around("erin", "nightly"), scene.around("bob", "weekly"));
    let mut stay = scene.sessions(&bobs, 3).await;

    let gone = scene.sessions(&erins, each).await;
    scene
        .take_away("a principal is disabled on the gateway's machine", gone, &mut stay, within, |scene| {
            scene.gateway.must(&["principals", "disable", "erin@corp"]);
        })
        .await;
    scene.enable(&erins[0]).await;

    let gone = scene.sessions(&erins, each).await;
    scene
        .take_away("a principal is revoked through the API", gone, &mut stay, within, |scene| {
            let done = scene.gateway.through_api(&scene.dana, &["revoke", "principal", "erin@corp"]);
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        })
        .await;
    scene.enable(&erins[0]).await;

    stay.extend(scene.sessions(&[erins[0].clone(), erins[3].clone()], 3).await);
    let gone = scene.sessions(&erins[1..3], each * 2).await;
    scene
        .take_away("a delegation is removed", gone, &mut stay, within, |scene| {
            scene.gateway.must(&["principals", "delegate", "copilot@corp", "erin@corp", "--remove"]);
        })
        .await;

    let (revoked, kept) = (scene.gateway.token(&["alice"]), scene.gateway.token(&["alice"]));
    let gone = scene.sessions(&[revoked], each * 4).await;
    let opened = scene.gateway.leaves_of("SESSION_OPEN");
    let id =
        opened.iter().rev().find(|leaf| leaf["chain"] == json!(["alice@local"])).unwrap()["token"].as_str().unwrap().to_owned();
    stay.extend(scene.sessions(&[kept], 3).await);
    scene
        .take_away("a token is revoked", gone, &mut stay, within, |scene| {
            scene.gateway.must(&["token", "revoke", &id]);
        })
        .await;

    let gone = std::mem::take(&mut stay);
    let (of_bob, others) = gone.into_iter().enumerate().partition::<Vec<_>, _>(|(n, _)| *n < 12 && n / 3 == 3);
    let mut stay: Vec<_> = others.into_iter().map(|(_, client)| client).collect();
    let gone = of_bob.into_iter().map(|(_, client)| client).chain(scene.sessions(&bobs[3..], each).await).collect();
    scene
        .take_away("a workload is revoked", gone, &mut stay, within, |scene| {
            scene.gateway.must(&["revoke", "principal", "weekly"]);
        })
        .await;
    drop(stay);
    let held = "claviger_operations_held{connection=\"open\"}";
    eventually("nothing is held any more", Duration::from_secs(20), async || scene.gateway.metric(held) == 0.0).await;
    assert_eq!(server.value("bank", "select count(*) from sink").await, "0", "nothing of it was committed");
    scene.gateway.verify();
}

impl Scene<'_> {
    async fn enable(&self, token: &str) {
        self.gateway.must(&["principals", "enable", "erin@corp"]);
        self.gateway.session_soon("bank", "erin", token).await;
    }
}
