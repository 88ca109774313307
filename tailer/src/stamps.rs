//! Versions of operations, in a collection that names a version.
//!
//! In: what an item says, and its collection's rule. Out: a [`Stamp`], or why the item has none. Owns which patches such a
//! collection takes: those that mean the same whatever comes between.

use basalt_common::id::FieldId;
use basalt_common::patch::{PatchOperation, may_be_index};
use basalt_common::schema::Schema;
use basalt_common::value::{FieldPath, Object, Value};
use basalt_common::version::{VersionError, VersionRule, read_version};
use xxhash_rust::xxh3::xxh3_128;

/// The longest operation id.
pub const OPERATION_ID_BYTES_MAX: usize = 256;

/// An operation's place among those on its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The higher counts.
    pub version: i64,
    /// Which operation it is, 0 where its content tells; none where one must be made of where it comes from.
    pub operation_id: Option<u128>,
}

impl Stamp {
    /// Of an operation that is the same whenever its content is.
    pub fn plain(version: i64) -> Self {
        Self { version, operation_id: Some(0) }
    }
}

/// What a patch's item says beside its operations.
#[derive(Debug, Default)]
pub struct PatchLabels {
    version: Option<Value>,
    operation_id: Option<Value>,
}

impl PatchLabels {
    /// Takes them out of an item.
    pub fn take(item: &mut Object) -> Self {
        Self { version: item.remove("version"), operation_id: item.remove("operation_id") }
    }
}

/// The stamp of a patch: its version is said beside it, or is what it sets at the rule's path.
///
/// # Errors
/// It has no version, or operations that such a collection does not take.
pub fn of_patch(
    rule: &VersionRule,
    schema: &Schema,
    labels: PatchLabels,
    operations: &[PatchOperation],
) -> Result<Stamp, String> {
    operations.iter().try_for_each(|operation| check(schema, operation))?;
    let version = match labels.version {
        Some(version) => read_version(&version),
        None => {
            let set = operations.iter().rev().find_map(|operation| set_by(rule, operation));
            set.unwrap_or_else(|| Err(VersionError::Missing(rule.path.clone())))
        }
    };
    let version = version.map_err(|error| format!("{error}; a patch may say its \"version\" beside it"))?;
    let increments = operations.iter().any(|operation| matches!(operation, PatchOperation::Increment { .. }));
    let operation_id = match labels.operation_id {
        Some(Value::String(id)) if (1..=OPERATION_ID_BYTES_MAX).contains(&id.len()) => {
            Some(xxh3_128(id.as_bytes()).max(1))
        }
        Some(_) => return Err(format!("an \"operation_id\" is a text of 1 to {OPERATION_ID_BYTES_MAX} bytes")),
        None => (!increments).then_some(0),
    };
    Ok(Stamp { version, operation_id })
}

/// The version that an operation sets, if it sets one.
fn set_by(rule: &VersionRule, operation: &PatchOperation) -> Option<Result<i64, VersionError>> {
    match operation {
        PatchOperation::Add { path, value } | PatchOperation::Replace { path, value } => {
            let rest = rule.path.keys().strip_prefix(&path[..])?;
            match (rest, value) {
                ([], value) => Some(read_version(value)),
                (rest, Value::Object(object)) => FieldPath::from(rest.to_vec()).find_in(object).map(read_version),
                _ => None,
            }
        }
        PatchOperation::Merge { object } => rule.path.find_in(object).map(read_version),
        _ => None,
    }
}

/// Refuses operations that depend on more than the field they change.
fn check(schema: &Schema, operation: &PatchOperation) -> Result<(), String> {
    let refused =
        |what: &str| Err(format!("{what} is not for collections with a version: it depends on what came before"));
    match operation {
        PatchOperation::Test { .. } => refused("test"),
        PatchOperation::Move { .. } => refused("move"),
        PatchOperation::Copy { .. } => refused("copy"),
        PatchOperation::Merge { .. } => Ok(()),
        PatchOperation::Add { path, .. }
        | PatchOperation::Replace { path, .. }
        | PatchOperation::Remove { path }
        | PatchOperation::Increment { path, .. } => match leads_into_array(schema, path) {
            true => refused("an element of an array"),
            false => Ok(()),
        },
    }
}

fn leads_into_array(schema: &Schema, path: &[String]) -> bool {
    let mut at = Some(FieldId::ROOT);
    path.iter().any(|key| {
        let in_array = at.is_some_and(|at| schema.elements(at).is_some());
        at = at.and_then(|at| schema.child(at, key));
        key == "-" || (in_array && may_be_index(key))
    })
}

#[cfg(test)]
mod tests {
    use basalt_common::patch::{parse_merge, parse_operations};
    use basalt_common::value::json::{JsonLimits, parse_document};

    use super::{FieldId, Object, PatchLabels, Schema, Stamp, Value, VersionRule, of_patch};

    fn stamp(item: &str) -> Result<Stamp, String> {
        let rule = VersionRule { path: "at.v".parse().expect("a path"), lateness: None, max_future: None };
        let Ok(Value::Object(mut item)) = parse_document(item.as_bytes(), &JsonLimits::default()) else {
            panic!("{item} is no object")
        };
        let labels = PatchLabels::take(&mut item);
        let operations = match (item.remove("patch"), item.remove("merge")) {
            (Some(patch), _) => parse_operations(patch).expect("operations"),
            (_, Some(merge)) => vec![parse_merge(merge).expect("a merge")],
            _ => panic!("{item:?} is no patch"),
        };
        let mut schema = Schema::default();
        let list = Object::from([("list".into(), Value::Array(vec![Value::Int(1)]))]);
        schema.register_object(FieldId::ROOT, &list, &mut |_, _| {});
        of_patch(&rule, &schema, labels, &operations)
    }

    #[test]
    fn a_patch_says_or_sets_its_version() {
        for item in [
            r#"{"version": 7, "patch": [{"op": "add", "path": "/x", "value": 1}]}"#,
            r#"{"patch": [{"op": "add", "path": "/at/v", "value": 7}]}"#,
            r#"{"patch": [{"op": "add", "path": "/at", "value": {"v": 7}}]}"#,
            r#"{"merge": {"at": {"v": 7}}}"#,
            r#"{"merge": {"at": {"v": 9}}, "version": 7}"#,
            r#"{"patch": [{"op": "add", "path": "/7", "value": 1}], "version": 7}"#,
        ] {
            assert_eq!(stamp(item), Ok(Stamp::plain(7)), "{item}");
        }
        let missing = stamp(r#"{"merge": {"at": 1}}"#).expect_err("it has no version");
        assert!(missing.contains("at.v") && missing.contains("\"version\""), "{missing}");
    }

    #[test]
    fn increments_are_told_apart() {
        let grow = |labels: &str| {
            stamp(&format!(r#"{{{labels} "version": 1, "patch": [{{"op": "increment", "path": "/n", "value": 1}}]}}"#))
        };
        assert_eq!(grow("").map(|stamp| stamp.operation_id), Ok(None));
        let named = grow(r#""operation_id": "a","#).expect("it is good");
        assert_eq!(grow(r#""operation_id": "a","#), Ok(named));
        assert_ne!(grow(r#""operation_id": "b","#), Ok(named));
        assert!(grow(r#""operation_id": 7,"#).is_err());
    }

    #[test]
    fn what_depends_on_the_order_is_refused() {
        for (operation, what) in [
            (r#"{"op": "test", "path": "/x", "value": 1}"#, "test"),
            (r#"{"op": "move", "path": "/x", "from": "/y"}"#, "move"),
            (r#"{"op": "copy", "path": "/x", "from": "/y"}"#, "copy"),
            (r#"{"op": "add", "path": "/list/0", "value": 1}"#, "array"),
            (r#"{"op": "add", "path": "/other/-", "value": 1}"#, "array"),
        ] {
            let refused = stamp(&format!(r#"{{"version": 1, "patch": [{operation}]}}"#)).expect_err(operation);
            assert!(refused.contains(what), "{operation}: {refused}");
        }
    }
}
