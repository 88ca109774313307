//! How a leaf finds the rows of a segment, and which of them a sorted scan may leave out.
//!
//! In: words of SQL hints. Out: one of the ways. Which way is taken, where none is forced, is the leaf's choice.

use std::fmt;

/// A way to the rows of a segment that a filter wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessPath {
    /// By the terms of the condition that fewest rows meet; the others are evaluated for those rows.
    IndexFilter,
    /// By tests of the encoded columns.
    ColumnScan,
    /// By evaluating every condition for every row.
    RowScan,
}

impl AccessPath {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::IndexFilter, Self::ColumnScan, Self::RowScan];

    /// Its name in hints and plans.
    pub fn name(self) -> &'static str {
        match self {
            Self::IndexFilter => "index_filter",
            Self::ColumnScan => "column_scan",
            Self::RowScan => "row_scan",
        }
    }

    /// The path of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.name() == name)
    }
}

impl fmt::Display for AccessPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The first rows by the value of one column are all that is wanted: a row with as many rows before it need not be given. Which
/// of the others are given, and in what order, is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanTop {
    /// The index of the column in the scan's output.
    pub column: usize,
    /// Whether the greatest values are first.
    pub descending: bool,
    /// Whether rows without a value are before the others.
    pub nulls_first: bool,
    /// How many rows are wanted.
    pub rows: usize,
}

impl fmt::Display for ScanTop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.descending { "DESC" } else { "ASC" };
        let nulls = if self.nulls_first { "FIRST" } else { "LAST" };
        write!(f, "{} by @{} {order} NULLS {nulls}", self.rows, self.column)
    }
}
