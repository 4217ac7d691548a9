//! Codes made by the book, and codes that are none.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::zfits::payload::huffman_size;

/// Code lengths by symbol, by merging the two rarest again and again; a rarity of 2^n makes codes of any length.
fn lengths(counts: &BTreeMap<u16, u64>) -> BTreeMap<u16, u32> {
    let mut nodes: Vec<(u64, Vec<u16>)> = counts.iter().map(|(&symbol, &count)| (count, vec![symbol])).collect();
    let mut lengths: BTreeMap<u16, u32> = counts.keys().map(|&symbol| (symbol, 0)).collect();
    while nodes.len() > 1 {
        nodes.sort_by_key(|node| std::cmp::Reverse(node.0));
        let (a, b) = (nodes.pop().unwrap(), nodes.pop().unwrap());
        let merged = [a.1, b.1].concat();
        for symbol in &merged {
            *lengths.get_mut(symbol).unwrap() += 1;
        }
        nodes.push((a.0 + b.0, merged));
    }
    lengths
}

/// Codes of these lengths, the first bit lowest.
fn codes(lengths: &BTreeMap<u16, u32>) -> BTreeMap<u16, (u32, u64)> {
    let mut order: Vec<_> = lengths.iter().map(|(&symbol, &bits)| (bits, symbol)).collect();
    order.sort_unstable();
    let (mut next, mut before) = (0_u64, 0);
    let mut codes = BTreeMap::new();
    for (bits, symbol) in order {
        next <<= bits - before;
        before = bits;
        codes.insert(symbol, (bits, next.reverse_bits() >> (64 - bits)));
        next += 1;
    }
    codes
}

fn payload(values: &[u16], codes: &BTreeMap<u16, (u32, u64)>) -> Vec<u8> {
    let mut bytes = [(values.len() as u64).to_le_bytes(), (codes.len() as u64).to_le_bytes()].concat();
    for (symbol, (bits, code)) in codes {
        bytes.extend(symbol.to_le_bytes());
        bytes.push(u8::try_from(*bits).unwrap());
        bytes.extend(&code.to_le_bytes()[..bits.div_ceil(8) as usize]);
    }
    let stream: Vec<bool> =
        values.iter().flat_map(|value| (0..codes[value].0).map(|bit| codes[value].1 >> bit & 1 == 1)).collect();
    bytes.extend(stream.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit))));
    stated(&bytes)
}

/// A payload with the right length in front.
fn stated(rest: &[u8]) -> Vec<u8> {
    [&u32::try_from(rest.len()).unwrap().to_le_bytes(), rest].concat()
}

fn coded(values: &[u16], rarity: impl Fn(u16, u64) -> u64) -> Vec<u8> {
    let mut counts = BTreeMap::new();
    for &value in values {
        *counts.entry(value).or_insert(0_u64) += 1;
    }
    let counts = counts.into_iter().map(|(symbol, count)| (symbol, rarity(symbol, count))).collect();
    payload(values, &codes(&lengths(&counts)))
}

fn bytes(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn blocks_of_real_files() {
    // a column of seven zeros of 4 bytes
    let zeros = [0x12, 0, 0, 0, 0x0e, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(decode(&zeros), Ok(vec![0; 28]));
    // the identifier of a telescope, 1, as two halves of 16 bits and their difference
    let header = [0x19, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
    let codes = [0x01, 0x00, 0x01, 0x01, 0xff, 0xff, 0x01, 0x00, 0x01];
    assert_eq!(decode(&[&header[..], &codes].concat()), Ok(bytes(&[1, 0xffff])));
}

#[test]
fn one_symbol_and_none() {
    let one = [&5_u64.to_le_bytes()[..], &1_u64.to_le_bytes(), &[0x34, 0x12]].concat();
    assert_eq!(decode(&stated(&one)), Ok(bytes(&[0x1234; 5])));
    assert_eq!(decode(&stated(&[0; 16])), Ok(Vec::new()));
}

/// The padding may read as one more code: a count that is wrong by so little shows in the size alone, which is held against
/// the rows of the tile.
#[test]
fn padding_that_reads_as_a_code_is_believed_if_the_count_says_so() {
    let mut payload = coded(&[7, 8, 7], |_, count| count);
    assert_eq!(decode(&payload), Ok(bytes(&[7, 8, 7])));
    payload[4] += 1;
    let longer = decode(&payload).unwrap();
    assert_eq!((longer.len(), huffman_size(&payload, payload.len() as u64)), (8, Ok(8)));
}

#[test]
fn codes_of_every_length() {
    let values: Vec<u16> = (0..45).flat_map(|n| vec![n; 3]).collect();
    let payload = coded(&values, |symbol, _| 1 << symbol);
    assert_eq!(decode(&payload), Ok(bytes(&values)));
}

#[test]
fn what_is_no_code_says_why() {
    let code = |symbols: &[(u16, u8, u8)], values: u64, stream: &[u8]| {
        let mut bytes = [values.to_le_bytes(), (symbols.len() as u64).to_le_bytes()].concat();
        for (symbol, bits, code) in symbols {
            bytes.extend(symbol.to_le_bytes());
            bytes.extend([*bits, *code]);
        }
        bytes.extend(stream);
        decode(&stated(&bytes)).unwrap_err()
    };
    let good = [(1, 1, 0), (2, 1, 1)];
    for (found, said) in [
        (code(&[(1, 1, 0), (2, 1, 0)], 8, &[0]), "begins like another"),
        (code(&[(1, 1, 0), (2, 2, 2)], 8, &[0]), "begins like another"),
        (code(&[(1, 1, 0), (2, 2, 1)], 8, &[0]), "not complete"),
        (code(&[(1, 1, 0), (1, 1, 1)], 8, &[0]), "two codes"),
        (code(&[(1, 1, 0), (2, 1, 3)], 8, &[0]), "more than its 1 bits"),
        (code(&[(1, 0, 0), (2, 1, 1)], 8, &[0]), "a code of 0 bits"),
        (code(&good, 9, &[0]), "cannot be in 1 bytes"),
        (code(&good, 8, &[0, 0]), "8 bits follow"),
        (code(&good, 7, &[0x80]), "padding"),
        (decode(&[4, 0, 0, 0, 0]).unwrap_err(), "states 4 bytes, but 1 follow"),
    ] {
        assert!(found.contains(said), "{found} / {said}");
    }
}

proptest! {
    #[test]
    fn what_was_coded_comes_back(values in prop::collection::vec(prop_oneof![3 => 0_u16..4, 2 => 0_u16..300, 1 => any::<u16>()], 2..700)) {
        prop_assume!(values.iter().any(|value| *value != values[0]));
        prop_assert_eq!(decode(&coded(&values, |_, count| count)), Ok(bytes(&values)));
    }

    #[test]
    fn any_change_is_survived(values in prop::collection::vec(0_u16..40, 2..60), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        prop_assume!(values.iter().any(|value| *value != values[0]));
        let mut payload = coded(&values, |_, count| count);
        let at = at.index(payload.len());
        payload[at] = byte;
        if let Ok(decoded) = decode(&payload) {
            let stated = u64::from_le_bytes(*payload[4..].first_chunk().unwrap());
            prop_assert_eq!(decoded.len() as u64, 2 * stated);
        }
    }

    #[test]
    fn any_bytes_are_survived(rest in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&stated(&rest));
    }
}
