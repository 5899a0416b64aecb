//! The gateway: the binary itself, in a directory of its own.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio_postgres::{Config, Error};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::{KEEPER_PASSWORD, Raw, Server, Session, contains, free_port, segments};

/// Everybody may connect to everything.
pub(crate) const PERMIT_ALL: &str = r#"@id("all") permit (principal, action == Action::"connect", resource);"#;

/// Whoever may connect may do anything there, unless a test's own policies forbid it.
const PERMIT_STATEMENTS: &str = r#"@id("statements") permit (principal, action in Action::"operation", resource);
    @id("statements-unknown") permit (principal, action == Action::"unknown", resource);"#;

/// Members of `dbas` may run the gateway through its API.
const DBAS_ADMINISTER: &str = r#"@id("dbas") permit (principal in Group::"dbas", action, resource is Gateway);"#;

/// A connection to be configured.
#[derive(Clone)]
pub(crate) struct Conn {
    name: String,
    address: String,
    database: String,
    user: String,
    password: String,
    tls: String,
    tls_ca: Option<PathBuf>,
    plaintext: bool,
    own_listener: bool,
    more: String,
}

impl Conn {
    /// A connection to a server's database `bank`, on a listener of its own, with TLS as far as the server can be known.
    pub(crate) fn to(name: &str, server: &Server) -> Self {
        Self {
            name: name.to_owned(),
            address: format!("127.0.0.1:{}", server.port),
            database: "bank".to_owned(),
            user: "keeper".to_owned(),
            password: KEEPER_PASSWORD.to_owned(),
            tls: if server.authority.is_some() { "verify-full" } else { "disable" }.to_owned(),
            tls_ca: server.authority.clone(),
            plaintext: false,
            own_listener: true,
            more: String::new(),
        }
    }

    pub(crate) fn address(self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self }
    }

    pub(crate) fn database(self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self }
    }

    pub(crate) fn user(self, user: &str) -> Self {
        Self { user: user.to_owned(), ..self }
    }

    pub(crate) fn password(self, password: &str) -> Self {
        Self { password: password.to_owned(), ..self }
    }

    pub(crate) fn tls(self, tls: &str, trusted: Option<&Path>) -> Self {
        Self { tls: tls.to_owned(), tls_ca: trusted.map(Path::to_owned), ..self }
    }

    /// Takes tokens without TLS.
    pub(crate) fn plaintext(self) -> Self {
        Self { plaintext: true, ..self }
    }

    /// Without a listener of its own.
    pub(crate) fn on_shared_listener(self) -> Self {
        Self { own_listener: false, ..self }
    }

    /// Further lines of its entry.
    pub(crate) fn set(self, line: &str) -> Self {
        Self { more: format!("{}{line}\n", self.more), ..self }
    }

    fn toml(&self, port: Option<u16>) -> String {
        let mut toml = format!(
            "[[connections]]\nname = \"{0}\"\nkind = \"postgres\"\naddress = \"{1}\"\ndatabase = \"{2}\"\nuser = \"{3}\"\n\
             password = \"file:{0}.password\"\ntls = \"{4}\"\n",
            self.name, self.address, self.database, self.user, self.tls
        );
        if let Some(trusted) = &self.tls_ca {
            writeln!(toml, "tls_ca = \"{}\"", trusted.display()).unwrap();
        }
        if let Some(port) = port {
            writeln!(toml, "listen = \"127.0.0.1:{port}\"\nplaintext = {}", self.plaintext).unwrap();
        }
        // Tests that are not about approvals do not wait for them.
        let hold = if self.more.contains("hold = ") { "" } else { "hold = \"refuse\"\n" };
        toml + hold + &self.more + "\n"
    }
}

/// A gateway with its directory. Dropping it kills it, and makes sure that no secret is in what it wrote.
pub(crate) struct Gateway {
    dir: tempfile::TempDir,
    process: Option<Child>,
    ports: Vec<(String, u16)>,
    api: u16,
    metrics: u16,
    environment: Vec<(String, String)>,
    wrapper: Option<PathBuf>,
    secrets: RefCell<Vec<String>>,
}

impl Gateway {
    /// A running gateway before one server, with the connection `bank` and the user `alice`, who may connect.
    pub(crate) fn before(server: &Server) -> Self {
        Self::prepared(server, |_| ())
    }

    /// The same, with more done before it starts.
    pub(crate) fn prepared(server: &Server, prepare: impl FnOnce(&Self)) -> Self {
        let mut gateway = Self::configure(&[Conn::to("bank", server)], PERMIT_ALL, "");
        gateway.add(&["user", "alice", "--group", "engineers"]);
        prepare(&gateway);
        gateway.start();
        gateway
    }

    /// A configured gateway that does not run. `more` is more of `claviger.toml`.
    pub(crate) fn configure(conns: &[Conn], policies: &str, more: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("claviger-it").tempdir().unwrap();
        let (api, metrics) = (free_port(), free_port());
        let mut ports = Vec::new();
        let mut toml = format!(
            "data = \"data\"\n[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n[api]\nlisten = \"127.0.0.1:{api}\"\n\
             [metrics]\nlisten = \"127.0.0.1:{metrics}\"\n\
             [issuer]\nurl = \"https://claviger.test\"\naudience = \"claviger\"\n\n"
        );
        for conn in conns {
            fs::write(dir.path().join(format!("{}.password", conn.name)), &conn.password).unwrap();
            let port = conn.own_listener.then(free_port);
            ports.extend(port.map(|port| (conn.name.clone(), port)));
            toml.push_str(&conn.toml(port));
        }
        fs::write(dir.path().join("claviger.toml"), toml + more).unwrap();
        fs::create_dir(dir.path().join("policies")).unwrap();
        let secrets = RefCell::new(conns.iter().map(|conn| conn.password.clone()).collect());
        let gateway = Self { dir, process: None, ports, api, metrics, environment: Vec::new(), wrapper: None, secrets };
        gateway.write_policies(policies);
        fs::write(gateway.path("policies/statements.cedar"), PERMIT_STATEMENTS).unwrap();
        let made = gateway.run(&["tls", "self-signed", "--host", "localhost", "--out"], &[&gateway.path("")]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        gateway
    }

    /// Leaves statements to a test's own policies.
    pub(crate) fn permit_no_statements(&self) {
        fs::remove_file(self.path("policies/statements.cedar")).unwrap();
    }

    pub(crate) fn write_policies(&self, policies: &str) {
        fs::write(self.path("policies/test.cedar"), format!("{policies}\n{DBAS_ADMINISTER}\n")).unwrap();
    }

    /// Sets an environment variable for the next start.
    pub(crate) fn environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Runs the gateway under this program from the next start on.
    pub(crate) fn under(&mut self, wrapper: PathBuf) {
        self.wrapper = Some(wrapper);
    }

    /// Starts it, and waits until it serves.
    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none());
        let log = File::options().create(true).append(true).open(self.path("gateway.log")).unwrap();
        let mut command = match &self.wrapper {
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.arg(binary());
                command
            }
            None => Command::new(binary()),
        };
        command.args(["serve", "--config"]).arg(self.dir.path()).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        let began = Instant::now();
        while !self.is_healthy() {
            let ended = self.process.as_mut().and_then(|process| process.try_wait().unwrap());
            assert!(ended.is_none() && began.elapsed() < Duration::from_secs(20), "the gateway does not serve: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it outright (SIGKILL).
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("the gateway runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Tells it to stop (SIGTERM), and waits until it has.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        Command::new("sh").args(["-c", &format!("kill -{name} {}", self.process_id())]).status().unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.take().expect("the gateway runs").wait().unwrap()
    }

    /// Changes its configuration, and has it taken up or refused.
    pub(crate) async fn reload(&self, change: impl FnOnce(String) -> String) -> bool {
        let file = self.path("claviger.toml");
        fs::write(&file, change(fs::read_to_string(&file).unwrap())).unwrap();
        let reloads = |result| self.metric(&format!("claviger_config_reloads_total{{result=\"{result}\"}}"));
        let (applied, refused) = (reloads("applied"), reloads("refused"));
        self.signal("HUP");
        let mut taken_up = false;
        super::eventually("the gateway has read its configuration", Duration::from_secs(10), async || {
            taken_up = reloads("applied") > applied;
            taken_up || reloads("refused") > refused
        })
        .await;
        taken_up
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.as_ref().expect("the gateway runs").id()
    }

    /// The port of a connection's own listener.
    pub(crate) fn port(&self, connection: &str) -> u16 {
        self.ports.iter().find(|(name, _)| name == connection).expect("a listener of its own").1
    }

    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The authority that its clients trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// What it wrote for its operator.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("gateway.log")).unwrap_or_default()
    }

    /// Adds a text that must not be found in anything that it writes.
    pub(crate) fn must_not_write(&self, secret: &str) {
        self.secrets.borrow_mut().push(secret.to_owned());
    }

    /// Adds a token, of which nothing that others may not know is to be found.
    pub(crate) fn must_not_write_token(&self, token: &str) {
        self.secrets.borrow_mut().extend(segments(token));
    }

    // --- The command line ---

    /// Runs a command with its configuration; its output.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        self.run(arguments, &[Path::new("--config"), self.dir.path()])
    }

    /// Runs a command that must succeed; its standard output.
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "claviger {arguments:?}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command through the API, as whoever holds the token.
    pub(crate) fn through_api(&self, token: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(arguments).envs(self.api_environment(token)).stdin(Stdio::null());
        command.output().unwrap()
    }

    /// What a command needs to go through the API.
    pub(crate) fn api_environment(&self, token: &str) -> [(&'static str, String); 3] {
        [
            ("CLAVIGER_API_URL", format!("https://localhost:{}", self.api)),
            ("CLAVIGER_CA", self.authority().display().to_string()),
            ("CLAVIGER_TOKEN", token.to_owned()),
        ]
    }

    /// Registers a principal: `["user", "alice", ..]`.
    pub(crate) fn add(&self, arguments: &[&str]) {
        self.must(&[&["principals", "add"], arguments].concat());
    }

    /// Issues a token: `["alice", ..]`.
    pub(crate) fn token(&self, arguments: &[&str]) -> String {
        let token = self.must(&[&["token", "issue"], arguments].concat()).trim().to_owned();
        self.must_not_write_token(&token);
        token
    }

    /// Verifies its log and recordings offline; the report, which must be sound.
    pub(crate) fn verify(&self) -> serde_json::Value {
        let output = self.run(&["audit", "verify", "--json", "--data"], &[&self.path("data")]);
        let report = String::from_utf8(output.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the log is not sound: {report}{complaint}\n{}", self.log());
        serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"))
    }

    /// Every leaf of its log, in order.
    pub(crate) fn leaves(&self) -> Vec<serde_json::Value> {
        super::files(&self.path("data"))
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .flat_map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
            .map(|line| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Leaves of one type.
    pub(crate) fn leaves_of(&self, kind: &str) -> Vec<serde_json::Value> {
        self.leaves().into_iter().filter(|leaf| leaf["type"] == kind).collect()
    }

    /// What was said in a session, by its recording.
    pub(crate) fn recording(&self, session: &str) -> Vec<serde_json::Value> {
        let shown = self.must(&["sessions", "show", session, "--recording"]);
        let documents: Vec<serde_json::Value> =
            serde_json::Deserializer::from_str(&shown).into_iter().collect::<Result<_, _>>().unwrap();
        documents.last().unwrap().as_array().expect("a list of operations").clone()
    }

    fn run(&self, arguments: &[&str], paths: &[&Path]) -> Output {
        let mut command = Command::new(binary());
        command.args(arguments).args(paths).envs(self.environment.iter().cloned()).stdin(Stdio::null());
        command.output().unwrap()
    }

    // --- Clients ---

    /// Logs in to a connection on its own listener, over TLS.
    pub(crate) async fn login(&self, connection: &str, user: &str, token: &str) -> Result<Session, Error> {
        let mut config = Config::new();
        config.user(user).dbname(connection).password(token).application_name("it");
        Session::open_tls(self.port(connection), &self.authority(), config).await
    }

    /// The same, where it must succeed.
    pub(crate) async fn session(&self, connection: &str, user: &str) -> Session {
        let token = self.token(&[user]);
        let session = self.login(connection, user, &token).await;
        session.unwrap_or_else(|error| panic!("{user} was refused: {}", super::text(&error)))
    }

    /// Logs in as soon as the gateway knows of what has just been changed on its machine, which must be soon.
    pub(crate) async fn session_soon(&self, connection: &str, user: &str, token: &str) -> Session {
        let began = Instant::now();
        loop {
            match self.login(connection, user, token).await {
                Ok(session) => return session,
                Err(error) => {
                    assert!(began.elapsed() < Duration::from_secs(2), "{user} is still refused: {}", super::text(&error))
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A raw connection inside TLS.
    pub(crate) fn raw(&self, connection: &str) -> Raw {
        Raw::tls(self.port(connection), &self.authority())
    }

    fn is_healthy(&self) -> bool {
        self.ports.iter().all(|(_, port)| TcpStream::connect(("127.0.0.1", *port)).is_ok())
            && self.get("/healthz").is_ok_and(|answer| answer.starts_with("ok"))
    }

    /// Asks the API without a token.
    pub(crate) fn get(&self, path: &str) -> Result<String, ureq::Error> {
        self.agent().get(self.api_url(path)).call()?.into_body().read_to_string()
    }

    /// Posts a form to the API: the status, and the answer, which is JSON.
    pub(crate) fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, serde_json::Value) {
        let request = self.agent().post(self.api_url(path)).config().http_status_as_error(false).build();
        let response = request.send_form(form.iter().copied()).unwrap();
        (response.status().as_u16(), serde_json::from_str(&response.into_body().read_to_string().unwrap()).unwrap())
    }

    /// Posts a form to the API that comes from a reader, which is read once the request is known to be under way: the status.
    pub(crate) fn post_slowly(&self, path: &str, form: &mut dyn std::io::Read) -> Result<u16, ureq::Error> {
        let request = self.agent().post(self.api_url(path)).config().http_status_as_error(false).build();
        let request = request.header("content-type", "application/x-www-form-urlencoded").header("expect", "100-continue");
        Ok(request.send(ureq::SendBody::from_reader(form))?.status().as_u16())
    }

    /// Posts JSON to the API, as whoever holds the token: the status.
    pub(crate) fn post_json(&self, token: &str, path: &str, body: &str) -> u16 {
        let request = self.agent().post(self.api_url(path)).config().http_status_as_error(false).build();
        let request = request.header("content-type", "application/json").header("authorization", format!("Bearer {token}"));
        request.send(body).unwrap().status().as_u16()
    }

    fn api_url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.api)
    }

    fn agent(&self) -> ureq::Agent {
        let pem = fs::read(self.authority()).unwrap();
        let roots: Vec<_> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        let tls = TlsConfig::builder().root_certs(RootCerts::from(roots)).build();
        ureq::Agent::config_builder().tls_config(tls).build().into()
    }

    /// Asks the listener for metrics and health: the status and the body.
    pub(crate) fn status(&self, path: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let answer = agent.get(format!("http://127.0.0.1:{}{path}", self.metrics)).call().unwrap();
        (answer.status().as_u16(), answer.into_body().read_to_string().unwrap())
    }

    /// The value of a metric, by its name and labels as they are written; 0 if it is not there.
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        let (_, text) = self.status("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Every file that the gateway wrote must be free of these bytes.
    pub(crate) fn assert_nowhere_on_disk(&self, secret: &[u8]) {
        for path in super::files(&self.path("data")).into_iter().chain([self.path("gateway.log")]) {
            let bytes = fs::read(&path).unwrap_or_default();
            assert!(!contains(&bytes, secret), "{} holds `{}`", path.display(), String::from_utf8_lossy(secret));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("--- the gateway's own words ---\n{}", self.log());
            return;
        }
        for secret in self.secrets.take() {
            self.assert_nowhere_on_disk(secret.as_bytes());
        }
    }
}

/// The binary under test; the long loops measure a release that `CLAVIGER_TEST_BIN` names.
pub(crate) fn binary() -> &'static Path {
    static BINARY: LazyLock<PathBuf> =
        LazyLock::new(|| std::env::var_os("CLAVIGER_TEST_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_claviger").into()).into());
    &BINARY
}
