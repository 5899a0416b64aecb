//! The labels of what there is, by number and name.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use claviger_model::Labels;

use super::facts;
use super::labels::{Bound, Classification, Stood};

/// What of the server's own tells what others have said, or what is in their tables. It has labels wherever anything has.
const SERVERS: &[(&str, &[&str], &str)] = &[
    ("pg_stat_activity", &["query"], "server.statements"),
    ("pg_stat_statements", &["query"], "server.statements"),
    ("pg_prepared_statements", &["statement"], "server.statements"),
    ("pg_cursors", &["statement"], "server.statements"),
    ("pg_statistic", &["stavalues1", "stavalues2", "stavalues3", "stavalues4", "stavalues5"], "server.statistics"),
    ("pg_stats", STATISTICS, "server.statistics"),
    ("pg_stats_ext", STATISTICS, "server.statistics"),
    ("pg_stats_ext_exprs", STATISTICS, "server.statistics"),
    ("pg_statistic_ext_data", &["stxdmcv", "stxdexpr"], "server.statistics"),
    ("pg_largeobject", &["data"], "server.objects"),
];

const STATISTICS: &[&str] = &[
    "most_common_vals",
    "histogram_bounds",
    "most_common_elems",
    "elem_count_histogram",
    "range_length_histogram",
    "range_bounds_histogram",
];

/// The labels of tables and columns.
#[derive(Default)]
pub(super) struct Named {
    tables: HashMap<u32, Vec<Labels>>,
    columns: HashMap<(u32, Arc<str>), Vec<Labels>>,
    none: Labels,
    bound: Bound,
}

impl Named {
    pub(super) fn new(
        classes: &Classification,
        relations: &[facts::Relation],
        columns: &HashMap<u32, Vec<facts::Column>>,
        parents: &HashMap<u32, Vec<u32>>,
    ) -> Self {
        let mut named = Self::default();
        if classes.iter().next().is_none() {
            return named;
        }
        let ids: HashMap<_, _> = relations.iter().map(|one| ((one.schema.as_str(), one.name.as_str()), one.id.0)).collect();
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for (child, parents) in parents {
            parents.iter().for_each(|parent| children.entry(*parent).or_default().push(*child));
        }
        let there: HashSet<u32> = relations.iter().map(|one| one.id.0).collect();
        for (name, labels) in classes.iter() {
            // What it stood for before keeps its labels, unless it has gone.
            let mut all: Vec<Stood> = classes.bound(name).iter().filter(|(id, _)| there.contains(id)).copied().collect();
            all.extend(ids.get(&(&*name.schema, &*name.table)).and_then(|id| {
                let Some(column_name) = &name.column else { return Some((*id, None)) };
                let found = column(columns.get(id)?, |one| *one.name == **column_name)?;
                Some((*id, Some(found.number)))
            }));
            pass_on(&mut all, columns, &children);
            for (id, number) in &all {
                named.put(*id, columns.get(id).and_then(|all| column(all, |one| *number == Some(one.number))), *number, labels);
            }
            if all.is_empty() {
                all = classes.bound(name).to_vec();
            }
            if !all.is_empty() {
                all.sort_unstable();
                named.bound.insert(Arc::clone(&name.text), all);
            }
        }
        named.put_servers(relations, columns);
        named.spread(columns, parents);
        named
    }

    fn put(&mut self, table: u32, column: Option<&facts::Column>, number: Option<i16>, labels: &Labels) {
        match (column, number) {
            (Some(column), _) => add(self.columns.entry((table, column.name.as_str().into())).or_default(), labels),
            (None, None) => add(self.tables.entry(table).or_default(), labels),
            (None, Some(_)) => {}
        }
    }

    fn put_servers(&mut self, relations: &[facts::Relation], columns: &HashMap<u32, Vec<facts::Column>>) {
        for relation in relations {
            let Some((_, names, label)) = SERVERS.iter().find(|(name, _, _)| *name == relation.name) else { continue };
            let own = columns.get(&relation.id.0).into_iter().flatten().filter(|column| names.contains(&column.name.as_str()));
            for column in own {
                self.put(relation.id.0, Some(column), Some(column.number), &Arc::from([Arc::from(*label)]));
            }
        }
    }

    /// What a table shows of its partitions and of those that inherit from it has their labels.
    fn spread(&mut self, columns: &HashMap<u32, Vec<facts::Column>>, parents: &HashMap<u32, Vec<u32>>) {
        let mut waiting: Vec<u32> = self.tables.keys().copied().chain(self.columns.keys().map(|(id, _)| *id)).collect();
        let mut seen = HashSet::new();
        while let Some(child) = waiting.pop() {
            for parent in parents.get(&child).into_iter().flatten().filter(|parent| seen.insert((child, **parent))) {
                if let Some(labels) = self.tables.get(&child).cloned() {
                    let all = self.tables.entry(*parent).or_default();
                    labels.iter().for_each(|labels| add(all, labels));
                }
                for column in columns.get(parent).into_iter().flatten() {
                    let name: Arc<str> = column.name.as_str().into();
                    if let Some(labels) = self.columns.get(&(child, Arc::clone(&name))).cloned() {
                        let all = self.columns.entry((*parent, name)).or_default();
                        labels.iter().for_each(|labels| add(all, labels));
                    }
                }
                waiting.push(*parent);
            }
        }
    }

    pub(super) fn unmatched(&self, classes: &Classification) -> Vec<Arc<str>> {
        let texts = classes.iter().map(|(name, _)| &name.text);
        texts.filter(|text| !self.bound.contains_key(*text)).map(Arc::clone).collect()
    }

    pub(super) fn bound(&self) -> Bound {
        self.bound.clone()
    }

    /// A table has its own labels and those of what it is a part of.
    pub(super) fn of_table(&self, ancestors: &[u32]) -> Labels {
        let found = ancestors.iter().filter_map(|id| self.tables.get(id)).flatten();
        union(found, &self.none)
    }

    pub(super) fn of_column(&self, ancestors: &[u32], name: &str, table: &Labels) -> Labels {
        if self.columns.is_empty() {
            return Arc::clone(table);
        }
        let key = |id: &u32| (*id, Arc::<str>::from(name));
        let found = ancestors.iter().filter_map(|id| self.columns.get(&key(id))).flatten();
        union(found, table)
    }
}

/// Takes labels in once: a parent has those of thousands of partitions, which are the same.
fn add(all: &mut Vec<Labels>, labels: &Labels) {
    if !all.iter().any(|known| Arc::ptr_eq(known, labels)) {
        all.push(Arc::clone(labels));
    }
}

/// What is a part of a table has its labels, and keeps them when it is none any more.
fn pass_on(all: &mut Vec<Stood>, columns: &HashMap<u32, Vec<facts::Column>>, children: &HashMap<u32, Vec<u32>>) {
    all.sort_unstable();
    all.dedup();
    let mut known: HashSet<Stood> = all.iter().copied().collect();
    let mut next = 0;
    while let Some((id, number)) = all.get(next).copied() {
        next += 1;
        let name = columns.get(&id).and_then(|all| column(all, |one| number == Some(one.number))).map(|found| &found.name);
        for child in children.get(&id).into_iter().flatten() {
            let own = name.and_then(|name| column(columns.get(child)?, |one| one.name == *name)).map(|found| found.number);
            all.extend(Some((*child, own)).filter(|stood| own.is_some() == number.is_some() && known.insert(*stood)));
        }
    }
}

fn column(columns: &[facts::Column], is_it: impl Fn(&facts::Column) -> bool) -> Option<&facts::Column> {
    columns.iter().find(|column| is_it(column))
}

/// All of these labels.
pub(super) fn union<'a>(more: impl Iterator<Item = &'a Labels>, labels: &Labels) -> Labels {
    let mut more = more.peekable();
    if more.peek().is_none() {
        return Arc::clone(labels);
    }
    let mut all: Vec<Arc<str>> = more.flat_map(|labels| labels.iter()).chain(labels.iter()).cloned().collect();
    all.sort_unstable();
    all.dedup();
    all.into()
}
