//! What of classified columns a request shows, and what is done about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::Column;

/// What a statement shows of classified columns, and what they decide about what it shows. Never less than really happens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disclosure {
    /// The columns of its rows, in order.
    pub outputs: Vec<Output>,
    /// If its rows may have more columns than those: the classified columns that these are made of.
    pub rest: Option<BTreeSet<Arc<Column>>>,
    /// What decides which rows there are, how many, in which order, and whether there is an error in their place.
    pub control: BTreeSet<Control>,
    /// Classified columns that decide in which order rows come that are sorted alike, and what is to be sorted by for it not to be seen.
    pub order: Option<Order>,
    /// Whether rows that look alike may come in an order that hangs on classified values, so that which of them has none would tell.
    pub grouped: bool,
    /// What goes into columns that do not have the same labels.
    pub carried: BTreeSet<Carried>,
    /// Classified columns whose values an error or a notice may tell of.
    pub told: BTreeSet<Arc<Column>>,
    /// Whether it may show any classified column that there is, because it is not known all that it does.
    pub anything: bool,
    /// How its rows are written, if they leave by `COPY`.
    pub copy: Option<CopyFormat>,
}

impl Disclosure {
    /// All that may have to be put into the statement's text.
    pub fn insertions(&mut self) -> impl Iterator<Item = &mut Insertion> {
        let sums = self.outputs.iter_mut().filter_map(|output| match output {
            Output::Summed(sum) => sum.limit.as_mut(),
            Output::Plain | Output::Copy(_) | Output::Made(_) => None,
        });
        sums.flatten().chain(self.order.iter_mut().flat_map(|order| &mut order.sorted))
    }
}

/// A column of a statement's rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// It shows nothing of classified columns.
    Plain,
    /// It is a classified column, unchanged.
    Copy(Arc<Column>),
    /// It is made of classified columns, or they decide what it is.
    Made(BTreeSet<Arc<Column>>),
    /// It is a sum or an average of a classified column.
    Summed(Sum),
}

/// A sum or an average of a classified column over the rows of one table, each of which counts once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sum {
    /// Of which.
    pub column: Arc<Column>,
    /// Over fewer values than this the statement itself makes it NULL; 0 if it does not.
    pub least: u32,
    /// Whether rows are sorted by it.
    pub sorts: bool,
    /// What is to be put around it so that it is NULL over too few: before it, where their number and `THEN` are to follow, and after it.
    pub limit: Option<[Insertion; 2]>,
}

impl Output {
    /// The classified columns that it shows.
    pub fn columns(&self) -> Vec<&Arc<Column>> {
        match self {
            Self::Plain => Vec::new(),
            Self::Copy(column) => vec![column],
            Self::Made(columns) => columns.iter().collect(),
            Self::Summed(sum) => vec![&sum.column],
        }
    }
}

/// A classified column that decides about rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Control {
    /// Which.
    pub column: Arc<Column>,
    /// The classified column that it must be equal to, if that is all.
    pub equals: Option<Arc<Column>>,
}

/// In which order rows come that are sorted alike. Nobody has asked for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Order {
    /// What decides it.
    pub columns: BTreeSet<Arc<Column>>,
    /// The words of an order in which nothing of them is seen, where they are to stand in the statement.
    pub sorted: Vec<Insertion>,
}

/// Words that are put into a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Insertion {
    /// Before which byte of the text.
    pub at: usize,
    /// The words.
    pub words: Arc<str>,
}

/// A value on its way from a classified column into another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Carried {
    /// From where.
    pub from: Arc<Column>,
    /// Into which column; none if it is none of a table that there is.
    pub into: Option<Arc<Column>>,
}

/// How `COPY` writes rows (PostgreSQL manual, `COPY`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CopyFormat {
    /// Lines of fields, with backslashes.
    Text {
        /// Between fields.
        delimiter: u8,
        /// What stands for NULL.
        null: Arc<str>,
        /// Whether the first line holds the columns' names.
        header: bool,
    },
    /// Comma-separated values.
    Csv {
        /// Between fields.
        delimiter: u8,
        /// What stands for NULL, where it is not quoted.
        null: Arc<str>,
        /// Around fields.
        quote: u8,
        /// Before a quote inside a field.
        escape: u8,
        /// Whether the first line holds the columns' names.
        header: bool,
    },
    /// The server's own binary form.
    Binary,
}

/// How what an operation gives is rewritten before it leaves: for each of its statements, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskPlan {
    /// One for each statement.
    pub statements: Vec<StatementMask>,
    /// Whether the text that is not masked by this is searched for what should be.
    pub detect: bool,
    /// Whether where rows come from is asked of the server even where nothing of them is masked: a classified column among them was not
    /// foreseen.
    pub witness: bool,
}

/// How what one statement gives is rewritten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatementMask {
    /// For each column of its rows, in order.
    pub cells: Vec<Cell>,
    /// For any further column.
    pub rest: Cell,
    /// Whether an error or a notice may tell of masked values, so that nothing of its words may leave.
    pub telling: bool,
    /// Every classified column that it is known to show, masked or not, by the server's own numbers for its table and itself. A row
    /// that comes from another classified column was not foreseen.
    pub foreseen: BTreeSet<(u32, i16)>,
    /// How its rows are written, if they leave by `COPY`.
    pub copy: Option<CopyFormat>,
    /// What is to be put into its text before it leaves, in order, so that its rows and their order tell nothing.
    pub insertions: Vec<Insertion>,
    /// Whether masked values decide which rows it gives, or in which order, because policy lets them.
    pub filters: bool,
}

/// What is done with a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    #[default]
    Plain,
    /// It is this column's value: what is kept of it is for the column's labels to say.
    Column(Arc<Column>),
    /// The same, in rows whose order hangs on such values: if nothing of it is kept, not even that is told whether it is NULL.
    Grouped(Arc<Column>),
    /// It is made of masked values: nothing of it is kept, not even whether it is NULL.
    Made,
}

impl MaskPlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        !self.detect && !self.witness && self.statements.iter().all(StatementMask::is_empty)
    }

    /// In how many statements masked values decide.
    pub fn filtering(&self) -> u32 {
        u32::try_from(self.statements.iter().filter(|statement| statement.filters).count()).unwrap_or(u32::MAX)
    }

    /// What is to be put into the operation's text, in order.
    pub fn insertions(&self) -> impl Iterator<Item = &Insertion> {
        self.statements.iter().flat_map(|statement| &statement.insertions)
    }
}

impl StatementMask {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        !self.filters
            && self.insertions.is_empty()
            && !self.telling
            && self.rest == Cell::Plain
            && self.cells.iter().all(|cell| *cell == Cell::Plain)
    }

    /// What is done with a column, counted from 0.
    pub fn cell(&self, column: usize) -> &Cell {
        self.cells.get(column).unwrap_or(&self.rest)
    }
}

/// What was masked of what an operation gave. No value is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// Values of classified columns, in the order in which they first came.
    pub columns: Vec<MaskedColumn>,
    /// Values that were made of classified columns.
    pub made: u64,
    /// Values that were found in texts, by what they were.
    pub found: Vec<(Arc<str>, u64)>,
    /// Messages that left without their words.
    pub withheld: u64,
    /// Whether that is what would have been masked: everything left as it came.
    pub observed: bool,
}

/// Values of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedColumn {
    /// Its name, with its table's.
    pub column: Arc<str>,
    /// By which method they were masked.
    pub method: &'static str,
    /// How many there were.
    pub values: u64,
}

impl Masked {
    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.columns.iter().all(|column| column.values == 0)
            && self.made == 0
            && self.found.iter().all(|(_, count)| *count == 0)
            && self.withheld == 0
    }
}
