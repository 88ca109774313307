//! Key runs against lists of hashes, and runs whose bytes lie.

use basalt_common::routing::shard_of;
use bytes::Bytes;
use proptest::prelude::*;

use super::{ColumnError, HOME_ROWS, KeyRun, LINE, SLOT_BYTES, SLOTS};

/// All rows that may have a hash, ascending.
fn candidates(run: &KeyRun, hash: u64) -> Result<Vec<u32>, ColumnError> {
    let mut rows = Vec::new();
    let none = run.find(hash, |row| {
        rows.push(row);
        Ok(false)
    })?;
    assert_eq!(none, None);
    rows.sort_unstable();
    Ok(rows)
}

/// Every row is found by its hash, once, and with a function that tells rows apart exactly the rows of a hash are.
fn check(hashes: &[u64]) {
    let run = KeyRun::of_hashes(hashes);
    assert_eq!(run.rows() as usize, hashes.len());
    let strangers = [0, 1, 1 << 32, u64::MAX];
    for hash in hashes.iter().chain(&strangers) {
        let mut found = candidates(&run, *hash).expect("it was just made");
        assert!(found.is_sorted_by(|row, next| row < next), "{found:?}");
        found.retain(|row| hashes[*row as usize] == *hash);
        let expected = (0..hashes.len() as u32).filter(|row| hashes[*row as usize] == *hash);
        assert_eq!(found, expected.collect::<Vec<_>>(), "hash {hash:x}");
        let last = found.last().copied();
        let one = run.find(*hash, |row| Ok(hashes[row as usize] == *hash && Some(row) == last));
        assert_eq!(one, Ok(last));
    }
}

/// Hashes of few homes, few fingerprints, or any.
fn hashes() -> impl Strategy<Value = Vec<u64>> {
    let few = (0..4_u64, 0..3_u64).prop_map(|(high, low)| high << 62 | low);
    let crowded = (0..3_u64, any::<u16>()).prop_map(|(high, low)| (u64::MAX - (high << 40)) << 16 | u64::from(low));
    let one = prop_oneof![any::<u64>(), few, crowded];
    prop::collection::vec(one, 0..300)
}

proptest! {
    #[test]
    fn every_row_is_found(hashes in hashes()) {
        check(&hashes);
    }
}

#[test]
fn full_lines_overflow_into_the_next() {
    for rows in [0, 1, HOME_ROWS, SLOTS - 1, SLOTS, SLOTS + 1, 2 * SLOTS, 20 * SLOTS] {
        check(&vec![7; rows]);
        check(&vec![u64::MAX; rows]);
        check(&(0..rows as u64).map(|row| row << 40 | 5).collect::<Vec<_>>());
    }
}

/// What one shard has of many lies in as few lines as anything else: its hashes have their high bits in common.
#[test]
fn documents_of_one_shard_are_found_in_a_line_or_two() {
    for shards in [1, 4, 64] {
        let ids = (0..).map(|number| format!("document-{number}"));
        let ids = ids.filter(|id| shard_of(id.as_bytes(), shards) == shards / 2).take(5_000);
        let hashes: Vec<u64> = ids.map(|id| super::hash(&id)).collect();
        let run = KeyRun::of_hashes(&hashes);
        let lines = |hash: u64| {
            let home = super::home(hash, run.homes, run.mixed);
            let full = |line: &usize| {
                let last = LINE * (2 + line) - size_of::<u32>() - SLOT_BYTES;
                run.bytes[last..last + SLOT_BYTES] != [0, 0]
            };
            1 + (home..).take_while(full).count()
        };
        let looked_at: usize = hashes.iter().map(|hash| lines(*hash)).sum();
        assert!(looked_at < 2 * hashes.len(), "{shards} shards: {looked_at} lines for {} rows", hashes.len());
    }
}

/// A run that was written when homes were by the unmixed hash.
#[test]
fn runs_of_before_are_read() {
    let mut bytes = KeyRun::of_hashes(&[HASH, 3 << 62, HASH]).bytes().to_vec();
    bytes[16] = 0;
    let run = KeyRun::open(bytes.into(), 3).expect("it is a run of before");
    assert_eq!(candidates(&run, HASH), Ok(vec![0, 2]));
    let (high, low) = (0xffff_ffff_0000_0001, 1);
    assert_eq!((super::home(high, 10, false), super::home(low, 10, false)), (9, 0));
}

/// The bytes of a run are frozen.
#[test]
fn the_format_is_what_it_was() {
    assert_eq!(super::hash("a document's _id"), HASH);
    let run = KeyRun::of_hashes(&[HASH, 3 << 62, HASH, 1 << 63 | 9]);
    let bytes = run.bytes();
    let mut head = [4_u32, 1, 1, 2, 1].map(u32::to_le_bytes).concat();
    head.resize(LINE, 0);
    assert_eq!(bytes[..LINE], head);
    let low = (HASH as u16).to_le_bytes();
    assert_eq!(bytes[LINE..][..10], [low[0], low[1], 1, 0, low[0], low[1], 9, 0, 0, 0]);
    assert_eq!(bytes[2 * LINE..], [0b1110_0100, 0, 0, 0, 0, 0, 0, 0, 0]);
}

const HASH: u64 = 0xd5d6_a5ad_3410_987e;

/// Bytes that the checksums do not see: an error, or rows of the segment; never a panic.
#[test]
fn runs_that_lie_never_panic() {
    let hashes: Vec<u64> = (0..200_u64).map(|row| row.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let bytes = KeyRun::of_hashes(&hashes).bytes().to_vec();
    let (mut good, mut bad) = (0, 0);
    let mut read = |bytes: Vec<u8>| {
        let Ok(run) = KeyRun::open(bytes.into(), hashes.len()) else {
            bad += 1;
            return;
        };
        for hash in &hashes {
            match candidates(&run, *hash) {
                Ok(rows) => good += usize::from(rows.iter().all(|row| (*row as usize) < hashes.len())),
                Err(_) => bad += 1,
            }
        }
    };
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            read(damaged);
        }
        read(bytes[..at].to_vec());
    }
    assert!(good > 1_000 && bad > 1_000, "{good} lookups were good, {bad} were not");
    assert!(KeyRun::open(Bytes::from(bytes), hashes.len() + 1).is_err(), "it is of another segment");
}
