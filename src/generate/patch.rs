//! Patches: changes to parts of a document that the stream emitted before.
//!
//! In: a [`Live`] document. Out: the text of one item as `PATCH …/documents` takes it. Every patch can be applied, by
//! RFC 6902 to the letter: it replaces and increments only what no patch removes, and removes what no patch removed
//! before. What it removed is noted in the [`Live`] document.
//!
//! ```text
//! 50 %  increments of counters or of the order's total, some with the order's new status
//! 20 %  fields set: old ones replaced, new ones added
//! 15 %  a merge (RFC 7396)
//! 15 %  a removal of a field or of an object; fields set, once nothing is left to remove
//! ```

use basalt_common::random::SeededRandom;

use super::Live;
use super::document::{skewed, skewed_word};
use super::json::Json;
use super::words;

/// Most patches are shorter.
const PATCH_BYTES: usize = 192;

/// Whole numbers that every document has at all times.
const COUNTERS: [&str; 3] = ["/counters/views", "/counters/likes", "/counters/retries"];

/// What patches remove, and neither replace nor increment.
pub(super) const REMOVABLE: [&str; 4] = ["/note", "/device/ip", "/customer/location/point", "/page/load_ms"];

/// The text of a patch of the document that `id`, its own, names.
pub(super) fn patch(random: &mut SeededRandom, live: &mut Live, id: &str, now_micros: i64) -> String {
    Json::document(PATCH_BYTES, |json| {
        json.key("_id").string(id);
        match random.below(100) {
            0..50 => json.key("patch").array(|json| write_increments(json, random)),
            50..70 => json.key("patch").array(|json| write_fields(json, random)),
            70..85 => json.key("merge").object(|json| write_merge(json, random, now_micros)),
            _ => json.key("patch").array(|json| write_removal(json, random, live)),
        }
    })
}

/// Writes an operation, whose value `value` writes.
fn write_operation(json: &mut Json, name: &str, path: &str, value: impl FnOnce(&mut Json)) {
    json.element().object(|json| {
        json.key("op").string(name);
        json.key("path").string(path);
        value(json.key("value"));
    });
}

fn write_increments(json: &mut Json, random: &mut SeededRandom) {
    for _ in 0..=random.below(2) {
        if random.chance(1, 8) {
            write_operation(json, "increment", "/purchase/total", |json| {
                json.fixed(1 + skewed(random, 10_000) as i64, 2)
            });
        } else {
            let counter = skewed_word(random, &COUNTERS);
            write_operation(json, "increment", counter, |json| json.integer(1 + skewed(random, 20) as i64));
        }
    }
    if random.chance(1, 4) {
        write_status(json, random);
    }
}

/// Writes the new status of an order that is a cart no more.
fn write_status(json: &mut Json, random: &mut SeededRandom) {
    let status = skewed_word(random, &words::STATUSES[1..]);
    write_operation(json, "replace", "/purchase/status", |json| json.string(status));
}

fn write_fields(json: &mut Json, random: &mut SeededRandom) {
    write_status(json, random);
    let choices: [(&str, &str, &[&str]); 3] = [
        ("replace", "/purchase/shipping/method", &words::SHIPPING_METHODS),
        ("add", "/purchase/shipping/carrier", &words::CARRIERS),
        ("replace", "/customer/segment", &words::SEGMENTS),
    ];
    for (name, path, values) in choices {
        if random.chance(1, 3) {
            write_operation(json, name, path, |json| json.string(skewed_word(random, values)));
        }
    }
    if random.chance(1, 4) {
        write_operation(json, "add", "/customer/registered", |json| json.boolean(true));
    }
}

/// Writes a delivery, or a case of the support opened or, whether there is one or not, closed.
fn write_merge(json: &mut Json, random: &mut SeededRandom, now_micros: i64) {
    match random.below(4) {
        0 | 1 => json.key("purchase").object(|json| {
            json.key("status").string("delivered");
            json.key("shipping").object(|json| {
                json.key("carrier").string(skewed_word(random, &words::CARRIERS));
                json.key("delivered_at").timestamp(now_micros);
            });
        }),
        2 => json.key("support").object(|json| {
            json.key("ticket").integer(random.below(1_000_000) as i64);
            json.key("urgent").boolean(random.chance(1, 5));
        }),
        _ => json.key("support").null(),
    }
}

fn write_removal(json: &mut Json, random: &mut SeededRandom, live: &mut Live) {
    let left = (0..REMOVABLE.len()).filter(|field| live.removed >> field & 1 == 0);
    let Some(field) = left.clone().nth(random.below(left.count().max(1) as u64) as usize) else {
        return write_fields(json, random);
    };
    live.removed |= 1 << field;
    json.element().object(|json| {
        json.key("op").string("remove");
        json.key("path").string(REMOVABLE[field]);
    });
}
