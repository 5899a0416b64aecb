//! A session straight on a server in which statements are understood before they run, and what they did is seen after.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use claviger_model::{Hazard, Meaning, Object, Verb};
use claviger_sql::{Catalog, Classification, FINGERPRINT, QUESTION, Session, understand};

use super::origins;
use super::script::Sent;
use crate::corpus::player::{Message, Player, errors, rows};

/// How many rows of a table came to be, changed and went away, by the table's OID.
type Counts = BTreeMap<u32, [i64; 3]>;

/// What was found out about one statement.
pub(super) struct Seen {
    /// What it was understood to do; `None` if it was not understood at all, so that it would not have run.
    pub(super) meanings: Option<Vec<Meaning>>,
    /// Whether the server did it.
    pub(super) done: bool,
    /// Whether what it did could be seen.
    pub(super) watched: bool,
    /// What happened and was not said.
    pub(super) unsaid: Vec<String>,
}

/// A session that is watched.
pub(super) struct Watch {
    /// Where the server is, the database, and how each session begins.
    place: (u16, String, &'static str),
    player: Player,
    catalog: Catalog,
    /// The same, with a label for every column.
    labelled: Catalog,
    session: Session,
    /// `I`, `T` or `E`, as the server last said.
    status: u8,
}

impl Watch {
    /// A session of the superuser that begins with this statement.
    pub(super) fn new(port: u16, database: &str, beginning: &'static str) -> Self {
        let player = Player::direct(port, "postgres", database);
        let place = (port, database.to_owned(), beginning);
        let (catalog, labelled, session) = Default::default();
        let mut watch = Self { place, player, catalog, labelled, session, status: b'I' };
        watch.run(beginning);
        watch.refresh();
        watch
    }

    /// Another session in the place of one that has ended, or that does not answer any more.
    fn begin_again(&mut self) {
        let (port, database, beginning) = &self.place;
        self.player = Player::direct(*port, "postgres", database);
        (self.session, self.status) = (Session::default(), b'I');
        self.run(beginning);
    }

    /// Does whatever, unwatched.
    pub(super) fn run(&mut self, text: &str) -> Vec<Message> {
        self.send(&Sent { text: text.to_owned(), data: String::new() })
    }

    fn send(&mut self, sent: &Sent) -> Vec<Message> {
        let answers = self.player.query(&sent.text, &sent.data);
        self.status = answers.last().map_or(b'I', |(_, body)| body.first().copied().unwrap_or(b'I'));
        answers
    }

    fn texts(&mut self, query: &str) -> Vec<Vec<Option<String>>> {
        let answers = self.run(query);
        let text = |cell: Vec<u8>| String::from_utf8_lossy(&cell).into_owned();
        assert!(errors(&answers).next().is_none(), "{query}: {:?}", errors(&answers).next());
        rows(&answers).into_iter().map(|row| row.into_iter().map(|cell| cell.map(text)).collect()).collect()
    }

    /// The fingerprint, the roles and the search path.
    fn state(&mut self) -> [String; 4] {
        let query = format!("select ({FINGERPRINT}), current_user, session_user, array_to_string(current_schemas(true), chr(1))");
        for _ in 0..2 {
            let answers = self.run(&query);
            let row = rows(&answers).into_iter().next().unwrap_or_default();
            let texts: Vec<_> = row.into_iter().flatten().map(|cell| String::from_utf8_lossy(&cell).into_owned()).collect();
            if let Ok(state) = texts.try_into() {
                return state;
            }
            self.begin_again();
        }
        panic!("the server does not answer");
    }

    /// Reads the catalog again if it is another, and whose session it is and where it looks for names.
    fn refresh(&mut self) {
        let [fingerprint, role, login, path] = self.state();
        if fingerprint != self.catalog.fingerprint() {
            let rows: Vec<Vec<_>> = self
                .texts(QUESTION)
                .into_iter()
                .map(|row| row.into_iter().map(|cell| cell.map(|text| text.into_bytes().into())).collect())
                .collect();
            self.catalog = Catalog::read(&rows, &Classification::default(), None).unwrap();
            self.labelled = Catalog::read(&rows, &origins::labels_of_all(&self.catalog), None).unwrap();
        }
        self.session.role = role.as_str().into();
        self.session.login = login.as_str().into();
        self.session.path = path.split('\u{1}').map(Into::into).collect();
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What a text is understood to do here and now.
    pub(super) fn understood(&mut self, text: &str) -> Option<Vec<Meaning>> {
        let statements = understand(text, &self.catalog, &self.session).ok()?;
        Some(statements.into_iter().map(|statement| statement.meaning).collect())
    }

    /// What a text is understood to do where every column has a label.
    pub(super) fn shown(&self, text: &str) -> Option<Vec<Meaning>> {
        let statements = understand(text, &self.labelled, &self.session).ok()?;
        Some(statements.into_iter().map(|statement| statement.meaning).collect())
    }

    /// What the answers to a text show by the server's own words, and was not understood to be shown.
    pub(super) fn origins_unsaid(&self, answers: &[Message], shown: &[Meaning]) -> Vec<String> {
        origins::unsaid(answers, shown, &self.labelled)
    }

    /// Runs a statement as a client would, and sees what it did. Outside a transaction it gets one of its own where it can.
    pub(super) fn watch(&mut self, sent: &Sent) -> Seen {
        let within = self.status == b'T';
        let mut seen = Seen { meanings: None, done: false, watched: false, unsaid: Vec::new() };
        let statements = if self.status == b'E' {
            None
        } else {
            self.refresh();
            understand(&sent.text, &self.catalog, &self.session).ok()
        };
        seen.meanings = statements.as_ref().map(|statements| statements.iter().map(|one| one.meaning.clone()).collect());
        let shown = self.shown(&sent.text).filter(|_| self.status != b'E');
        let own = !within && self.status == b'I' && may_be_wrapped(&sent.text);
        if own {
            self.run("begin");
        }
        let before = (self.status == b'T').then(|| self.counts());
        let answers = self.send(sent);
        seen.done = errors(&answers).next().is_none();
        if seen.done {
            seen.unsaid = shown.map(|shown| self.origins_unsaid(&answers, &shown)).unwrap_or_default();
        }
        // What is taken back is counted again as it was done.
        let takes_back = sent.text.trim_start().to_ascii_lowercase().starts_with("rollback");
        if let (Some(before), b'T', true, false) = (before, self.status, seen.done, takes_back) {
            seen.watched = true;
            let after = self.counts();
            if let Some(meanings) = &seen.meanings {
                seen.unsaid.extend(self.unsaid(meanings, &before, &after));
            }
        }
        if own {
            self.run(if seen.done { "commit" } else { "rollback" });
        }
        if seen.done {
            let transitions = statements.iter().flatten().flat_map(|statement| &statement.transitions);
            transitions.for_each(|transition| self.session.apply(transition));
        }
        seen
    }

    /// What the transaction has done so far to each table, its own and the server's.
    pub(super) fn counts(&mut self) -> Counts {
        let rows = self.texts(
            "select relid, n_tup_ins, n_tup_upd, n_tup_del from pg_catalog.pg_stat_xact_all_tables
             where n_tup_ins + n_tup_upd + n_tup_del > 0 and schemaname not like 'pg_toast%'",
        );
        let number = |cell: &Option<String>| cell.as_deref().unwrap_or("0").parse::<i64>().unwrap();
        rows.iter()
            .map(|row| (u32::try_from(number(&row[0])).unwrap(), [number(&row[1]), number(&row[2]), number(&row[3])]))
            .collect()
    }

    /// What happened between two counts and is in none of the meanings.
    pub(super) fn unsaid(&self, meanings: &[Meaning], before: &Counts, after: &Counts) -> Vec<String> {
        let effects: Vec<_> = meanings.iter().flat_map(|meaning| &meaning.effects).collect();
        if effects.iter().any(|effect| effect.verb == Verb::Unknown) {
            return Vec::new();
        }
        let said: HashMap<u32, BTreeSet<Verb>> = effects.iter().fold(HashMap::new(), |mut said, effect| {
            let id = match &effect.object {
                Object::Table(table) => table.id,
                Object::Column(column) => column.table.id,
                _ => return said,
            };
            said.entry(id).or_default().insert(effect.verb);
            said
        });
        let large_objects = meanings.iter().any(|meaning| meaning.hazards.contains(&Hazard::LargeObject));
        // The session's own temporary tables go without being named.
        let discards = meanings.iter().any(|meaning| meaning.class == "DISCARD");
        let defines = large_objects || discards || effects.iter().any(|effect| DEFINES.contains(&effect.verb));
        let mut unsaid = Vec::new();
        for (table, counts) in after {
            let was = before.get(table).copied().unwrap_or_default();
            for (n, verb) in [Verb::Insert, Verb::Update, Verb::Delete].into_iter().enumerate() {
                if counts[n] <= was[n] {
                    continue;
                }
                let Some(relation) = self.catalog.relation(*table) else {
                    // It did not exist before: to make it is to fill it. Or it is the server's own and is not in the catalog.
                    if !defines {
                        unsaid.push(format!("{} table {table}", verb.as_str()));
                    }
                    continue;
                };
                let verbs = said.get(table);
                let whole = [verb, Verb::Truncate, Verb::Maintain];
                let told = verbs.is_some_and(|verbs| whole.iter().any(|verb| verbs.contains(verb)))
                    || (relation.table.system && defines);
                if !told {
                    unsaid.push(format!("{} {}", verb.as_str(), relation.table));
                }
            }
        }
        unsaid
    }
}

/// Verbs by which the server's own tables change.
const DEFINES: [Verb; 7] = [Verb::Create, Verb::Alter, Verb::Drop, Verb::Grant, Verb::Truncate, Verb::Maintain, Verb::Control];

/// Whether a statement can be run inside a transaction, and does not begin one of its own.
fn may_be_wrapped(text: &str) -> bool {
    let words: Vec<String> = text.split_whitespace().take(3).map(|word| word.to_ascii_lowercase()).collect();
    let words: Vec<&str> = words.iter().map(|word| word.trim_matches(';')).collect();
    !matches!(
        words[..],
        [
            "begin"
                | "start"
                | "commit"
                | "end"
                | "rollback"
                | "abort"
                | "vacuum"
                | "cluster"
                | "reindex"
                | "prepare"
                | "savepoint"
                | "release",
            ..
        ] | ["create" | "drop" | "alter", "database" | "tablespace" | "subscription" | "system", ..]
            | ["discard", "all", ..]
    ) && !text.to_ascii_lowercase().contains("concurrently")
}
