//! What a scan of a leaf does, without a query around it: for benchmarks.

use anyhow::Result;
use basalt_common::clock::{Clock, SystemClock};
use basalt_common::id::FieldId;
use basalt_common::scan::AccessPath;
use basalt_common::schema::Schema;
use basalt_leaf::segment::SegmentVersion;
use basalt_leaf::select::Selector;

/// How often something is run for its median, unless that takes more than a second.
const RUNS: usize = 31;

/// Finds the rows that pass, and reads two columns of them; returns how many there are.
///
/// # Errors
/// A segment is damaged.
pub fn scan(
    versions: &[SegmentVersion],
    selector: &Selector,
    schema: &Schema,
    path: Option<AccessPath>,
    columns: [FieldId; 2],
) -> Result<usize> {
    let mut found = 0;
    for version in versions {
        let (rows, rest, _) = selector.candidates(version, path)?;
        let rows = selector.pass(&rest, version, schema, rows)?;
        if !rows.is_empty() {
            let [first, second] = columns;
            found += version.column(first, &rows)?.rows().min(version.column(second, &rows)?.rows());
        }
    }
    Ok(found)
}

/// The median time of a run, in microseconds; one before them is not counted.
///
/// # Errors
/// As the run.
pub fn micros(mut run: impl FnMut() -> Result<usize>) -> Result<f64> {
    let (clock, mut times) = (SystemClock::default(), Vec::new());
    run()?;
    while times.len() < RUNS && (times.len() < 3 || times.iter().sum::<f64>() < 1e6) {
        let started = clock.monotonic();
        run()?;
        times.push((clock.monotonic() - started).as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
