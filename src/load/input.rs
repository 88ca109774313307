//! The documents of a file, one by one.
//!
//! In: a file of NDJSON, or of one JSON array, plain or compressed with gzip or zstd; which of them is told by its first
//! bytes. Out: the text of each document on one line, with where it ends and where it began. Whether a text is a document is
//! left to the server.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use flate2::bufread::MultiGzDecoder;

/// The longest text of one document: above what servers take, so that they say so.
const DOCUMENT_BYTES_MAX: usize = 64 << 20;

/// The bytes that are read ahead.
const BUFFER_BYTES: usize = 1 << 18;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The text of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    /// The text, without line breaks.
    pub(super) text: Vec<u8>,
    /// The line where it begins, from 1.
    pub(super) line: u64,
}

/// A place in the decompressed input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes before it.
    pub(super) offset: u64,
    /// The line that it is in, from 1.
    pub(super) line: u64,
}

impl Default for Place {
    fn default() -> Self {
        Self { offset: 0, line: 1 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Lines,
    /// An array: whether an element came already, so that a comma is due.
    Array {
        begun: bool,
    },
    Ended,
}

/// A file's documents.
pub(super) struct Documents {
    reader: Box<dyn BufRead + Send>,
    shape: Shape,
    place: Place,
}

/// Counts the bytes that pass.
struct Counting<R> {
    reader: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Documents {
    /// Opens a file, or the standard input where it is `-`. `read` counts the bytes that are read of it.
    pub(super) fn open(path: &Path, read: Arc<AtomicU64>) -> Result<Self> {
        let input: Box<dyn Read + Send> = match path == Path::new("-") {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(path)?),
        };
        Self::read(Counting { reader: input, count: read })
    }

    fn read(input: impl Read + Send + 'static) -> Result<Self> {
        let mut plain = BufReader::with_capacity(BUFFER_BYTES, input);
        let first = plain.fill_buf()?;
        let mut reader: Box<dyn BufRead + Send> = if first.starts_with(&GZIP_MAGIC) {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(plain)))
        } else if first.starts_with(&ZSTD_MAGIC) {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, zstd::stream::read::Decoder::with_buffer(plain)?))
        } else {
            Box::new(plain)
        };
        let mut place = Place::default();
        let shape = match next_visible(&mut reader, &mut place)? {
            Some(b'[') => {
                take(&mut reader, &mut place)?;
                Shape::Array { begun: false }
            }
            Some(_) => Shape::Lines,
            None => Shape::Ended,
        };
        Ok(Self { reader, shape, place })
    }

    /// Where the next document is looked for.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Goes on behind a document that ended at `place`.
    pub(super) fn skip_to(&mut self, place: Place) -> Result<()> {
        let skipped = place.offset.checked_sub(self.place.offset).context("the place is before the first document")?;
        let passed = io::copy(&mut (&mut self.reader).take(skipped), &mut io::sink())?;
        ensure!(passed == skipped, "the file ends before the place that was reached");
        self.place = place;
        if let Shape::Array { begun } = &mut self.shape {
            *begun = true;
        }
        Ok(())
    }

    /// The next document; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Document>> {
        let found = match self.shape {
            Shape::Lines => self.line()?,
            Shape::Array { begun } => self.element(begun)?,
            Shape::Ended => None,
        };
        if found.is_none() {
            self.shape = Shape::Ended;
        }
        Ok(found)
    }

    fn line(&mut self) -> Result<Option<Document>> {
        loop {
            let line = self.place.line;
            let mut text = Vec::new();
            let limit = DOCUMENT_BYTES_MAX as u64 + 1;
            let read = (&mut self.reader).take(limit).read_until(b'\n', &mut text)?;
            if read == 0 {
                return Ok(None);
            }
            ensure!(text.len() <= DOCUMENT_BYTES_MAX, "line {line} is longer than {} MiB", DOCUMENT_BYTES_MAX >> 20);
            self.place.offset += read as u64;
            self.place.line += 1;
            let text = text.trim_ascii();
            if !text.is_empty() {
                return Ok(Some(Document { text: text.to_vec(), line }));
            }
        }
    }

    fn element(&mut self, begun: bool) -> Result<Option<Document>> {
        let (reader, place) = (&mut self.reader, &mut self.place);
        match next_visible(reader, place)? {
            Some(b']') => {
                take(reader, place)?;
                ensure!(next_visible(reader, place)?.is_none(), "line {}: something follows the array", place.line);
                return Ok(None);
            }
            Some(b',') if begun => take(reader, place)?,
            Some(_) if begun => bail!("line {}: a comma is missing", place.line),
            Some(_) => {}
            None => bail!("line {}: the array has no end", place.line),
        }
        next_visible(reader, place)?;
        let line = place.line;
        let text = value(reader, place)?;
        ensure!(!text.is_empty(), "line {line}: a document is missing before a comma or the array's end");
        self.shape = Shape::Array { begun: true };
        Ok(Some(Document { text, line }))
    }
}

/// The next byte that is no white space, not taken.
fn next_visible(reader: &mut dyn BufRead, place: &mut Place) -> Result<Option<u8>> {
    loop {
        let Some(byte) = reader.fill_buf()?.first().copied() else { return Ok(None) };
        if !byte.is_ascii_whitespace() {
            return Ok(Some(byte));
        }
        take(reader, place)?;
        place.line += u64::from(byte == b'\n');
    }
}

fn take(reader: &mut dyn BufRead, place: &mut Place) -> Result<()> {
    reader.consume(1);
    place.offset += 1;
    Ok(())
}

/// Takes an element's text: all up to the comma or bracket that ends it, which is not taken.
fn value(reader: &mut dyn BufRead, place: &mut Place) -> Result<Vec<u8>> {
    let (mut text, begin) = (Vec::new(), place.line);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            let whole = depth == 0 && !in_string && !text.is_empty();
            ensure!(whole, "line {begin}: the file ends within this document");
            return Ok(text.trim_ascii_end().to_vec());
        }
        let mut used = 0;
        let mut ended = false;
        for byte in buffer {
            match byte {
                b'\n' | b'\r' if in_string => bail!("line {}: a line break within a text", place.line),
                b'\n' => place.line += 1,
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'[' | b'{' => depth += 1,
                b',' | b']' if depth == 0 => ended = true,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if ended {
                break;
            }
            used += 1;
        }
        let shown = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
        text.extend(buffer[..used].iter().map(shown));
        reader.consume(used);
        place.offset += used as u64;
        if ended {
            return Ok(text.trim_ascii_end().to_vec());
        }
        let longest = DOCUMENT_BYTES_MAX >> 20;
        ensure!(text.len() <= DOCUMENT_BYTES_MAX, "line {begin}: the document is longer than {longest} MiB");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Document, Documents, Place};

    fn read(bytes: &[u8]) -> anyhow::Result<Vec<(String, u64)>> {
        let mut documents = Documents::read(std::io::Cursor::new(bytes.to_vec()))?;
        let mut found = Vec::new();
        while let Some(Document { text, line }) = documents.next()? {
            found.push((String::from_utf8(text)?, line));
        }
        Ok(found)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    fn texts(found: &[(&str, u64)]) -> Vec<(String, u64)> {
        found.iter().map(|(text, line)| ((*text).to_string(), *line)).collect()
    }

    #[test]
    fn every_form_gives_the_same_documents() {
        let lines: &[u8] = b"{\"a\": 1}\n\n {\"b\": \"],[\"} \r\n{\"c\": [1, 2]}";
        let array: &[u8] = b"[{\"a\": 1},\n\n{\"b\": \"],[\"},\n{\"c\": [1, 2]}\n]\n";
        let expected = texts(&[("{\"a\": 1}", 1), ("{\"b\": \"],[\"}", 3), ("{\"c\": [1, 2]}", 4)]);
        for plain in [lines, array] {
            assert_eq!(read(plain).expect("it is plain"), expected);
            assert_eq!(read(&gzip(plain)).expect("it is gzip"), expected);
            // Two members, as of files that were appended to.
            let (first, second) = plain.split_at(20);
            assert_eq!(read(&[gzip(first), gzip(second)].concat()).expect("it is gzip twice"), expected);
            let zstd = zstd::stream::encode_all(plain, 1).expect("memory takes it");
            assert_eq!(read(&zstd).expect("it is zstd"), expected);
        }
        assert_eq!(read(b" \n").expect("it is empty"), []);
        assert_eq!(read(b"[ ]").expect("it is empty"), []);
    }

    #[test]
    fn documents_of_an_array_become_lines() {
        let found = read(b"[\n  {\n    \"a\": \"\\\"]\",\n    \"b\": []\n  }\n]").expect("it is an array");
        assert_eq!(found, texts(&[("{     \"a\": \"\\\"]\",     \"b\": []   }", 2)]));
    }

    #[test]
    fn broken_arrays_say_where() {
        for (text, message) in [
            ("[{},\n]", "line 2: a document is missing before a comma or the array's end"),
            ("[{}", "line 1: the array has no end"),
            ("[\n{\"a\": 1", "line 2: the file ends within this document"),
            ("[\"a\nb\"]", "line 1: a line break within a text"),
            ("[{}]\n{}", "line 2: something follows the array"),
        ] {
            let error = read(text.as_bytes()).expect_err("it is broken");
            assert_eq!(error.to_string(), message, "{text}");
        }
    }

    #[test]
    fn reading_goes_on_behind_any_document() {
        for text in ["{\"a\":1}\n{\"b\":2}\n\n{\"c\":3}\n", "[ {\"a\":1} ,\n{\"b\":2},{\"c\":3}\n]"] {
            let all = read(text.as_bytes()).expect("it is whole");
            for known in 0..=all.len() {
                let mut documents = Documents::read(std::io::Cursor::new(text.as_bytes().to_vec())).expect("it opens");
                (0..known).for_each(|_| assert!(documents.next().expect("it is whole").is_some()));
                let place: Place = documents.place();
                let mut again = Documents::read(std::io::Cursor::new(text.as_bytes().to_vec())).expect("it opens");
                if known > 0 {
                    again.skip_to(place).expect("the place is there");
                }
                let mut rest = Vec::new();
                while let Some(Document { text, line }) = again.next().expect("it is whole") {
                    rest.push((String::from_utf8(text).expect("it is text"), line));
                }
                assert_eq!(rest, all[known..], "{text} behind {known}");
            }
        }
    }
}
