//! Operations of a collection with versions that may yet change their effect, since older ones may still come.
//!
//! In: patches and deletes, by version. Out: for each document that has such, what must be known to put another operation in
//! its place: the values that its patches hid, and the patches in order. What an operation does is `apply`'s part.
//!
//! The rule: a document's content is what its operations make of it in the order of their versions, whatever the order of
//! their arrival. Of one version, deletes come first, then upserts by their content, then patches by their bytes and
//! operation ids; the same operation twice is one. Whatever is below the newest upsert or delete is void. So only patches
//! above that are kept, and only until they are *settled*: until the shard's highest version is so far above them that
//! nothing older counts any more.
//!
//! ```text
//! arrives          row (version)     kept: existed, before, patches
//! upsert 3 {a:1}   {a:1} (3)         -
//! patch 7 a=2      {a:2} (3)         yes, {a: 1}, [7 a=2]
//! patch 5 b=9      {a:2,b:9} (3)     yes, {a: 1, b: absent}, [5 b=9, 7 a=2]      late: all are applied again on `before`
//! upsert 6 {c:1}   {c:1,a:2} (6)     yes, {a: absent}, [7 a=2]                   5 is void; 7 goes over the new row
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_common::id::FieldId;
use basalt_common::value::Value;
use basalt_common::version::Horizon;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

/// A patch that is kept. Ascending: in the order in which patches apply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Patch {
    /// Its version.
    pub version: i64,
    /// Its operations, encoded.
    pub program: Arc<[u8]>,
    /// Which operation it is; 0 where that is told by its content.
    pub operation_id: u128,
    /// Whether it makes a missing document.
    pub inserts: bool,
}

impl Patch {
    /// Whether both are one operation that arrived twice.
    fn is_same(&self, other: &Self) -> bool {
        match (self.operation_id, other.operation_id) {
            (0, 0) => self == other,
            (own, others) => own == others && self.version == other.version,
        }
    }
}

/// What is kept of one document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document {
    /// Whether there was a document before the patches: the row then lies beneath them.
    pub existed: bool,
    /// The version of its newest delete, where nothing existed since.
    pub deleted: Option<i64>,
    /// The fields that the patches touch, as they were before.
    pub before: BTreeMap<FieldId, Option<Value>>,
    /// INVARIANT: ascending.
    pub patches: Vec<Patch>,
}

impl Document {
    /// Where a patch goes among those that are kept; none where it is one of them.
    pub fn place(&self, patch: &Patch) -> Option<usize> {
        let start = self.patches.partition_point(|kept| kept.version < patch.version);
        let same = self.patches[start..].iter().take_while(|kept| kept.version == patch.version);
        match same.into_iter().any(|kept| kept.is_same(patch)) {
            true => None,
            false => Some(self.patches.partition_point(|kept| kept < patch)),
        }
    }

    fn oldest(&self) -> Option<i64> {
        self.deleted.into_iter().chain(self.patches.first().map(|patch| patch.version)).min()
    }

    fn operations(&self) -> usize {
        self.patches.len() + usize::from(self.deleted.is_some())
    }
}

/// All that is kept in a shard. A copy shares everything.
#[derive(Debug, Clone)]
pub struct Unsettled {
    /// The highest version that was applied.
    watermark: Option<i64>,
    /// Versions below this are settled.
    settled_below: i64,
    documents: RedBlackTreeMapSync<Arc<str>, Arc<Document>>,
    /// INVARIANT: every document of `documents` once, with its oldest operation.
    by_age: RedBlackTreeSetSync<(i64, Arc<str>)>,
    /// INVARIANT: how many operations the documents have.
    operations: usize,
}

impl Default for Unsettled {
    fn default() -> Self {
        let (documents, by_age) = (RedBlackTreeMapSync::new_sync(), RedBlackTreeSetSync::new_sync());
        Self { watermark: None, settled_below: i64::MIN, documents, by_age, operations: 0 }
    }
}

impl Unsettled {
    /// What was kept before.
    pub fn restore(watermark: Option<i64>, settled_below: i64, documents: BTreeMap<Arc<str>, Document>) -> Self {
        let mut restored = Self { watermark, settled_below, ..Self::default() };
        documents.into_iter().for_each(|(id, document)| restored.put(&id, document));
        restored
    }

    /// The highest version that was applied.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// Versions below this are settled: operations of them come too late.
    pub fn settled_below(&self) -> i64 {
        self.settled_below
    }

    /// The documents, ascending.
    pub fn documents(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Document>)> {
        self.documents.iter()
    }

    /// How many operations are kept.
    pub fn operations(&self) -> usize {
        self.operations
    }

    /// What is kept of a document.
    pub fn get(&self, id: &str) -> Option<&Arc<Document>> {
        self.documents.get(id)
    }

    /// Whether an operation comes in time; its version counts for the watermark then.
    pub fn admit(&mut self, version: i64, horizon: Horizon) -> bool {
        if version < self.settled_below {
            return false;
        }
        let watermark = self.watermark.map_or(version, |watermark| watermark.max(version));
        self.watermark = Some(watermark);
        if let Some(lateness) = horizon.lateness {
            let lateness = i64::try_from(lateness).unwrap_or(i64::MAX);
            self.settled_below = self.settled_below.max(watermark.saturating_sub(lateness));
        }
        true
    }

    /// Takes out what is kept of a document.
    pub fn take(&mut self, id: &str) -> Option<Document> {
        let document = Arc::clone(self.documents.get(id)?);
        self.documents.remove_mut(id);
        let document = Arc::unwrap_or_clone(document);
        self.operations -= document.operations();
        if let Some(oldest) = document.oldest() {
            self.by_age.remove_mut(&(oldest, Arc::from(id)));
        }
        Some(document)
    }

    /// Keeps a document that is not kept yet; one without operations needs nothing.
    pub fn put(&mut self, id: &str, document: Document) {
        let Some(oldest) = document.oldest() else { return };
        let id: Arc<str> = id.into();
        self.operations += document.operations();
        self.by_age.insert_mut((oldest, Arc::clone(&id)));
        self.documents.insert_mut(id, Arc::new(document));
    }

    /// A document whose oldest operation has to be settled now. Where more operations are kept than may be, everything up to
    /// the oldest one is settled.
    pub fn next_to_settle(&mut self, horizon: Horizon) -> Option<Arc<str>> {
        let (oldest, id) = self.by_age.first()?;
        if self.operations > horizon.unsettled_max as usize {
            self.settled_below = self.settled_below.max(oldest.saturating_add(1));
        }
        (*oldest < self.settled_below).then(|| Arc::clone(id))
    }
}

#[cfg(test)]
mod tests {
    use super::{Document, Horizon, Patch, Unsettled};

    fn patch(version: i64, program: u8, operation_id: u128) -> Patch {
        Patch { version, program: [program].into(), operation_id, inserts: false }
    }

    #[test]
    fn patches_go_in_order_and_once() {
        let mut document = Document::default();
        for new in [patch(5, 1, 0), patch(7, 1, 0), patch(5, 0, 0), patch(5, 1, 9), patch(5, 1, 8)] {
            let place = document.place(&new).expect("it is new");
            document.patches.insert(place, new);
        }
        assert!(document.patches.is_sorted());
        for (again, what) in [(patch(5, 1, 0), "the same content"), (patch(5, 3, 9), "the same operation id")] {
            assert_eq!(document.place(&again), None, "{what}");
        }
        assert_eq!(document.place(&patch(6, 1, 9)), Some(4), "the id of an operation of another version");
    }

    #[test]
    fn the_oldest_are_settled_first() {
        let horizon = |lateness, unsettled_max| Horizon { lateness, unsettled_max };
        let mut unsettled = Unsettled::default();
        for version in [10, 30, 20] {
            assert!(unsettled.admit(version, horizon(Some(20), 9)));
            let document = Document { deleted: Some(version), ..Document::default() };
            unsettled.put(&version.to_string(), document);
        }
        assert_eq!(unsettled.next_to_settle(horizon(Some(20), 9)), None);
        assert!(unsettled.admit(31, horizon(Some(20), 9)) && !unsettled.admit(10, horizon(Some(20), 9)));
        assert_eq!(unsettled.next_to_settle(horizon(Some(20), 9)).as_deref(), Some("10"));
        assert_eq!(unsettled.take("10").and_then(|document| document.deleted), Some(10));
        assert_eq!((unsettled.next_to_settle(horizon(Some(20), 9)), unsettled.operations()), (None, 2));
        assert_eq!(unsettled.next_to_settle(horizon(Some(20), 1)).as_deref(), Some("20"), "too many are kept");
        assert_eq!(unsettled.settled_below(), 21);
        unsettled.take("20");
        unsettled.take("30");
        assert_eq!((unsettled.next_to_settle(horizon(None, 0)), unsettled.operations()), (None, 0));
    }
}
