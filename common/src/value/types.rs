//! The types a value can have, and sets of them.
//!
//! In: codes read from the log, the catalog and segments. Out: [`Type`] and [`TypeSet`]. Owns the numbers and names of
//! the types, which are frozen: they stand in every persistent format. Leaves to SQL what a type becomes in Arrow.

use std::fmt;

/// The type of a value; its number is frozen in every format that stores one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Type {
    /// No value.
    Null = 0,
    /// True or false.
    Bool = 1,
    /// A 64-bit integer.
    Int = 2,
    /// A double-precision float.
    Float = 3,
    /// An exact decimal of up to 76 digits.
    Decimal = 4,
    /// Text.
    String = 5,
    /// Bytes.
    Bytes = 6,
    /// An instant, in microseconds, UTC.
    Timestamp = 7,
    /// A day.
    Date = 8,
    /// A time of day, in microseconds.
    Time = 9,
    /// Values in order.
    Array = 10,
    /// Values by name.
    Object = 11,
    /// A vector of single-precision floats.
    Vector = 12,
    /// A shape on the earth.
    Geography = 13,
    /// Text of a source's type that has no exact home.
    Tagged = 14,
}

impl Type {
    /// All types, in the order of their codes.
    pub const ALL: [Self; 15] = [
        Self::Null,
        Self::Bool,
        Self::Int,
        Self::Float,
        Self::Decimal,
        Self::String,
        Self::Bytes,
        Self::Timestamp,
        Self::Date,
        Self::Time,
        Self::Array,
        Self::Object,
        Self::Vector,
        Self::Geography,
        Self::Tagged,
    ];

    /// The frozen number of the type.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The type with this number, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name of the type, as clients see it in `columns[].type` and `typeof`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Decimal => "decimal",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Time => "time",
            Self::Array => "array",
            Self::Object => "object",
            Self::Vector => "vector",
            Self::Geography => "geography",
            Self::Tagged => "tagged",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A set of types: bit _n_ is the type with code _n_.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TypeSet(u16);

impl TypeSet {
    /// The set of no types.
    pub const EMPTY: Self = Self(0);

    /// Adds a type, and tells whether it was missing.
    pub fn insert(&mut self, member: Type) -> bool {
        let missing = !self.contains(member);
        self.0 |= 1 << member.code();
        missing
    }

    /// Tells whether the type is in the set.
    pub const fn contains(self, member: Type) -> bool {
        self.0 & (1 << member.code()) != 0
    }

    /// The set of all types that are in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The types of the set, in the order of their codes.
    pub fn iter(self) -> impl Iterator<Item = Type> {
        Type::ALL.into_iter().filter(move |member| self.contains(*member))
    }

    /// How many types the set has.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Tells whether the set has no type.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as bits, for storing.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set with these bits, unless one of them is no type's.
    pub fn from_bits(bits: u16) -> Option<Self> {
        let known = (1 << Type::ALL.len()) - 1;
        (bits & !known == 0).then_some(Self(bits))
    }
}

impl FromIterator<Type> for TypeSet {
    fn from_iter<I: IntoIterator<Item = Type>>(types: I) -> Self {
        types.into_iter().fold(Self::EMPTY, |set, member| set.union(Self(1 << member.code())))
    }
}
