//! Statements made by chance over the fixture of `tests/corpus`: right as to their grammar, and mostly as to their types.

/// Chance, the same each time for the same seed.
pub(super) struct Chance(u64);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Text,
    Number,
    Truth,
    Date,
}

use Kind::{Date, Int, Number, Text, Truth};

/// What can be selected from, and its columns.
const TABLES: [(&str, &[(&str, Kind)]); 14] = [
    (
        "customers",
        &[
            ("id", Int),
            ("name", Text),
            ("email", Text),
            ("ssn", Text),
            ("account_number", Text),
            ("balance", Number),
            ("branch", Text),
        ],
    ),
    ("accounts", &[("id", Int), ("customer_id", Int), ("account_number", Text), ("routing_number", Text), ("kind", Text)]),
    ("branches", &[("code", Text), ("name", Text), ("city", Text)]),
    (
        "orders",
        &[
            ("id", Int),
            ("customer_id", Int),
            ("total", Number),
            ("placed", Date),
            ("status", Text),
            ("\"delete\"", Truth),
            ("\"drop table\"", Text),
        ],
    ),
    ("audit_log", &[("id", Int), ("what", Text)]),
    ("drafts", &[("id", Int), ("body", Text)]),
    ("events", &[("id", Int), ("kind", Text), ("body", Text)]),
    ("events_login", &[("id", Int), ("kind", Text), ("body", Text)]),
    ("places", &[("id", Int), ("name", Text)]),
    ("towns", &[("id", Int), ("name", Text), ("people", Int)]),
    ("v_customers", &[("id", Int), ("name", Text), ("ssn", Text)]),
    ("v_open", &[("id", Int), ("customer_id", Int), ("total", Number)]),
    ("m_totals", &[("customer_id", Int), ("total", Number)]),
    ("shadow.branches", &[("code", Text), ("name", Text)]),
];

/// Those that can be written to: all but the materialized view.
const WRITABLE: [usize; 13] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13];

/// A name, and the columns that can be reached by it.
type Scope = Vec<(String, Vec<(String, Kind)>)>;

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// A whole text: mostly one statement, now and then two.
    pub(super) fn text(&mut self) -> String {
        match self.below(40) {
            0 => format!("{}; {}", self.statement(), self.statement()),
            1 => format!("PREPARE p AS {}; EXECUTE p", self.statement()),
            _ => self.statement(),
        }
    }

    fn statement(&mut self) -> String {
        match self.below(27) {
            24.. => self.joined(),
            0..9 => self.query(&Vec::new(), 3),
            9..12 => self.insert(&Vec::new()),
            12..15 => self.update(&Vec::new()),
            15..18 => self.delete(&Vec::new()),
            18 => self.merge(),
            19 => self.with_writing(),
            20 => {
                let inner = self.changing_or_not();
                format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {inner}")
            }
            21 => {
                let query = self.query(&Vec::new(), 2);
                format!("COPY ({query}) TO STDOUT")
            }
            22 => match self.below(6) {
                0 => format!("TRUNCATE {}", TABLES[*self.of(&[4, 5, 6, 8])].0),
                1 => "CALL close_day()".to_owned(),
                2 => "CALL note('chance')".to_owned(),
                3 => format!("CREATE TEMP TABLE made AS {}", self.query(&Vec::new(), 2)),
                4 => "REFRESH MATERIALIZED VIEW m_totals".to_owned(),
                _ => "COPY audit_log (what) FROM STDIN".to_owned(),
            },
            _ => self.changing_or_not(),
        }
    }

    /// All columns, or all of one part, of tables that are joined by columns of the same name, in any way and however deep.
    fn joined(&mut self) -> String {
        let mut aliases = Vec::new();
        let (from, _) = self.join(3, &mut aliases);
        let star = match self.below(4) {
            0 => format!("{}.*", self.of(&aliases)),
            _ => "*".to_owned(),
        };
        format!("SELECT {star} FROM {from} LIMIT 5")
    }

    /// A join, and the names of its columns.
    fn join(&mut self, depth: usize, aliases: &mut Vec<String>) -> (String, Vec<String>) {
        if depth == 0 || self.one_in(4) {
            let (name, columns) = *self.of(&TABLES);
            let mut columns: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
            let alias = format!("t{}", aliases.len());
            aliases.push(alias.clone());
            let renamed = if self.one_in(5) { "(id, other)" } else { "" };
            if !renamed.is_empty() {
                columns = ["id", "other"].map(ToOwned::to_owned).into_iter().chain(columns.into_iter().skip(2)).collect();
            }
            return (format!("{name} {alias}{renamed}"), columns);
        }
        let (left, mut columns) = self.join(depth - 1, aliases);
        let (right, more) = self.join(depth - 1, aliases);
        let right = if right.contains(" JOIN ") { format!("({right})") } else { right };
        let kind = *self.of(&["", "LEFT ", "RIGHT ", "FULL "]);
        let common: Vec<String> = columns.iter().filter(|name| more.contains(name)).cloned().collect();
        let text = match self.below(4) {
            0 => format!("{left} NATURAL {kind}JOIN {right}"),
            1 | 2 if !common.is_empty() => {
                let one = self.of(&common).clone();
                format!("{left} {kind}JOIN {right} USING ({one})")
            }
            _ => format!("{left} {kind}JOIN {right} ON true"),
        };
        columns.extend(more);
        match self.below(5) {
            0 => {
                let alias = format!("j{}", aliases.len());
                aliases.push(alias.clone());
                (format!("({text}) {alias}"), columns)
            }
            1 => (format!("({text})"), columns),
            _ => (text, columns),
        }
    }

    fn changing_or_not(&mut self) -> String {
        match self.below(4) {
            0 => self.insert(&Vec::new()),
            1 => self.update(&Vec::new()),
            2 => self.delete(&Vec::new()),
            _ => self.query(&Vec::new(), 2),
        }
    }

    fn with_writing(&mut self) -> String {
        let inner = match self.below(3) {
            0 => self.insert(&Vec::new()),
            1 => self.update(&Vec::new()),
            _ => self.delete(&Vec::new()),
        };
        let outer = match self.below(3) {
            0 => self.changing_or_not(),
            1 => "SELECT count(*) FROM w".to_owned(),
            _ => self.query(&Vec::new(), 2),
        };
        let returning = if inner.contains("RETURNING") { "" } else { " RETURNING *" };
        format!("WITH w AS ({inner}{returning}) {outer}")
    }

    // --- Queries ---

    fn query(&mut self, outer: &Scope, depth: usize) -> String {
        if depth > 0 && self.one_in(10) {
            let operator = *self.of(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
            let kind = *self.of(&[Int, Text]);
            return format!(
                "{} {operator} {}",
                self.column_query(outer, kind, depth - 1),
                self.column_query(outer, kind, depth - 1)
            );
        }
        let with = if depth > 1 && self.one_in(8) {
            format!("WITH c AS ({}) ", self.query(&Vec::new(), depth - 1))
        } else {
            String::new()
        };
        let (from, scope) = self.from(outer, depth);
        let inner = scope[outer.len()..].to_vec();
        let grouped = self.one_in(6);
        let mut text = if grouped {
            let (kind, key) = (*self.of(&[Int, Text]), *self.of(&["count(*)", "max", "string_agg"]));
            let by = self.column(&inner, kind).unwrap_or_else(|| "1 + 0".to_owned());
            let value = self.expression(&scope, Text, depth);
            let aggregate = match key {
                "count(*)" => key.to_owned(),
                "max" => format!("max({value}) FILTER (WHERE {})", self.condition(&scope, depth.min(1))),
                _ => format!("string_agg({value}, ',' ORDER BY {value})"),
            };
            let condition = self.where_clause(&scope, depth);
            format!("SELECT {by}, {aggregate} FROM {from}{condition} GROUP BY {by}")
        } else {
            let targets = self.targets(&inner, &scope, depth);
            let condition = self.where_clause(&scope, depth);
            format!("SELECT {targets} FROM {from}{condition}")
        };
        if self.one_in(4) {
            text += " ORDER BY 1";
        }
        if self.one_in(4) {
            text += &format!(" LIMIT {}", self.below(20));
        }
        // The views inside a query in `FROM` would have to be locked by their names.
        if !grouped && outer.is_empty() && !from.contains("SELECT") && self.one_in(15) {
            text += *self.of(&[" FOR UPDATE", " FOR SHARE"]);
        }
        with + &text
    }

    fn targets(&mut self, inner: &Scope, scope: &Scope, depth: usize) -> String {
        match self.below(7) {
            0 => "*".to_owned(),
            1 => format!("{}.*", self.of(inner).0),
            2 => format!(
                "{}, count(*) OVER (PARTITION BY {})",
                self.expression(scope, Int, depth),
                self.expression(scope, Text, 0)
            ),
            _ => {
                let count = 1 + self.below(3);
                let one = |this: &mut Self| {
                    let kind = *this.of(&[Int, Text, Number, Truth]);
                    this.expression(scope, kind, depth)
                };
                (0..count).map(|_| one(self)).collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn column_query(&mut self, outer: &Scope, kind: Kind, depth: usize) -> String {
        let (from, scope) = self.from(outer, depth);
        let value = self.expression(&scope, kind, depth);
        let condition = self.where_clause(&scope, depth);
        format!("SELECT {value} FROM {from}{condition}")
    }

    fn from(&mut self, outer: &Scope, depth: usize) -> (String, Scope) {
        let mut scope = outer.clone();
        let (mut text, columns) = self.item(depth);
        let alias = format!("t{}", scope.len());
        text = format!("{text} {alias}");
        scope.push((alias, columns));
        while depth > 0 && self.one_in(3) && scope.len() < outer.len() + 3 {
            let alias = format!("t{}", scope.len());
            let join = *self.of(&["JOIN", "LEFT JOIN", "CROSS JOIN", ",", "FULL JOIN", ", LATERAL"]);
            if join == ", LATERAL" {
                let inner = self.column_query(&scope, Int, depth - 1);
                text = format!("{text}, LATERAL ({inner} LIMIT 2) {alias}(v)");
                scope.push((alias, vec![("v".to_owned(), Int)]));
                continue;
            }
            let (item, columns) = self.item(depth);
            scope.push((alias.clone(), columns));
            let on = match join {
                "CROSS JOIN" | "," => String::new(),
                "FULL JOIN" => " ON true AND 1 = 1".to_owned(),
                // What stands before a comma is not seen after it.
                _ if text.contains(", ") => " ON true".to_owned(),
                _ => format!(" ON {}", self.condition(&scope[outer.len()..].to_vec(), 0)),
            };
            text = format!("{text} {join} {item} {alias}{on}");
        }
        (text, scope)
    }

    fn item(&mut self, depth: usize) -> (String, Vec<(String, Kind)>) {
        let named = |columns: &[(&str, Kind)]| columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        match self.below(14) {
            0 if depth > 0 => (
                format!("({})", self.column_query(&Vec::new(), Int, depth - 1).replacen(" FROM", " AS v FROM", 1)),
                named(&[("v", Int)]),
            ),
            1 => ("generate_series(1, 3)".to_owned(), Vec::new()),
            2 => ("all_ssns()".to_owned(), Vec::new()),
            3 => ("(VALUES (1, 'a'), (2, 'b'))".to_owned(), named(&[("column1", Int), ("column2", Text)])),
            _ => {
                let (name, columns) = *self.of(&TABLES);
                (name.to_owned(), named(columns))
            }
        }
    }

    fn where_clause(&mut self, scope: &Scope, depth: usize) -> String {
        if self.one_in(3) { String::new() } else { format!(" WHERE {}", self.condition(scope, depth)) }
    }

    // --- Values ---

    fn column(&mut self, scope: &Scope, kind: Kind) -> Option<String> {
        let fitting: Vec<String> = scope
            .iter()
            .flat_map(|(alias, columns)| {
                columns.iter().filter(|(_, of)| *of == kind).map(move |(name, _)| format!("{alias}.{name}"))
            })
            .collect();
        if fitting.is_empty() { None } else { Some(self.of(&fitting).clone()) }
    }

    fn expression(&mut self, scope: &Scope, kind: Kind, depth: usize) -> String {
        if depth == 0 || self.one_in(2) {
            let constant = match kind {
                Int => self.below(50).to_string(),
                Text => format!("'{}'", self.of(&["NY", "open", "a", "Customer 3", "login"])),
                Number => format!("{}.5", self.below(100)),
                Truth => (*self.of(&["true", "false"])).to_owned(),
                Date => "date '2024-02-03'".to_owned(),
            };
            return self.column(scope, kind).filter(|_| !self.one_in(6)).unwrap_or(constant);
        }
        let depth = depth - 1;
        match kind {
            Int => self.int(scope, depth),
            Text => self.string(scope, depth),
            Number => match self.below(4) {
                0 => format!("add_tax({})", self.expression(scope, Number, depth)),
                1 => format!("order_total({})", self.expression(scope, Int, depth)),
                2 => format!("coalesce({}, 0)", self.expression(scope, Number, depth)),
                _ => format!("({} + {})", self.expression(scope, Number, depth), self.expression(scope, Int, depth)),
            },
            Truth => format!("({})", self.condition(scope, depth)),
            Date => format!("({} + {})", self.expression(scope, Date, depth), self.expression(scope, Int, depth)),
        }
    }

    fn int(&mut self, scope: &Scope, depth: usize) -> String {
        match self.below(10) {
            0 => format!("length({})", self.expression(scope, Text, depth)),
            1 => format!("(SELECT count(*)::int FROM {})", self.of(&TABLES).0),
            2 => format!("({} LIMIT 1)", self.column_query(scope, Int, depth.min(1))),
            3 => format!("CASE WHEN {} THEN {} ELSE 0 END", self.condition(scope, depth), self.expression(scope, Int, depth)),
            4 if self.one_in(3) => {
                (*self.of(&["purge()", "purge_plpgsql()", "purge_one(3)", "(SELECT done FROM v_purge)"])).to_owned()
            }
            5 => format!("coalesce({}, {})", self.expression(scope, Int, depth), self.expression(scope, Int, depth)),
            6 if self.one_in(2) => "nextval('orders_id_seq')::int".to_owned(),
            7 => format!("(ARRAY(SELECT id FROM orders WHERE {}))[1]", self.condition(scope, 0)),
            _ => format!("({} + {})", self.expression(scope, Int, depth), self.expression(scope, Int, depth)),
        }
    }

    fn string(&mut self, scope: &Scope, depth: usize) -> String {
        match self.below(9) {
            0 => format!("upper({})", self.expression(scope, Text, depth)),
            1 => format!("({} || {})", self.expression(scope, Text, depth), self.expression(scope, Text, depth)),
            2 => format!("substr({}, 1, 3)", self.expression(scope, Text, depth)),
            3 => format!("to_char({}, 'YYYY')", self.expression(scope, Date, depth)),
            4 if !scope.is_empty() => format!("{}::text", self.of(scope).0),
            5 if !scope.is_empty() => format!("row_to_json({})::text", self.of(scope).0),
            6 => format!("({} LIMIT 1)", self.column_query(scope, Text, depth.min(1))),
            7 if self.one_in(4) => "(ROW(1)::money_t)::text".to_owned(),
            _ => format!("{}::text", self.expression(scope, Int, depth)),
        }
    }

    fn condition(&mut self, scope: &Scope, depth: usize) -> String {
        if depth == 0 {
            let operator = *self.of(&["=", "<", ">=", "<>"]);
            return format!("{} {operator} {}", self.expression(scope, Int, 0), self.expression(scope, Int, 0));
        }
        let depth = depth - 1;
        match self.below(10) {
            0 => format!("({} AND {})", self.condition(scope, depth), self.condition(scope, depth)),
            1 => format!("({} OR {})", self.condition(scope, depth), self.condition(scope, depth)),
            2 => format!("NOT ({})", self.condition(scope, depth)),
            3 => format!("{} IS NOT NULL", self.expression(scope, Text, depth)),
            4 => format!("{} LIKE '%a%'", self.expression(scope, Text, depth)),
            5 => format!("{} IN ({})", self.expression(scope, Int, 0), self.column_query(scope, Int, depth)),
            6 => format!("EXISTS ({})", self.column_query(scope, Int, depth)),
            7 if self.one_in(5) => format!("{} === {}", self.expression(scope, Int, 0), self.expression(scope, Int, 0)),
            8 => format!("{} BETWEEN 1 AND {}", self.expression(scope, Int, depth), self.below(60)),
            _ => format!("{} = {}", self.expression(scope, Text, depth), self.expression(scope, Text, depth)),
        }
    }

    // --- Changes ---

    fn target(&mut self) -> (String, Vec<(String, Kind)>) {
        let (name, columns) = TABLES[*self.of(&WRITABLE)];
        (name.to_owned(), columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect())
    }

    fn returning(&mut self, scope: &Scope) -> String {
        match self.below(4) {
            0 => " RETURNING *".to_owned(),
            1 => {
                let kind = *self.of(&[Int, Text]);
                format!(" RETURNING {}", self.expression(scope, kind, 2))
            }
            _ => String::new(),
        }
    }

    fn insert(&mut self, outer: &Scope) -> String {
        if self.one_in(8) {
            return (*self.of(&[
                "INSERT INTO jobs (id) VALUES (1)",
                "INSERT INTO inbox VALUES (1, 'x')",
                "INSERT INTO audit_log DEFAULT VALUES",
            ]))
            .to_owned();
        }
        let (table, columns) = self.target();
        let count = 1 + self.below(columns.len());
        let some = &columns[..count];
        let names = some.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let source = if self.one_in(2) {
            let (from, scope) = self.from(outer, 1);
            let values: Vec<String> = some.iter().map(|(_, kind)| self.expression(&scope, *kind, 1)).collect();
            format!("SELECT {} FROM {from}{}", values.join(", "), self.where_clause(&scope, 1))
        } else {
            let values: Vec<String> = some.iter().map(|(_, kind)| self.expression(outer, *kind, 2)).collect();
            format!("VALUES ({})", values.join(", "))
        };
        let conflict = match self.below(4) {
            0 => " ON CONFLICT DO NOTHING".to_owned(),
            1 if table == "branches" => {
                " ON CONFLICT (code) DO UPDATE SET name = branches.name || branches.city WHERE branches.name <> 'x'".to_owned()
            }
            1 if table == "orders" => " ON CONFLICT (id) DO UPDATE SET status = 'again'".to_owned(),
            _ => String::new(),
        };
        let scope = vec![(table.rsplit('.').next().unwrap().to_owned(), columns.clone())];
        let returning = self.returning(&scope);
        format!("INSERT INTO {table} ({names}) {source}{conflict}{returning}")
    }

    fn update(&mut self, outer: &Scope) -> String {
        let (table, columns) = self.target();
        let mut scope = outer.clone();
        scope.push(("u".to_owned(), columns.clone()));
        let from = if self.one_in(3) {
            let (name, columns) = *self.of(&TABLES);
            scope.push(("f".to_owned(), columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()));
            format!(" FROM {name} f")
        } else {
            String::new()
        };
        let (column, kind) = self.of(&columns).clone();
        let value = if self.one_in(8) { "DEFAULT".to_owned() } else { self.expression(&scope, kind, 2) };
        let condition = self.where_clause(&scope, 2);
        let returning = self.returning(&scope);
        format!("UPDATE {table} u SET {column} = {value}{from}{condition}{returning}")
    }

    fn delete(&mut self, outer: &Scope) -> String {
        let (table, columns) = self.target();
        let mut scope = outer.clone();
        scope.push(("d".to_owned(), columns));
        let using = if self.one_in(3) {
            let (name, columns) = *self.of(&TABLES);
            scope.push(("f".to_owned(), columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()));
            format!(" USING {name} f")
        } else {
            String::new()
        };
        let condition = self.where_clause(&scope, 2);
        let returning = self.returning(&scope);
        format!("DELETE FROM {table} d{using}{condition}{returning}")
    }

    fn merge(&mut self) -> String {
        let (table, columns) = self.target();
        let (source, others) = *self.of(&TABLES);
        let others = others.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        let scope = vec![("m".to_owned(), columns.clone()), ("s".to_owned(), others)];
        let on = self.condition(&scope, 1);
        let (column, kind) = self.of(&columns).clone();
        let value = self.expression(&scope, kind, 1);
        let matched = *self.of(&["DELETE", "DO NOTHING", ""]);
        let matched = if matched.is_empty() { format!("UPDATE SET {column} = {value}") } else { matched.to_owned() };
        let inserted = self.expression(&vec![scope[1].clone()], kind, 1);
        let not =
            if self.one_in(2) { format!(" WHEN NOT MATCHED THEN INSERT ({column}) VALUES ({inserted})") } else { String::new() };
        format!("MERGE INTO {table} m USING {source} s ON {on} WHEN MATCHED THEN {matched}{not}")
    }
}
