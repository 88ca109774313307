//! Operations out of requests' bodies and records.
//!
//! In: a body as the client sent it, or a record of a source. Out: operations on documents, and for each item that is none,
//! why, and where in the body. Owns what is accepted as an `_id`, and the shapes of patches and deletes.

use basalt_common::calls::{BodyFormat, ItemError, WriteKind};
use basalt_common::catalog::Collection;
use basalt_common::failure::{Failure, FailureKind};
use basalt_common::flat::{self, FlatDocument, FlatReader};
use basalt_common::patch::{PatchOperation, parse_merge, parse_operations};
use basalt_common::value::json::{
    JsonError, JsonErrorKind, JsonLimits, ndjson_lines, parse_array_of_documents, parse_document,
};
use basalt_common::value::json_write::{JsonStyle, write_json};
use basalt_common::value::{FieldPath, Object, Tagged, Value};
use basalt_common::version::{VersionRule, read_version};
use bytes::Bytes;

use crate::kafka::Record;
use crate::stamps::{self, PatchLabels, Stamp};

/// The longest `_id`.
pub const ID_BYTES_MAX: usize = 1024;

/// What is done to a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It becomes this one.
    Upsert(Object),
    /// It becomes this one, all of whose fields were known when it was read.
    UpsertFlat(FlatDocument),
    /// Fields change; with `insert`, a missing document is made.
    Patch {
        /// What changes.
        operations: Vec<PatchOperation>,
        /// Whether a missing document is made.
        insert: bool,
    },
    /// It goes.
    Delete,
}

/// An operation of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Which item of the request, from 0.
    pub index: u64,
    /// The document's `_id`; one is made where there is none.
    pub id: Option<String>,
    /// What is done.
    pub change: Change,
    /// Its place among the operations on its document, in a collection with versions.
    pub stamp: Option<Stamp>,
}

/// The items of a body.
#[derive(Debug, Default)]
pub struct Items {
    /// The good ones, in order.
    pub items: Vec<Item>,
    /// The others.
    pub errors: Vec<ItemError>,
}

impl Items {
    /// Adds an item of the number `index`, or why it is none.
    pub fn add(&mut self, index: u64, read: Result<Item, Fault>) {
        match read {
            Ok(item) => self.items.push(Item { index, ..item }),
            Err(Fault { id, byte_offset, message }) => {
                self.errors.push(ItemError { index, byte_offset, id, message });
            }
        }
    }

    /// Moves items whose versions are too far ahead to the errors.
    pub fn refuse_future(&mut self, rule: &VersionRule, now_micros: i64) {
        let Self { items, errors } = self;
        items.retain(|item| {
            let checked = item.stamp.map_or(Ok(()), |stamp| rule.check_future(stamp.version, now_micros));
            if let Err(error) = &checked {
                let (index, id) = (item.index, item.id.clone());
                errors.push(ItemError { index, byte_offset: None, id, message: error.to_string() });
            }
            checked.is_ok()
        });
    }
}

/// Why an item is none.
#[derive(Debug)]
pub struct Fault {
    id: Option<String>,
    byte_offset: Option<u64>,
    message: String,
}

impl Fault {
    fn new(id: Option<String>, message: impl Into<String>) -> Self {
        Self { id, byte_offset: None, message: message.into() }
    }
}

/// Reads a body.
///
/// # Errors
/// The body as a whole cannot be read: a malformed array, for instance. Lines of NDJSON are read one by one.
pub fn read_items(
    kind: WriteKind,
    format: BodyFormat,
    body: &Bytes,
    collection: &Collection,
    limits: &JsonLimits,
) -> Result<Items, Failure> {
    let mut items = Items::default();
    let mut flat = flat_reader(kind, collection, limits);
    match (kind, format) {
        (WriteKind::Delete, _) => read_deletes(body, collection, limits, &mut items)?,
        (_, BodyFormat::Json) => {
            if let Some(documents) = flat.as_mut().and_then(|flat| flat.body(body)) {
                let each = documents.into_iter().enumerate();
                each.for_each(|(index, document)| items.add(index as u64, flat_item(document)));
                return Ok(items);
            }
            let values = parse_array_of_documents(body, limits).map_err(|error| body_failure(&error))?;
            for (index, value) in values.into_iter().enumerate() {
                items.add(index as u64, item(kind, value, collection));
            }
        }
        (_, BodyFormat::Ndjson) => {
            for (index, line) in ndjson_lines(body).enumerate() {
                if let Some(document) = flat.as_mut().and_then(|flat| flat.document(&body.slice_ref(line.bytes))) {
                    items.add(index as u64, flat_item(document));
                    continue;
                }
                let read = match parse_document(line.bytes, limits) {
                    Ok(value) => item(kind, value, collection),
                    Err(error) => {
                        let byte_offset = Some((line.byte_offset + error.byte_offset) as u64);
                        let message = format!("line {}, column {}: {}", line.number, error.column, error.kind);
                        Err(Fault { id: None, byte_offset, message })
                    }
                };
                items.add(index as u64, read);
            }
        }
    }
    Ok(items)
}

/// A reader of upserts by fields, where nothing of a document but its fields and its `_id` is looked at.
pub fn flat_reader<'c>(kind: WriteKind, collection: &'c Collection, limits: &JsonLimits) -> Option<FlatReader<'c>> {
    let is_plain = kind == WriteKind::Upsert && collection.key.is_none() && collection.version.is_none();
    is_plain.then(|| FlatReader::new(&collection.schema, limits))
}

fn flat_item((id, document): flat::Named) -> Result<Item, Fault> {
    let id = id.map(check_id).transpose().map_err(|message| Fault::new(None, message))?;
    Ok(Item { index: 0, id, change: Change::UpsertFlat(document), stamp: None })
}

fn body_failure(error: &JsonError) -> Failure {
    let kind = match error.kind {
        JsonErrorKind::TooLong { .. } => FailureKind::TooLarge,
        _ => FailureKind::InvalidRequest,
    };
    Failure::new(kind, format!("the body cannot be read: {error}, at byte {}", error.byte_offset))
        .with_hint("nothing was accepted; mend the body, or send NDJSON (application/x-ndjson), of which the other lines are taken")
}

fn item(kind: WriteKind, value: Value, collection: &Collection) -> Result<Item, Fault> {
    let Value::Object(mut object) = value else {
        return Err(Fault::new(None, format!("a document is an object, not a {}", value.value_type().name())));
    };
    let id = object.remove("_id").map(|id| read_id(&id)).transpose().map_err(|message| Fault::new(None, message))?;
    match kind {
        WriteKind::Upsert => {
            let id = match &collection.key {
                Some(key) => Some(id_by_key(key, id, &object)?),
                None => id,
            };
            let version = collection.version.as_ref().map(|rule| rule.version_of(&object)).transpose();
            let version = version.map_err(|error| Fault::new(id.clone(), error.to_string()))?;
            Ok(Item { index: 0, id, change: Change::Upsert(object), stamp: version.map(Stamp::plain) })
        }
        _ => {
            let Some(id) = id else { return Err(Fault::new(None, "a patch names the document: \"_id\" is missing")) };
            let read = read_patch(object, collection).map_err(|message| Fault::new(Some(id.clone()), message));
            let (change, stamp) = read?;
            Ok(Item { index: 0, id: Some(id), change, stamp })
        }
    }
}

/// The `_id` of a document in a collection that makes it of a field.
fn id_by_key(key: &FieldPath, given: Option<String>, document: &Object) -> Result<String, Fault> {
    let Some(found) = key.find_in(document) else {
        return Err(Fault::new(given, format!("the collection's key is {key}, and the document has no such field")));
    };
    let id = read_id(found).map_err(|message| Fault::new(given.clone(), format!("the key {key}: {message}")))?;
    match given {
        Some(given) if given != id => {
            let message = format!("the _id is {given:?}, and by the collection's key {key} it is {id:?}");
            Err(Fault::new(Some(given), message))
        }
        _ => Ok(id),
    }
}

/// Reads a record of a source: an upsert of the document that its value is, unless it says something else. A `patch` has the
/// shape that it has in a request; a `delete`, or a record without a value, deletes what its key names.
///
/// `flat` is that of [`flat_reader`] for upserts.
///
/// # Errors
/// It is none of these.
pub fn read_record(
    record: &Record,
    collection: &Collection,
    flat: Option<&mut FlatReader<'_>>,
    limits: &JsonLimits,
) -> Result<Item, Fault> {
    let kind = match (record.operation.as_deref(), &record.value) {
        (Some("delete") | None, None) => WriteKind::Delete,
        (None | Some("upsert"), _) => WriteKind::Upsert,
        (Some("patch"), _) => WriteKind::Patch,
        (Some("delete"), _) => WriteKind::Delete,
        (Some(other), _) => {
            let message = format!("{other:?} is no operation; there are upsert, patch and delete");
            return Err(Fault::new(None, message));
        }
    };
    if kind == WriteKind::Delete {
        let named = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let named = named.ok_or_else(|| Fault::new(None, "a delete names the document by its key, a text"))?;
        let id = read_id(&Value::String(named.into())).map_err(|message| Fault::new(None, message))?;
        let stamp = record_stamp(record, collection).map_err(|message| Fault::new(Some(id.clone()), message))?;
        return Ok(Item { index: 0, id: Some(id), change: Change::Delete, stamp });
    }
    let Some(value) = &record.value else { return Err(Fault::new(None, "the record has no value")) };
    if let Some(document) = flat.filter(|_| kind == WriteKind::Upsert).and_then(|flat| flat.document(value)) {
        return flat_item(document);
    }
    let value = parse_document(value, limits).map_err(|error| Fault {
        id: None,
        byte_offset: Some(error.byte_offset as u64),
        message: format!("{error}, at byte {} of the value", error.byte_offset),
    })?;
    item(kind, value, collection)
}

/// The stamp of a record that deletes.
fn record_stamp(record: &Record, collection: &Collection) -> Result<Option<Stamp>, String> {
    if collection.version.is_none() {
        return Ok(None);
    }
    let version = record
        .version
        .as_ref()
        .ok_or("in a collection with a version, a delete says its own in the header basalt-version")?;
    let value = version.parse().map_or_else(|_| Value::String(version.clone()), Value::Int);
    read_version(&value).map(|version| Some(Stamp::plain(version))).map_err(|error| error.to_string())
}

fn read_patch(mut object: Object, collection: &Collection) -> Result<(Change, Option<Stamp>), String> {
    let labels = collection.version.as_ref().map(|rule| (rule, PatchLabels::take(&mut object)));
    let insert = match object.remove("upsert") {
        None => false,
        Some(Value::Bool(insert)) => insert,
        Some(other) => return Err(format!("\"upsert\" is true or false, not a {}", other.value_type().name())),
    };
    let operations = match (object.remove("patch"), object.remove("merge")) {
        (Some(patch), None) => parse_operations(patch).map_err(|error| error.to_string())?,
        (None, Some(merge)) => vec![parse_merge(merge).map_err(|error| error.to_string())?],
        _ => return Err("a patch has either \"patch\", a list of operations, or \"merge\", an object".into()),
    };
    if let Some(key) = object.keys().next() {
        let more = if labels.is_some() { ", version, operation_id" } else { "" };
        return Err(format!("{key:?} is not known here; there are _id, patch, merge, upsert{more}"));
    }
    let stamp = labels.map(|(rule, labels)| stamps::of_patch(rule, &collection.schema, labels, &operations));
    Ok((Change::Patch { operations, insert }, stamp.transpose()?))
}

fn read_deletes(body: &[u8], collection: &Collection, limits: &JsonLimits, items: &mut Items) -> Result<(), Failure> {
    // One list of keys is one document to the reader: a body's limit holds for it, not a document's.
    let limits = JsonLimits { document_bytes_max: usize::MAX, ..*limits };
    let shape = || Failure::invalid("the body of a delete is {\"ids\": [\"…\"]}");
    let body = parse_document(body, &limits).map_err(|error| body_failure(&error))?;
    let Value::Object(mut body) = body else { return Err(shape()) };
    let Some(Value::Array(ids)) = body.remove("ids") else { return Err(shape()) };
    let version = match (&collection.version, body.remove("version")) {
        (None, None) => None,
        (Some(_), Some(version)) => Some(read_version(&version).map_err(|error| Failure::invalid(error.to_string()))?),
        (Some(rule), None) => {
            let message = format!("the collection's version is {}: a delete says its \"version\"", rule.path);
            return Err(Failure::invalid(message));
        }
        (None, Some(_)) => return Err(shape()),
    };
    if !body.is_empty() {
        return Err(shape());
    }
    for (index, id) in ids.iter().enumerate() {
        let index = index as u64;
        let read = read_id(id).map_err(|message| Fault::new(None, message));
        let stamp = version.map(Stamp::plain);
        items.add(index, read.map(|id| Item { index: 0, id: Some(id), change: Change::Delete, stamp }));
    }
    Ok(())
}

/// An `_id`: a text, or a number as its decimal text.
fn read_id(id: &Value) -> Result<String, String> {
    let text = match id {
        Value::String(text) => text.clone(),
        Value::Int(_) | Value::Float(_) | Value::Decimal(_) => number_text(id),
        Value::Tagged(Tagged { tag, text }) if tag == Tagged::NUMBER => text.clone(),
        other => return Err(format!("an _id is a string or a number, not a {}", other.value_type().name())),
    };
    check_id(text)
}

fn check_id(text: String) -> Result<String, String> {
    match text.len() {
        0 => Err("an _id is not empty".into()),
        1..=ID_BYTES_MAX => Ok(text),
        bytes => Err(format!("an _id has at most {ID_BYTES_MAX} bytes, and this one {bytes}")),
    }
}

fn number_text(number: &Value) -> String {
    let mut text = Vec::new();
    write_json(number, &mut text, JsonStyle::default());
    String::from_utf8(text).expect("JSON is written as UTF-8")
}

#[cfg(test)]
pub(crate) mod tests;
