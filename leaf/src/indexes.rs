//! Which indexes the fields of a segment get when it is written.
//!
//! In: the catalog's settings at that moment. Out: for each field, whether it has terms, which of its words are indexed, and with which
//! other it tells where an object is. What queries answer does not depend on it.

use std::sync::Arc;

use basalt_common::catalog::Catalog;
use basalt_common::geography::coordinates_of;
use basalt_common::id::{CollectionId, FieldId};
use basalt_common::indexing::{Indexing, WordIndex};
use basalt_common::schema::Schema;
use basalt_common::value::Type;

/// The settings of a collection, and the paths that they speak of.
#[derive(Debug, Clone, Default)]
pub struct Indexes {
    schema: Arc<Schema>,
    indexing: Indexing,
    /// The field whose event times are noted.
    pub event_time: Option<FieldId>,
}

/// Those of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldIndexes {
    /// Whether it has terms.
    pub terms: bool,
    /// Which of its words are indexed.
    pub words: WordIndex,
}

/// Two fields of an object that tell where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceFields {
    /// The longitude.
    pub longitude: FieldId,
    /// The latitude.
    pub latitude: FieldId,
}

impl Indexes {
    /// Those that settings say of fields of a schema.
    pub fn new(schema: Arc<Schema>, indexing: Indexing) -> Self {
        Self { schema, indexing, event_time: None }
    }

    /// Those of a collection; of one that is dropped, what all have.
    pub fn of(catalog: &dyn Catalog, collection: CollectionId) -> Self {
        let state = catalog.state();
        let Some(collection) = state.collection(collection) else { return Self::default() };
        let event_time = collection.retention().map(|retention| retention.field);
        Self { event_time, ..Self::new(Arc::clone(&collection.schema), collection.indexing.clone()) }
    }

    /// The latitude and the longitude of an object, if a field is one of them and both are to be found by their values.
    pub fn place_of(&self, field: FieldId) -> Option<PlaceFields> {
        if !self.schema.holds(field) {
            return None;
        }
        let object = self.schema.parent(field);
        let (longitude, latitude) = coordinates_of(|name| self.number(object, name))?;
        let place = PlaceFields { longitude, latitude };
        let is_one = field == longitude || field == latitude;
        (is_one && self.field(longitude).terms && self.field(latitude).terms).then_some(place)
    }

    /// A field of an object that has numbers.
    fn number(&self, object: FieldId, name: &str) -> Option<FieldId> {
        let field = self.schema.child(object, name)?;
        self.schema.types(field).contains(Type::Float).then_some(field)
    }

    /// Those of a field.
    pub fn field(&self, field: FieldId) -> FieldIndexes {
        // Most collections say nothing, and no path has to be made.
        if self.indexing == Indexing::default() {
            return FieldIndexes { terms: true, words: WordIndex::OfProse };
        }
        let path = self.schema.path(field);
        FieldIndexes { terms: self.indexing.has_terms(&path), words: self.indexing.words(&path) }
    }
}
