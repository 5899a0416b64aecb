//! A real PostgreSQL server with a database `bank`, on a loopback port.
//!
//! A template cluster of each version is made once and kept in the temporary directory; a server runs on a copy of it. As
//! root it runs as `postgres`, because PostgreSQL refuses root.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Authority, Session, free_port, skip};

/// The password of `keeper`, the role that the gateway logs in with. No client may ever see it.
pub(crate) const KEEPER_PASSWORD: &str = "keeper-secret-5f1d7c";

/// What a session straight to the server calls itself that is to be compared with one of the gateway's.
pub(crate) const CONTROL: &str = "control";

const ADMIN_PASSWORD: &str = "admin-secret-93ab02";

/// Changes with [`SETUP`] or the way the template is made.
const TEMPLATE: u32 = 4;

/// What the template holds: in `postgres`, then in `bank`. One statement a line, as the single-user server reads them.
const SETUP: [(&str, &str); 2] = [
    (
        "postgres",
        "create role keeper login password 'KEEPER';\n\
         create role keeper_plain login password 'KEEPER' in role keeper;\n\
         set password_encryption = 'md5';\n\
         create role keeper_md5 login password 'KEEPER' in role keeper;\n\
         create database bank owner keeper;\n\
         create database vault owner keeper;\n",
    ),
    (
        "bank",
        "create table customers (id int primary key, name text not null, ssn text);\n\
         insert into customers values (1, 'Ada', '900-11-2001'), (2, 'Bela', '900-11-2002'), (3, 'Cleo', null);\n\
         alter table customers owner to keeper;\n",
    ),
];

/// Who may log in how; everybody else by SCRAM.
const HBA: &str = "\
host all keeper_plain 127.0.0.1/32 password
host all keeper_md5 127.0.0.1/32 md5
host all all 127.0.0.1/32 scram-sha-256
";

/// A major version that is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Major {
    V15,
    V18,
}

impl Major {
    fn number(self) -> u32 {
        match self {
            Self::V15 => 15,
            Self::V18 => 18,
        }
    }

    /// The directory of the server's programs.
    pub(crate) fn programs(self) -> Option<PathBuf> {
        let variable = format!("CLAVIGER_TEST_PG{}_BIN", self.number());
        match std::env::var_os(&variable) {
            Some(dir) => {
                let dir = PathBuf::from(dir);
                assert!(dir.join("postgres").is_file(), "{variable} names {}, where there is no server", dir.display());
                Some(dir)
            }
            None => Some(PathBuf::from(format!("/usr/lib/postgresql/{}/bin", self.number())))
                .filter(|dir| dir.join("postgres").is_file()),
        }
    }
}

/// A running server. Dropping it stops it.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// The certificate (PEM) of the authority that vouches for the server; `None` if it was built without TLS.
    pub(crate) authority: Option<PathBuf>,
    process: Child,
    dir: tempfile::TempDir,
}

impl Server {
    /// Starts a server with these settings (`name=value`); `None`, loudly, if this version is not on the machine.
    pub(crate) fn start(major: Major, settings: &[&str]) -> Option<Self> {
        Self::start_as(major, settings, &["localhost", "127.0.0.1"])
    }

    /// Starts a server whose certificate is for these names.
    pub(crate) fn start_as(major: Major, settings: &[&str], names: &[&str]) -> Option<Self> {
        let Some(programs) = major.programs() else {
            skip(&format!("PostgreSQL {0} is not there; CLAVIGER_TEST_PG{0}_BIN is to name its programs", major.number()));
            return None;
        };
        let dir = tempfile::Builder::new().prefix("claviger-pg").tempdir().unwrap();
        open_to_all(dir.path());
        let cluster = dir.path().join("cluster");
        let copied = Command::new("cp").arg("-a").arg(template(&programs)).arg(&cluster).status().unwrap();
        assert!(copied.success());
        let authority = speaks_tls(&programs).then(|| certify(dir.path(), &cluster, names));
        let port = free_port();
        let log = File::create(dir.path().join("server.log")).unwrap();
        let mut command = as_server(&programs.join("postgres"));
        command.arg("-D").arg(&cluster).args(["-c", &format!("port={port}")]);
        if authority.is_some() {
            command.args(["-c", "ssl=on"]);
        }
        settings.iter().for_each(|setting| {
            command.args(["-c", setting]);
        });
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut server = Self { port, authority, process, dir };
        server.wait_until_ready();
        Some(server)
    }

    /// A superuser's session, straight to the server.
    pub(crate) async fn admin(&self, database: &str) -> Session {
        let mut config = tokio_postgres::Config::new();
        config.user("postgres").password(ADMIN_PASSWORD).dbname(database);
        Session::open_plain(self.port, config).await.expect("the server takes its administrator")
    }

    /// What a client of libpq reads to come straight to the server as the role that the gateway logs in with.
    pub(crate) fn as_keeper(&self) -> Vec<(&'static str, String)> {
        vec![
            ("PGHOST", "localhost".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", "keeper".to_owned()),
            ("PGPASSWORD", KEEPER_PASSWORD.to_owned()),
            ("PGDATABASE", "bank".to_owned()),
            ("PGSSLMODE", if self.authority.is_some() { "require" } else { "disable" }.to_owned()),
        ]
    }

    /// What a query finds in a database, asked straight of the server: rows of columns, as text.
    pub(crate) async fn ask(&self, database: &str, query: &str) -> Vec<Vec<Option<String>>> {
        self.admin(database).await.rows(query).await
    }

    /// The only value that a query finds.
    pub(crate) async fn value(&self, database: &str, query: &str) -> String {
        self.ask(database, query).await[0][0].clone().unwrap_or_default()
    }

    /// How many sessions of the gateway's clients the server has, apart from those that are ending.
    pub(crate) async fn gateway_sessions(&self) -> String {
        let query = format!(
            "select count(*) from pg_stat_activity
                where usename like 'keeper%' and application_name not in ('claviger:gateway', '{CONTROL}')"
        );
        self.value("postgres", &query).await
    }

    /// What the server wrote.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("server.log")).unwrap()
    }

    /// Sends the server's first process a signal.
    pub(crate) fn signal(&self, name: &str) {
        Command::new("sh").args(["-c", &format!("kill -{name} {}", self.process.id())]).status().unwrap();
    }

    fn wait_until_ready(&mut self) {
        let began = Instant::now();
        while !self.log().contains("ready to accept connections") {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < Duration::from_secs(30), "PostgreSQL did not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    /// Stops it at once; killed outright it would leave its shared memory behind.
    fn drop(&mut self) {
        self.signal("QUIT");
        let began = Instant::now();
        while self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            if began.elapsed() > Duration::from_secs(5) {
                let _ = self.process.kill();
                let _ = self.process.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The template cluster of this server, made if it is not there.
fn template(programs: &Path) -> PathBuf {
    let root = std::env::temp_dir().join(format!("claviger-tests-{}", fs::metadata("/proc/self").unwrap().uid()));
    fs::create_dir_all(&root).unwrap();
    open_to_all(&root);
    let version = Command::new(programs.join("postgres")).arg("--version").output().unwrap().stdout;
    let version: String = text_of(&version).chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
    let ready = root.join(format!("{version}-{TEMPLATE}"));
    // One test makes it and the others wait.
    let lock = File::create(root.join("lock")).unwrap();
    lock.lock().unwrap();
    if !ready.exists() {
        let making = tempfile::tempdir_in(&root).unwrap();
        open_to_all(making.path());
        let cluster = making.path().join("cluster");
        make_cluster(programs, making.path(), &cluster);
        fs::rename(cluster, &ready).unwrap();
    }
    ready
}

fn make_cluster(programs: &Path, dir: &Path, cluster: &Path) {
    let password = dir.join("password");
    fs::write(&password, ADMIN_PASSWORD).unwrap();
    fs::create_dir(cluster).unwrap();
    give_to_server(cluster);
    let made = as_server(&programs.join("initdb"))
        .args([
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--wal-segsize=1",
        ])
        .arg(format!("--pwfile={}", password.display()))
        .arg(cluster)
        .output()
        .unwrap();
    assert!(made.status.success(), "initdb: {}", text_of(&made.stderr));
    for (database, statements) in SETUP {
        let mut single = as_server(&programs.join("postgres"));
        single.args(["--single", "-F", "-D"]).arg(cluster).arg(database);
        let mut single = single.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let statements = statements.replace("KEEPER", KEEPER_PASSWORD);
        single.stdin.take().unwrap().write_all(statements.as_bytes()).unwrap();
        let ended = single.wait_with_output().unwrap();
        let complaints = text_of(&ended.stderr);
        assert!(ended.status.success() && !complaints.contains("ERROR"), "{complaints}");
    }
    fs::write(cluster.join("pg_hba.conf"), HBA).unwrap();
    let mut settings = File::options().append(true).open(cluster.join("postgresql.conf")).unwrap();
    let ours = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\nshared_buffers = 16MB\nmax_connections = 400\n\
        min_wal_size = 2MB\nlog_line_prefix = '%p '\n";
    settings.write_all(ours.as_bytes()).unwrap();
}

/// Makes a certificate for these names and puts it where the server looks; the path of the authority's certificate.
fn certify(dir: &Path, cluster: &Path, names: &[&str]) -> PathBuf {
    let authority = Authority::new();
    let (certificate, key) = authority.certify(names);
    fs::write(cluster.join("server.crt"), certificate).unwrap();
    fs::write(cluster.join("server.key"), key).unwrap();
    fs::set_permissions(cluster.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    give_to_server(&cluster.join("server.key"));
    authority.write(&dir.join("authority.pem"))
}

fn speaks_tls(programs: &Path) -> bool {
    let libraries = Command::new("ldd").arg(programs.join("postgres")).output().unwrap().stdout;
    text_of(&libraries).contains("libssl")
}

/// A command that runs as the account that may run a server.
fn as_server(program: &Path) -> Command {
    if !is_root() {
        let mut command = Command::new(program);
        command.current_dir("/");
        return command;
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program).current_dir("/");
    command
}

fn give_to_server(path: &Path) {
    if is_root() {
        assert!(Command::new("chown").args(["-R", "postgres:postgres"]).arg(path).status().unwrap().success());
    }
}

/// Lets the account that runs a server look into a directory.
pub(crate) fn open_to_all(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
