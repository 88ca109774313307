//! The vocabularies: what the stream's documents are made of.
//!
//! Out: tables. Nothing here decides anything; whoever draws does. Where draws are skewed, the first entries are the
//! frequent ones. No word needs escapes in JSON.

/// A city where users live.
#[derive(Debug)]
pub(super) struct Place {
    /// ISO 3166 code.
    pub(super) country: &'static str,
    /// Its name, in its own letters.
    pub(super) city: &'static str,
    /// ISO 4217 code of what is paid with there.
    pub(super) currency: &'static str,
    /// Latitude and longitude of the centre, in ten-thousandths of a degree.
    pub(super) centre: (i64, i64),
}

const fn place(country: &'static str, city: &'static str, currency: &'static str, centre: (i64, i64)) -> Place {
    Place { country, city, currency, centre }
}

/// Where users live.
pub(super) const PLACES: [Place; 31] = [
    place("US", "New York", "USD", (407_128, -740_060)),
    place("US", "San Francisco", "USD", (377_749, -1_224_194)),
    place("GB", "London", "GBP", (515_072, -1_276)),
    place("DE", "Berlin", "EUR", (525_200, 134_050)),
    place("IN", "Bengaluru", "INR", (129_716, 775_946)),
    place("BR", "São Paulo", "BRL", (-235_558, -466_396)),
    place("JP", "東京", "JPY", (356_762, 1_396_503)),
    place("FR", "Paris", "EUR", (488_566, 23_522)),
    place("US", "Chicago", "USD", (418_781, -876_298)),
    place("CA", "Toronto", "CAD", (436_532, -793_832)),
    place("IN", "Mumbai", "INR", (190_760, 728_777)),
    place("AU", "Sydney", "AUD", (-338_688, 1_512_093)),
    place("DE", "München", "EUR", (481_351, 115_820)),
    place("ES", "Madrid", "EUR", (404_168, -37_038)),
    place("MX", "Ciudad de México", "MXN", (194_326, -991_332)),
    place("US", "Austin", "USD", (302_672, -977_431)),
    place("IT", "Milano", "EUR", (454_642, 91_900)),
    place("NL", "Amsterdam", "EUR", (523_676, 49_041)),
    place("KR", "서울", "KRW", (375_665, 1_269_780)),
    place("ID", "Jakarta", "IDR", (-62_088, 1_068_456)),
    place("PL", "Kraków", "PLN", (500_647, 199_450)),
    place("SE", "Malmö", "SEK", (556_050, 130_038)),
    place("TR", "İstanbul", "TRY", (410_082, 289_784)),
    place("CH", "Zürich", "CHF", (473_769, 85_417)),
    place("NG", "Lagos", "NGN", (65_244, 33_792)),
    place("ZA", "Cape Town", "ZAR", (-339_249, 184_241)),
    place("AR", "Buenos Aires", "ARS", (-346_037, -583_816)),
    place("EG", "القاهرة", "EGP", (300_444, 312_357)),
    place("VN", "Hà Nội", "VND", (210_278, 1_058_342)),
    place("NZ", "Auckland", "NZD", (-368_509, 1_747_645)),
    place("IS", "Reykjavík", "ISK", (641_466, -219_426)),
];

/// What a user comes with.
#[derive(Debug)]
pub(super) struct Device {
    /// What it is.
    pub(super) kind: &'static str,
    /// Its `User-Agent`.
    pub(super) agent: &'static str,
    /// Width and height of its screen, in pixels.
    pub(super) screen: (i64, i64),
}

const fn device(kind: &'static str, screen: (i64, i64), agent: &'static str) -> Device {
    Device { kind, agent, screen }
}

/// What users come with.
#[rustfmt::skip]
pub(super) const DEVICES: [Device; 15] = [
    device("phone", (393, 852), "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"),
    device("phone", (412, 915), "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36"),
    device("desktop", (1920, 1080), "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"),
    device("app", (430, 932), "BasaltShop/5.12.0 (iPhone16,2; iOS 18.5; Scale/3.00)"),
    device("app", (384, 854), "BasaltShop/5.11.3 (Android 15; Pixel 9; okhttp/4.12.0)"),
    device("desktop", (1512, 982), "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"),
    device("desktop", (1440, 900), "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15"),
    device("desktop", (2560, 1440), "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0"),
    device("desktop", (1366, 768), "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    device("tablet", (820, 1180), "Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"),
    device("phone", (360, 780), "Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36"),
    device("desktop", (1920, 1200), "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    device("tablet", (800, 1280), "Mozilla/5.0 (Linux; Android 13; SM-X200) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36"),
    device("desktop", (1680, 1050), "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 Safari/537.36 OPR/121.0.0.0"),
    device("bot", (1024, 768), "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
];

/// What happened.
#[rustfmt::skip]
pub(super) const EVENTS: [&str; 15] = [
    "page_view", "product_view", "search", "add_to_cart", "login", "checkout", "purchase", "remove_from_cart",
    "review", "wishlist_add", "coupon_applied", "payment_failed", "refund", "support_chat", "logout",
];

/// What kinds of users there are.
pub(super) const SEGMENTS: [&str; 7] = ["casual", "new", "loyal", "bargain", "business", "dormant", "vip"];

/// What an order goes through, in this order.
pub(super) const STATUSES: [&str; 7] = ["cart", "paid", "packed", "shipped", "delivered", "returned", "refunded"];

/// How an order travels.
pub(super) const SHIPPING_METHODS: [&str; 5] = ["standard", "express", "pickup", "same_day", "freight"];

/// Who brings it.
pub(super) const CARRIERS: [&str; 7] = ["DHL", "UPS", "FedEx", "Hermes", "Royal Mail", "La Poste", "PostNL"];

/// The departments of the shop, as in its URLs.
#[rustfmt::skip]
pub(super) const CATEGORIES: [&str; 15] = [
    "electronics", "fashion", "home", "books", "toys", "garden", "sports", "beauty", "grocery", "music", "tools",
    "office", "pets", "outdoor", "antiques",
];

/// First halves of the names of products.
#[rustfmt::skip]
pub(super) const MAKES: [&str; 31] = [
    "wireless", "classic", "compact", "organic", "vintage", "smart", "foldable", "premium", "recycled", "waterproof",
    "wooden", "portable", "electric", "ceramic", "slim", "heated", "modular", "handmade", "rugged", "silent", "woven",
    "solar", "magnetic", "leather", "striped", "glass", "mini", "bamboo", "steel", "quilted", "copper",
];

/// Second halves of the names of products.
#[rustfmt::skip]
pub(super) const PRODUCTS: [&str; 31] = [
    "headphones", "jacket", "lamp", "backpack", "keyboard", "kettle", "sneakers", "notebook", "blanket", "watch",
    "speaker", "bottle", "chair", "camera", "grinder", "tent", "monitor", "mug", "puzzle", "drill", "scarf", "charger",
    "planter", "pillow", "guitar", "skillet", "mirror", "bicycle", "umbrella", "telescope", "hammock",
];

/// Where visitors come from.
#[rustfmt::skip]
pub(super) const REFERRERS: [&str; 15] = [
    "https://www.google.com/", "https://www.bing.com/", "https://www.instagram.com/", "https://www.youtube.com/",
    "https://mail.google.com/", "https://duckduckgo.com/", "https://www.reddit.com/r/deals/", "https://t.co/k3Jq9",
    "https://www.facebook.com/", "https://news.ycombinator.com/", "https://www.pinterest.com/",
    "https://blog.example.org/gift-guide", "https://www.tiktok.com/", "https://partner.example.net/offers",
    "https://search.brave.com/",
];

/// What brought them.
#[rustfmt::skip]
pub(super) const CAMPAIGNS: [&str; 15] = [
    "direct", "newsletter", "spring_sale", "retargeting", "brand_search", "influencer", "app_push", "black_friday",
    "back_to_school", "affiliate", "tv_spot", "podcast", "win_back", "flash_sale", "print",
];

/// What people mark things with.
#[rustfmt::skip]
pub(super) const TAGS: [&str; 31] = [
    "sale", "new", "gift", "bestseller", "eco", "clearance", "bundle", "summer", "limited", "mobile", "trending",
    "preorder", "winter", "kids", "b2b", "fragile", "oversize", "vegan", "local", "refurbished", "exclusive", "beta",
    "subscription", "imported", "warranty", "spare_part", "seasonal", "fair_trade", "digital", "heavy", "returned",
];

/// What an attribute's values are.
#[derive(Debug)]
pub(super) enum Values {
    /// One of these words.
    Words(&'static [&'static str]),
    /// An int below this.
    Integers(u64),
    /// A float with two decimals, below a hundredth of this.
    Hundredths(u64),
    /// A bool.
    Booleans,
}

/// Fields that only some documents have.
pub(super) const ATTRIBUTES: [(&str, Values); 24] = [
    ("ab_variant", Values::Words(&["control", "a", "b"])),
    ("battery_percent", Values::Integers(101)),
    ("campaign", Values::Words(&CAMPAIGNS)),
    ("cart_age_seconds", Values::Integers(86_400)),
    ("channel", Values::Words(&["web", "ios", "android", "partner", "store"])),
    ("color", Values::Words(&["black", "white", "blue", "red", "green", "sand", "violet"])),
    ("connection", Values::Words(&["wifi", "5g", "4g", "ethernet", "3g"])),
    ("dark_mode", Values::Booleans),
    ("discount", Values::Hundredths(5_000)),
    ("first_visit", Values::Booleans),
    ("gift_wrap", Values::Booleans),
    ("language", Values::Words(&["en", "de", "es", "fr", "pt", "ja", "hi", "it", "ko"])),
    ("loyalty_points", Values::Integers(25_000)),
    ("margin", Values::Hundredths(10_000)),
    ("payment", Values::Words(&["card", "paypal", "invoice", "apple_pay", "klarna", "voucher"])),
    ("rating", Values::Integers(6)),
    ("scroll_depth", Values::Hundredths(101)),
    ("search_position", Values::Integers(200)),
    ("size", Values::Words(&["M", "L", "S", "XL", "XS", "one size"])),
    ("stock_left", Values::Integers(1_000)),
    ("tax_rate", Values::Hundredths(2_600)),
    ("warehouse", Values::Words(&["ams-2", "ber-1", "ord-4", "sfo-1", "blr-3", "gru-1"])),
    ("weight_kilograms", Values::Hundredths(4_000)),
    ("wishlisted", Values::Booleans),
];

/// Who does something in a note.
#[rustfmt::skip]
pub(super) const SUBJECTS: [&str; 15] = [
    "customer", "courier", "buyer", "warehouse team", "support agent", "visitor", "subscriber", "neighbour",
    "store clerk", "reviewer", "driver", "account owner", "reseller", "supplier", "gift recipient",
];

/// What they do in a note.
#[rustfmt::skip]
pub(super) const VERBS: [&str; 31] = [
    "ordered", "returned", "liked", "compared", "received", "praised", "asked about", "reported", "replaced",
    "recommended", "waited for", "unpacked", "misplaced", "inspected", "repaired", "delivered", "postponed", "cancelled",
    "photographed", "tested", "upgraded", "bought", "exchanged", "wrapped", "described", "searched for", "collected",
    "complained about", "forgot", "measured", "assembled",
];

/// What things are like in a note.
#[rustfmt::skip]
pub(super) const QUALITIES: [&str; 31] = [
    "new", "second", "broken", "beautiful", "small", "large", "damaged", "late", "favourite", "cheap", "heavy", "missing",
    "comfortable", "wrong", "perfect", "blue", "faulty", "quick", "elegant", "noisy", "expensive", "sturdy", "faded",
    "excellent", "dusty", "matching", "unusual", "soft", "disappointing", "bright", "remarkable",
];

/// How a note's sentence may end.
#[rustfmt::skip]
pub(super) const ENDINGS: [&str; 31] = [
    "last week", "after the update", "before the holidays", "without a receipt", "in the morning", "at the second attempt",
    "for a friend", "on the way home", "within two days", "because of the colour", "despite the rain", "as expected",
    "and left five stars", "during the sale", "with free shipping", "from the mobile app", "at half the price",
    "after a long chat", "with a voucher", "on the same day", "in good condition", "once again", "for the whole family",
    "under warranty", "with some delay", "at the pickup point", "for the office", "in the wrong size",
    "after reading reviews", "without any trouble", "to everyone’s surprise",
];
