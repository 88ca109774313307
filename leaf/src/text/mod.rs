//! The words of a column's texts, with the rows and places in which they are: *text*.
//!
//! In: a column of strings. Out: an index, read in place; the rows that a query matches, how many that are at most, scores. Made with
//! tantivy, one segment for each column, the document's number is the row's; nothing is stored in it, and it is never merged, but made
//! again with the column. Rows whose text is absent are in it, empty. What matches is `common`'s affair
//! ([`Matcher`](basalt_common::text::Matcher)), and the same: `tests.rs` compares.
//!
//! ```text
//! text      = files… directory length:u32             the directory's length
//! directory = analyzer count (name offset length)…    the files of a tantivy index, by their names; text: varint length, bytes
//! ```

mod directory;
mod rows;
#[cfg(test)]
mod tests;

use basalt_common::binary::{BinaryError, Reader, put_bytes, put_varint};
use basalt_common::text::{Analyzer, Scorer, Statistics, TextQuery, Unit};
use bytes::Bytes;
use datafusion::arrow::array::{Array, StringArray};
use tantivy::directory::RamDirectory;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::{Postings, SegmentPostings};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{
    DocSet, Index, IndexSettings, InvertedIndexReader, SegmentReader, TERMINATED, TantivyDocument, TantivyError, Term,
};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::column::ColumnError;
use directory::ReadOnly;

/// The only field of each index.
const FIELD: &str = "text";

/// What an index is given to begin with while it is made; it takes what it needs.
const WRITER_BYTES: usize = 16 << 20;

/// To look for a row among others costs about as much as to go on in an index by so many.
const SEEKS_PER_SEARCH: usize = 8;

/// How many texts are looked at to tell prose.
const SAMPLE: usize = 512;

/// Texts of fewer words, in the mean, are names and labels.
const PROSE_WORDS: usize = 4;

/// So many words of each are counted: one long text is no prose by itself.
const WORDS_COUNTED: usize = 4 * PROSE_WORDS;

/// Whether texts look like prose: a sample of them has several words each.
pub fn is_prose(texts: &StringArray) -> bool {
    let step = texts.len().div_ceil(SAMPLE).max(1);
    let there = (0..texts.len()).step_by(step).filter(|row| texts.is_valid(*row));
    let words = |row| texts.value(row).split_whitespace().take(WORDS_COUNTED).count();
    let (count, words) = there.map(words).fold((0, 0), |(count, all), words| (count + 1, all + words));
    count > 0 && words >= PROSE_WORDS * count
}

/// Appends the index of texts.
///
/// # Errors
/// The texts cannot be indexed.
pub fn encode(analyzer: Analyzer, texts: &StringArray, out: &mut Vec<u8>) -> Result<(), ColumnError> {
    let start = out.len();
    let mut directory = Vec::new();
    put_bytes(&mut directory, analyzer.name().as_bytes());
    let files = build(analyzer, texts).map_err(wrong)?;
    put_varint(&mut directory, files.len() as u64);
    for (name, bytes) in files {
        put_bytes(&mut directory, name.to_string_lossy().as_bytes());
        put_varint(&mut directory, (out.len() - start) as u64);
        put_varint(&mut directory, bytes.len() as u64);
        out.extend_from_slice(&bytes);
    }
    let length = u32::try_from(directory.len()).expect("an index has few files");
    out.append(&mut directory);
    out.extend_from_slice(&length.to_le_bytes());
    Ok(())
}

fn wrong(error: impl Into<TantivyError>) -> ColumnError {
    ColumnError::Text(error.into().to_string())
}

fn build(analyzer: Analyzer, texts: &StringArray) -> Result<BTreeMap<PathBuf, Vec<u8>>, TantivyError> {
    let mut schema = Schema::builder();
    let words = TextFieldIndexing::default()
        .set_tokenizer(analyzer.name())
        .set_index_option(IndexRecordOption::WithFreqsAndPositions);
    let field = schema.add_text_field(FIELD, TextOptions::default().set_indexing_options(words));
    let settings = IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() };
    let directory = RamDirectory::create();
    let index = Index::builder().schema(schema.build()).settings(settings);
    let index = index.tokenizers(tokenizers(analyzer));
    let mut writer = index.single_segment_index_writer::<TantivyDocument>(directory.clone(), WRITER_BYTES)?;
    for text in texts {
        let mut document = TantivyDocument::new();
        if let Some(text) = text {
            document.add_text(field, text);
        }
        writer.add_document(document)?;
    }
    directory::files(&writer.finalize()?, &directory)
}

fn tokenizers(analyzer: Analyzer) -> tantivy::tokenizer::TokenizerManager {
    let tokenizers = tantivy::tokenizer::TokenizerManager::new();
    tokenizers.register(analyzer.name(), analyzer.words());
    tokenizers
}

/// The index of one column's texts.
pub struct TextIndex {
    analyzer: Analyzer,
    field: Field,
    words: Arc<InvertedIndexReader>,
    lengths: Option<FieldNormReader>,
    bytes: usize,
}

impl std::fmt::Debug for TextIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextIndex").field("analyzer", &self.analyzer).field("bytes", &self.bytes).finish()
    }
}

impl TextIndex {
    /// Opens what [`encode`] wrote of so many rows.
    ///
    /// # Errors
    /// The bytes are no index of these.
    pub fn open(bytes: Bytes, rows: u64) -> Result<Self, ColumnError> {
        let (analyzer, files) = read_directory(&bytes).map_err(|error| ColumnError::Damaged(error.reason))?;
        let index = Index::open(ReadOnly::new(files)).map_err(wrong)?;
        let field = index.schema().get_field(FIELD).map_err(wrong)?;
        let segments = index.searchable_segments().map_err(wrong)?;
        let Some(segment) = segments.first() else {
            return match rows {
                0 => Ok(Self {
                    analyzer,
                    field,
                    words: Arc::new(InvertedIndexReader::empty(IndexRecordOption::Basic)),
                    lengths: None,
                    bytes: bytes.len(),
                }),
                _ => Err(ColumnError::Damaged("an index of texts has no rows")),
            };
        };
        let reader = SegmentReader::open(segment).map_err(wrong)?;
        if u64::from(reader.max_doc()) != rows {
            return Err(ColumnError::Damaged("an index of texts has another number of rows than its column"));
        }
        let lengths = Some(reader.get_fieldnorms_reader(field).map_err(wrong)?);
        Ok(Self { analyzer, field, words: reader.inverted_index(field).map_err(wrong)?, lengths, bytes: bytes.len() })
    }

    /// What makes words of the texts.
    pub fn analyzer(&self) -> Analyzer {
        self.analyzer
    }

    /// How many bytes it has.
    pub fn encoded_bytes(&self) -> usize {
        self.bytes
    }

    /// How many different words there are.
    pub fn words(&self) -> usize {
        self.words.terms().num_terms()
    }

    /// How often the units of a query occur; `texts` is how many rows have a text.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn statistics(&self, query: &TextQuery, texts: u64) -> Result<Statistics, ColumnError> {
        let found = |unit: &Unit| match unit {
            Unit::Word(word) => Ok(self.words.doc_freq(&self.term(word)).map_err(wrong)?.into()),
            Unit::Prefix(_) => Ok(0),
        };
        let found = query.units.iter().map(found).collect::<Result<_, ColumnError>>()?;
        Ok(Statistics { texts, words: self.words.total_num_tokens(), found })
    }

    /// The scores of rows, ascending.
    ///
    /// # Errors
    /// The index is damaged.
    pub fn scores(&self, query: &TextQuery, scorer: &Scorer, rows: &[u32]) -> Result<Vec<f32>, ColumnError> {
        let mut scores = vec![0.0; rows.len()];
        let Some(lengths) = &self.lengths else { return Ok(scores) };
        for unit in scorer.units() {
            let mut times = vec![0_u32; rows.len()];
            self.each_word(&query.units[unit], IndexRecordOption::WithFreqs, |mut postings| {
                in_rows(&mut postings, rows, |index, postings| times[index] += postings.term_freq());
            })?;
            for ((row, times), score) in rows.iter().zip(times).zip(&mut scores).filter(|((_, times), _)| *times > 0) {
                *score += scorer.part(unit, times, lengths.fieldnorm(*row));
            }
        }
        Ok(scores)
    }

    fn term(&self, word: &str) -> Term {
        Term::from_field_text(self.field, word)
    }

    /// Goes through the words that a unit stands for, telling where each is. One at a time: a beginning may stand for all there are.
    fn each_word(
        &self,
        unit: &Unit,
        option: IndexRecordOption,
        mut tell: impl FnMut(SegmentPostings),
    ) -> Result<(), ColumnError> {
        match unit {
            Unit::Word(word) => {
                let postings = self.words.read_postings(&self.term(word), option).map_err(wrong)?;
                postings.into_iter().for_each(tell);
            }
            Unit::Prefix(prefix) => {
                let mut words = self.words.terms().range().ge(prefix).into_stream().map_err(wrong)?;
                while words.advance() && words.key().starts_with(prefix.as_bytes()) {
                    tell(self.words.read_postings_from_terminfo(words.value(), option).map_err(wrong)?);
                }
            }
        }
        Ok(())
    }
}

/// Tells in which of some rows, ascending, a word is: the place of the row among these.
fn in_rows(postings: &mut SegmentPostings, rows: &[u32], mut tell: impl FnMut(usize, &mut SegmentPostings)) {
    if postings.doc_freq() as usize * SEEKS_PER_SEARCH < rows.len() {
        while postings.doc() != TERMINATED {
            if let Ok(index) = rows.binary_search(&postings.doc()) {
                tell(index, postings);
            }
            postings.advance();
        }
        return;
    }
    for (index, row) in rows.iter().enumerate() {
        if postings.doc() < *row {
            postings.seek(*row);
        }
        match postings.doc() {
            TERMINATED => return,
            found if found == *row => tell(index, postings),
            _ => {}
        }
    }
}

type Files = BTreeMap<PathBuf, Bytes>;

fn read_directory(bytes: &Bytes) -> Result<(Analyzer, Files), BinaryError> {
    let damaged = |reason| BinaryError { offset: 0, reason };
    let (rest, length) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("an index of texts is too short"))?;
    let start = rest.len().checked_sub(u32::from_le_bytes(*length) as usize);
    let start = start.ok_or_else(|| damaged("the directory of an index of texts does not lie in it"))?;
    let mut reader = Reader::new(&rest[start..]);
    let analyzer = reader.text()?.parse();
    let analyzer = analyzer.map_err(|_| damaged("an index of texts was made by an analyzer that is not known"))?;
    let mut files = BTreeMap::new();
    for _ in 0..reader.count()? {
        let name = PathBuf::from(reader.text()?);
        let (offset, length) = (reader.varint()? as usize, reader.varint()? as usize);
        let end = offset.checked_add(length).filter(|end| *end <= start);
        let end = end.ok_or_else(|| damaged("a file of an index of texts does not lie in it"))?;
        files.insert(name, bytes.slice(offset..end));
    }
    Ok((analyzer, files))
}
