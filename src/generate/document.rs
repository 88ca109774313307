//! One document: an event of a shop.
//!
//! In: an [`Event`], a few numbers. Out: its `_id` and its JSON text. Owns the shape, and how values hang together: a
//! user has one home and one device, a product one price, an order the total of its items and shipping. What happens
//! when is the stream's.
//!
//! ```text
//! _id, event, event_time, received_at, session
//! customer  id, segment, registered, location (country, city, point (lat, lon))
//! device    kind, agent, ip, screen (width, height)
//! page      url, referrer or null, load_ms
//! purchase  status, currency, items [1 to 3 of (product, quantity, price)], total, shipping (method, cost)
//! counters  views, likes, retries
//! note      a sentence or two
//! tags      1 to 3 strings
//! experiments  1 to 2 ints
//! value     an int, float, string, null, bool, or array of 1 to 3 ints
//! attributes   0 to 11 of 24 fields; with 0, there are no attributes
//! ```
//!
//! Every document has [`LEAVES`] leaves. A leaf is a scalar or a null, wherever it stands: each element of an array of
//! scalars is one, and each field of an object in an array. No object and no array is empty.

use basalt_common::random::SeededRandom;

use super::json::{Json, push_hexadecimal, push_number};
use super::words::{self, Device, Place, Values};

/// How many leaves a document has.
const LEAVES: usize = 46;

/// Those of fields that every document has once. Arrays and attributes share the rest, most of which attributes take.
const LEAVES_ALWAYS: usize = 29;

/// Nearly all documents are shorter.
const DOCUMENT_BYTES: usize = 1_536;

const USERS: u64 = 200_000;
const PRODUCTS: u64 = 20_000;

/// Keep what a user's number decides apart from what the same number of a product or session does.
const USER_SEED: u64 = 1 << 40;
const PRODUCT_SEED: u64 = 2 << 40;
const SESSION_SEED: u64 = 3 << 40;

/// All that a document is made from, but for the time it is received at: it can be written again at any time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    /// Decides the `_id` and what never changes.
    pub(super) seed: u64,
    /// When it happened, in microseconds from 1970.
    pub(super) event_micros: i64,
    /// How often it was updated; decides what changes with an update: the order's status, counters, load time, `value`.
    pub(super) revision: u64,
}

impl Event {
    /// The `_id`, a random UUID that the seed decides.
    pub(super) fn id(&self) -> String {
        let mut id = String::with_capacity(36);
        push_uuid(&mut id, self.seed);
        id
    }

    /// The JSON text of the document that `id`, the event's own, names.
    pub(super) fn document(&self, id: &str, received_micros: i64) -> String {
        let mut draft = Draft {
            stable: SeededRandom::new(!self.seed),
            changing: SeededRandom::new(!self.seed ^ ((self.revision + 1) << 32)),
            revision: self.revision,
            leaves: LEAVES_ALWAYS,
        };
        let user = User::numbered(skewed(&mut draft.stable, USERS));
        Json::document(DOCUMENT_BYTES, |json| {
            json.key("_id").string(id);
            json.key("event").string(skewed_word(&mut draft.stable, &words::EVENTS));
            json.key("event_time").timestamp(self.event_micros);
            json.key("received_at").integer(received_micros.div_euclid(1_000));
            json.key("session").compose(|text| push_uuid(text, user.session(self.event_micros)));
            json.key("customer").object(|json| draft.write_user(json, &user));
            json.key("device").object(|json| user.write_device(json));
            json.key("page").object(|json| draft.write_page(json));
            json.key("purchase").object(|json| draft.write_order(json, user.home.currency));
            json.key("counters").object(|json| draft.write_counters(json));
            json.key("note").compose(|text| write_note(text, &mut draft.stable));
            json.key("tags").array(|json| draft.write_tags(json));
            json.key("experiments").array(|json| draft.write_experiments(json));
            draft.write_value(json.key("value"));
            draft.write_attributes(json);
        })
    }
}

/// Who does what happens: everything follows from the number.
#[derive(Debug)]
struct User {
    number: u64,
    segment: &'static str,
    registered: bool,
    home: &'static Place,
    device: &'static Device,
    address: u64,
}

impl User {
    fn numbered(number: u64) -> Self {
        let mut random = SeededRandom::new(USER_SEED | number);
        Self {
            number,
            segment: skewed_word(&mut random, &words::SEGMENTS),
            registered: random.chance(7, 10),
            home: &words::PLACES[skewed(&mut random, words::PLACES.len() as u64) as usize],
            device: &words::DEVICES[skewed(&mut random, words::DEVICES.len() as u64) as usize],
            address: random.next_u64(),
        }
    }

    /// The seed of the session that a time falls in: a new one every half hour.
    fn session(&self, micros: i64) -> u64 {
        const SESSION_MICROS: i64 = 1_800_000_000;
        let session = micros.div_euclid(SESSION_MICROS) as u64;
        // Users' numbers are below 2^18.
        (SESSION_SEED | self.number) ^ (session << 18)
    }

    fn write_device(&self, json: &mut Json) {
        json.key("kind").string(self.device.kind);
        json.key("agent").string(self.device.agent);
        json.key("ip").compose(|text| {
            // The first byte is of the range that is neither private, loopback nor multicast throughout.
            push_number(text, 11 + (self.address >> 24) % 89, 1);
            for byte in [self.address >> 16, self.address >> 8, self.address] {
                text.push('.');
                push_number(text, byte & 0xFF, 1);
            }
        });
        json.key("screen").object(|json| {
            json.key("width").integer(self.device.screen.0);
            json.key("height").integer(self.device.screen.1);
        });
    }
}

/// A document as far as it is written.
#[derive(Debug)]
struct Draft {
    /// Draws what never changes.
    stable: SeededRandom,
    /// Draws what changes with an update.
    changing: SeededRandom,
    revision: u64,
    /// How many leaves are spoken for: the ones of all documents, and the arrays' as they are written.
    leaves: usize,
}

impl Draft {
    fn write_user(&mut self, json: &mut Json, user: &User) {
        json.key("id").compose(|text| {
            text.push_str("user-");
            push_number(text, user.number, 6);
        });
        json.key("segment").string(user.segment);
        json.key("registered").boolean(user.registered);
        json.key("location").object(|json| {
            json.key("country").string(user.home.country);
            json.key("city").string(user.home.city);
            // Within some 10 km of the centre.
            let mut near = |centre: i64| centre - 1_000 + self.stable.below(2_001) as i64;
            let (latitude, longitude) = (near(user.home.centre.0), near(user.home.centre.1));
            json.key("point").object(|json| {
                json.key("lat").fixed(latitude, 4);
                json.key("lon").fixed(longitude, 4);
            });
        });
    }

    fn write_page(&mut self, json: &mut Json) {
        let random = &mut self.stable;
        let product = skewed(random, PRODUCTS);
        let mut features = SeededRandom::new(PRODUCT_SEED | product);
        json.key("url").compose(|text| {
            text.push_str("https://shop.example.com/");
            text.push_str(skewed_word(&mut features, &words::CATEGORIES));
            text.push('/');
            text.push_str(skewed_word(&mut features, &words::MAKES));
            text.push('-');
            text.push_str(skewed_word(&mut features, &words::PRODUCTS));
            text.push('-');
            push_number(text, product, 5);
            if random.chance(1, 2) {
                text.push_str("?utm_campaign=");
                text.push_str(skewed_word(random, &words::CAMPAIGNS));
            }
        });
        json.key("referrer");
        if random.chance(2, 3) {
            json.string(skewed_word(random, &words::REFERRERS));
        } else {
            json.null();
        }
        json.key("load_ms").integer(20 + skewed(&mut self.changing, 8_000) as i64);
    }

    fn write_order(&mut self, json: &mut Json, currency: &str) {
        let random = &mut self.stable;
        let first_status = skewed(random, words::STATUSES.len() as u64);
        let status = (first_status + self.revision).min(words::STATUSES.len() as u64 - 1);
        json.key("status").string(words::STATUSES[status as usize]);
        json.key("currency").string(currency);
        let items = 1 + skewed(random, 3) as usize;
        self.leaves += 3 * items;
        let mut total = 0;
        json.key("items").array(|json| {
            for _ in 0..items {
                let product = skewed(random, PRODUCTS);
                let quantity = 1 + skewed(random, 7) as i64;
                let price = price_cents(product);
                total += quantity * price;
                json.element().object(|json| {
                    json.key("product").compose(|text| {
                        text.push_str("product-");
                        push_number(text, product, 5);
                    });
                    json.key("quantity").integer(quantity);
                    json.key("price").fixed(price, 2);
                });
            }
        });
        let cost = 100 * random.below(10) as i64 + 99;
        json.key("total").fixed(total + cost, 2);
        json.key("shipping").object(|json| {
            json.key("method").string(skewed_word(random, &words::SHIPPING_METHODS));
            json.key("cost").fixed(cost, 2);
        });
    }

    /// Writes counters that grow with every update.
    fn write_counters(&mut self, json: &mut Json) {
        for (counter, end, growth) in [("views", 100_000, 20), ("likes", 1_000, 4), ("retries", 4, 1)] {
            let grown = self.revision * growth + self.changing.below(growth);
            json.key(counter).integer((skewed(&mut self.stable, end) + grown) as i64);
        }
    }

    fn write_tags(&mut self, json: &mut Json) {
        // Neighbours in the list, so that no tag comes twice.
        let first = skewed(&mut self.stable, words::TAGS.len() as u64 - 2) as usize;
        let tags = 1 + self.stable.below(3) as usize;
        self.leaves += tags;
        words::TAGS[first..first + tags].iter().for_each(|tag| json.element().string(tag));
    }

    fn write_experiments(&mut self, json: &mut Json) {
        let experiments = 1 + self.stable.below(2) as usize;
        self.leaves += experiments;
        for _ in 0..experiments {
            json.element().integer(1_000 + self.stable.below(60) as i64);
        }
    }

    fn write_value(&mut self, json: &mut Json) {
        let random = &mut self.changing;
        let mut leaves = 1;
        match random.below(100) {
            0..55 => json.integer(skewed(random, 1_000_000) as i64),
            55..70 => json.fixed(skewed(random, 10_000_000) as i64, 2),
            70..75 => json.fixed(-(skewed(random, 100_000) as i64), 2),
            75..87 => json.string(skewed_word(random, &words::QUALITIES)),
            87..92 => json.null(),
            92..97 => json.boolean(random.chance(1, 2)),
            _ => {
                leaves = 1 + random.below(3) as usize;
                json.array(|json| (0..leaves).for_each(|_| json.element().integer(random.below(100) as i64)));
            }
        }
        self.leaves += leaves;
    }

    /// Writes as many attributes as there are leaves to spare: each choice of that many is as likely as any (selection
    /// sampling; Knuth, "The Art of Computer Programming", volume 2, algorithm 3.4.2S).
    fn write_attributes(&mut self, json: &mut Json) {
        let mut wanted = (LEAVES - self.leaves) as u64;
        if wanted == 0 {
            return;
        }
        json.key("attributes").object(|json| {
            for (position, (name, values)) in words::ATTRIBUTES.iter().enumerate() {
                if self.stable.chance(wanted, (words::ATTRIBUTES.len() - position) as u64) {
                    wanted -= 1;
                    write_one_of(json.key(name), &mut self.stable, values);
                }
            }
        });
    }
}

/// Appends the random UUID (RFC 9562, version 4) that a seed decides. All but 6 of 128 bits tell seeds apart.
fn push_uuid(text: &mut String, seed: u64) {
    let mut random = SeededRandom::new(seed);
    let (high, low) = (random.next_u64(), random.next_u64());
    push_hexadecimal(text, high >> 32, 8);
    let version = high & 0x0FFF | 0x4000;
    let variant = low >> 48 & 0x3FFF | 0x8000;
    for (number, digits) in [(high >> 16, 4), (version, 4), (variant, 4), (low, 12)] {
        text.push('-');
        push_hexadecimal(text, number, digits);
    }
}

fn write_one_of(json: &mut Json, random: &mut SeededRandom, values: &Values) {
    match values {
        Values::Words(words) => json.string(skewed_word(random, words)),
        Values::Integers(end) => json.integer(random.below(*end) as i64),
        Values::Hundredths(end) => json.fixed(random.below(*end) as i64, 2),
        Values::Booleans => json.boolean(random.chance(1, 3)),
    }
}

/// What a product costs: from 0.49 to 500, cheap ones more often.
fn price_cents(product: u64) -> i64 {
    let mut random = SeededRandom::new(!(PRODUCT_SEED | product));
    let whole = 1 + skewed(&mut random, 500) as i64;
    100 * whole - random.pick(&[0, 1, 5, 51])
}

/// Appends one sentence, or two in one line or in two.
fn write_note(text: &mut String, random: &mut SeededRandom) {
    write_sentence(text, random);
    if random.chance(7, 8) {
        text.push_str(if random.chance(1, 8) { "\\n" } else { " " });
        write_sentence(text, random);
    }
}

fn write_sentence(text: &mut String, random: &mut SeededRandom) {
    let tables: [&[&str]; 6] = [
        &words::SUBJECTS,
        &words::VERBS,
        &["the", "this", "their", "one"],
        &words::QUALITIES,
        &words::MAKES,
        &words::PRODUCTS,
    ];
    text.push_str("The");
    for table in tables {
        text.push(' ');
        text.push_str(skewed_word(random, table));
    }
    if random.chance(3, 4) {
        text.push(' ');
        text.push_str(skewed_word(random, &words::ENDINGS));
    }
    if random.chance(1, 2) {
        text.push_str(", and the ");
        text.push_str(skewed_word(random, &words::SUBJECTS));
        text.push(' ');
        text.push_str(skewed_word(random, &words::VERBS));
        text.push_str(" it");
    }
    text.push('.');
}

/// A number below `count`, 0 the most frequent and each about in inverse proportion to its rank, as words and customers
/// are (Zipf): the ranks from 1 to 2, to 4, to 8 and so on are equally likely, and within each of these all are.
pub(super) fn skewed(random: &mut SeededRandom, count: u64) -> u64 {
    let doublings = u64::from(count.ilog2()) + 1;
    let first = (1 << random.below(doublings)) - 1;
    first + random.below((first + 1).min(count - first))
}

/// A word of a list, the first the most frequent.
pub(super) fn skewed_word<'w>(random: &mut SeededRandom, list: &[&'w str]) -> &'w str {
    list[skewed(random, list.len() as u64) as usize]
}
