//! Parts of an object that are opened when they are first asked for.
//!
//! In: where a part lies and its checksum, from the object's directory. Out: the part, read in place, its checksum compared once.
//! Where the object is a file of this machine, a part stays open; where the object is in a store elsewhere, a part is here for as
//! long as it is used or the cache keeps it.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};

use basalt_common::value::Type;
use bytes::Bytes;
use datafusion::arrow::datatypes::DataType;

use crate::advice::read_here_and_there;
use crate::cache::{CachedObject, ExtentPlace};
use crate::column::{Column, ColumnError};
use crate::elements::Elements;
use crate::key_run::KeyRun;
use crate::terms::Terms;
use crate::text::TextIndex;

/// What lies in a part of an object.
pub trait Open: Sized + Send + Sync + 'static {
    /// What must be known to open it.
    type Shape: fmt::Debug + Send + Sync;

    /// Opens it.
    ///
    /// # Errors
    /// The bytes are something else.
    fn open(bytes: Bytes, shape: &Self::Shape) -> Result<Self, ColumnError>;
}

/// Where a part of an object lies.
#[derive(Debug, Clone)]
pub struct Place {
    /// The object's name, for errors.
    pub object: Arc<str>,
    /// The part's, for errors.
    pub part: &'static str,
    /// Where in the object.
    pub offset: usize,
    /// Of so many bytes.
    pub length: usize,
    /// Of these.
    pub checksum: u32,
}

impl Place {
    fn check(&self, bytes: &[u8]) -> Result<(), ColumnError> {
        match crc32c::crc32c(bytes) == self.checksum {
            true => Ok(()),
            false => Err(ColumnError::Checksum {
                object: Arc::clone(&self.object),
                part: self.part,
                offset: self.offset as u64,
            }),
        }
    }
}

/// A part of an object.
pub struct Piece<T: Open> {
    bytes: usize,
    state: State<T>,
}

enum State<T: Open> {
    /// It was opened with the object.
    Open(T),
    /// It was made in memory, of these bytes.
    Made(T, Bytes),
    /// In bytes that stay here; where these are damaged it may be in a store too.
    Here { place: Place, held: Bytes, copy: Option<Arc<CachedObject>>, shape: T::Shape, opened: OnceLock<T> },
    /// In a store elsewhere.
    Away { place: Place, object: Arc<CachedObject>, extent: ExtentPlace, shape: T::Shape, opened: RwLock<Weak<T>> },
}

impl<T: Open> fmt::Debug for Piece<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piece").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// A part that is open for as long as this is there.
pub enum Held<'p, T> {
    /// It stays open.
    Kept(&'p T),
    /// It was brought here.
    Brought(Arc<T>),
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Kept(part) => part,
            Self::Brought(part) => part,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Held<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deref().fmt(f)
    }
}

impl<T: Open> Piece<T> {
    /// One of so many bytes that is open.
    pub fn open(part: T, bytes: usize) -> Self {
        Self { bytes, state: State::Open(part) }
    }

    /// One that was just made of these bytes.
    pub fn made(part: T, bytes: Bytes) -> Self {
        Self { bytes: bytes.len(), state: State::Made(part, bytes) }
    }

    /// The bytes that it was just made of, if it was.
    pub fn made_of(&self) -> Option<&Bytes> {
        match &self.state {
            State::Made(_, bytes) => Some(bytes),
            _ => None,
        }
    }

    /// One in bytes that stay here, of an object of which there may be another copy.
    pub fn here(place: Place, held: Bytes, copy: Option<Arc<CachedObject>>, shape: T::Shape) -> Self {
        Self { bytes: place.length, state: State::Here { place, held, copy, shape, opened: OnceLock::new() } }
    }

    /// One in a store elsewhere, in this extent of its object.
    pub fn away(place: Place, object: Arc<CachedObject>, extent: ExtentPlace, shape: T::Shape) -> Self {
        let opened = RwLock::new(Weak::new());
        Self { bytes: place.length, state: State::Away { place, object, extent, shape, opened } }
    }

    /// Bytes that it takes in its object.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it can be had without waiting for a store.
    pub fn is_here(&self) -> bool {
        match &self.state {
            State::Open(_) | State::Made(..) | State::Here { .. } => true,
            State::Away { object, extent, .. } => object.has(*extent),
        }
    }

    /// Whether it is open, and stays: to get it takes no time.
    pub fn is_open(&self) -> bool {
        match &self.state {
            State::Open(_) | State::Made(..) => true,
            State::Here { opened, .. } => opened.get().is_some(),
            // It may go at any time.
            State::Away { .. } => false,
        }
    }

    /// Begins to bring it here, if it is elsewhere.
    pub fn bring(&self) {
        if let State::Away { object, extent, .. } = &self.state {
            object.bring(*extent);
        }
    }

    /// The part. Waits for the store where it is not here.
    ///
    /// # Errors
    /// It is damaged, or the store cannot be read.
    pub fn get(&self) -> Result<Held<'_, T>, ColumnError> {
        match &self.state {
            State::Open(part) | State::Made(part, _) => Ok(Held::Kept(part)),
            State::Here { .. } => self.kept().map(Held::Kept),
            State::Away { place, object, extent, shape, opened } => {
                let before = opened.read().unwrap_or_else(PoisonError::into_inner).upgrade();
                if let Some(part) = before {
                    object.touch(*extent);
                    return Ok(Held::Brought(part));
                }
                let part = Self::open_brought(place, object, *extent, shape)?;
                *opened.write().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&part);
                Ok(Held::Brought(part))
            }
        }
    }

    /// Brings it here and opens it. What is damaged in the cache is brought again.
    fn open_brought(
        place: &Place,
        object: &CachedObject,
        extent: ExtentPlace,
        shape: &T::Shape,
    ) -> Result<Arc<T>, ColumnError> {
        let bring = || {
            let brought = object.extent(extent)?;
            let bytes = brought.slice(place.offset - extent.start..place.offset - extent.start + place.length)?;
            place.check(&bytes).map(|()| (brought, bytes))
        };
        let (brought, bytes) = match bring() {
            Err(ColumnError::Checksum { .. }) => {
                object.drop_extent(extent);
                bring()?
            }
            brought => brought?,
        };
        let part = Arc::new(T::open(bytes, shape)?);
        brought.keep(Arc::clone(&part) as _);
        Ok(part)
    }

    /// The part, which stays open.
    ///
    /// # Errors
    /// It is damaged, or was not opened as one that stays.
    pub fn kept(&self) -> Result<&T, ColumnError> {
        match &self.state {
            State::Open(part) | State::Made(part, _) => Ok(part),
            State::Here { place, held, copy, shape, opened } => {
                if let Some(part) = opened.get() {
                    return Ok(part);
                }
                let sound = match (place.check(held), copy) {
                    (Ok(()), _) => held.clone(),
                    (Err(_), Some(copy)) => {
                        let fetched = copy.fetch(place.offset, place.length)?;
                        place.check(&fetched)?;
                        fetched
                    }
                    (Err(damage), None) => return Err(damage),
                };
                let part = T::open(sound, shape)?;
                Ok(opened.get_or_init(|| part))
            }
            State::Away { .. } => Err(ColumnError::Damaged("a part that must be on this machine is elsewhere")),
        }
    }
}

/// What must be known to open a column.
#[derive(Debug)]
pub struct ColumnShape {
    /// The Arrow type of its values.
    pub of: DataType,
    /// Its rows.
    pub rows: u64,
    /// How many of them have a value.
    pub present: u64,
    /// Whether it is read a row here and a row there.
    pub by_row: bool,
}

impl ColumnShape {
    /// That of a column of typed values.
    pub fn new(of: Type, rows: u64, present: u64) -> Self {
        Self { of: basalt_common::columns::storage_type(of), rows, present, by_row: false }
    }
}

impl Open for Column {
    type Shape = ColumnShape;

    fn open(bytes: Bytes, shape: &ColumnShape) -> Result<Self, ColumnError> {
        if shape.by_row {
            read_here_and_there(&bytes);
        }
        let column = Self::open(bytes, &shape.of, shape.rows)?;
        match column.present() == shape.present {
            true => Ok(column),
            false => Err(ColumnError::Damaged("a column has another number of values than its directory says")),
        }
    }
}

/// What must be known to open terms.
#[derive(Debug)]
pub struct TermsShape {
    /// The rows of their column.
    pub rows: u64,
    /// How many of them have a value.
    pub present: u64,
}

impl Open for Terms {
    type Shape = TermsShape;

    fn open(bytes: Bytes, shape: &TermsShape) -> Result<Self, ColumnError> {
        Self::open(bytes, shape.rows, shape.present)
    }
}

impl Open for TextIndex {
    type Shape = u64;

    fn open(bytes: Bytes, rows: &u64) -> Result<Self, ColumnError> {
        Self::open(bytes, *rows)
    }
}

impl Open for Elements {
    type Shape = u64;

    fn open(bytes: Bytes, rows: &u64) -> Result<Self, ColumnError> {
        Self::open(&bytes, *rows)
    }
}

impl From<KeyRun> for Piece<KeyRun> {
    fn from(run: KeyRun) -> Self {
        let bytes = run.bytes().len();
        Self::open(run, bytes)
    }
}

impl Open for KeyRun {
    type Shape = usize;

    fn open(bytes: Bytes, rows: &usize) -> Result<Self, ColumnError> {
        let run = Self::open(bytes, *rows)?;
        read_here_and_there(&run.bytes()[run.hot_bytes()..]);
        Ok(run)
    }
}
