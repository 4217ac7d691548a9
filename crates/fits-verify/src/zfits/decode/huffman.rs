//! huffman16: a code table and a stream of codes, the lowest bit first.
//!
//! ```text
//! u32  length of what follows
//! u64  values
//! u64  symbols
//!      symbols × (u16 symbol, u8 bits, ⌈bits / 8⌉ bytes of code), or one u16 alone where there is one symbol
//!      the codes of all values, padded with zero bits to a byte
//! ```

/// Bits of a code that one look into the table decides. Longer codes are rare: they go on from there bit by bit.
const LOOK: u32 = 11;
/// Longest code. A tree that deep would take more values than a block has bytes.
const BITS_MAX: u32 = 56;

/// What the next bits mean: nothing yet, a symbol and the length of its code, or a node where long codes go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Meaning {
    #[default]
    Free,
    Symbol {
        symbol: u16,
        bits: u8,
    },
    Node(u32),
}

/// A prefix code.
struct Code {
    look: Vec<Meaning>,
    nodes: Vec<[Meaning; 2]>,
}

/// Decodes a payload into 16-bit little-endian values.
///
/// # Errors
/// What is wrong with it.
pub(super) fn decode(payload: &[u8]) -> Result<Vec<u8>, String> {
    let mut input = Input(payload);
    let length = input.number(4)?;
    if length != input.0.len() as u64 {
        return Err(format!("huffman16 states {length} bytes, but {} follow", input.0.len()));
    }
    let (values, symbols) = (input.number(8)?, input.number(8)?);
    if symbols == 0 && values == 0 && input.0.is_empty() {
        return Ok(Vec::new());
    }
    let count = usize::try_from(values).map_err(|error| error.to_string())?;
    if symbols == 1 {
        let [low, high] = *input.take::<2>()?;
        if !input.0.is_empty() {
            return Err(format!("{} bytes follow the only symbol", input.0.len()));
        }
        return Ok([low, high].repeat(count));
    }
    let code = Code::read(&mut input, symbols)?;
    if values > 8 * input.0.len() as u64 {
        return Err(format!("{values} values cannot be in {} bytes of codes", input.0.len()));
    }
    code.decode(input.0, count)
}

impl Code {
    fn read(input: &mut Input<'_>, symbols: u64) -> Result<Self, String> {
        if !(2..=1 << 16).contains(&symbols) {
            return Err(format!("{symbols} different symbols of 16 bits"));
        }
        let mut code = Self { look: vec![Meaning::Free; 1 << LOOK], nodes: Vec::new() };
        let mut seen = vec![false; 1 << 16];
        // all codes together, in units of the smallest
        let mut share = 0_u64;
        for _ in 0..symbols {
            let symbol = u16::from_le_bytes(*input.take::<2>()?);
            let [bits] = *input.take::<1>()?;
            let length = u32::from(bits);
            if !(1..=BITS_MAX).contains(&length) {
                return Err(format!("symbol 0x{symbol:04x} has a code of {bits} bits"));
            }
            let value = input.number(usize::from(bits).div_ceil(8))?;
            if value >> length != 0 {
                return Err(format!("the code of symbol 0x{symbol:04x} has more than its {bits} bits"));
            }
            if std::mem::replace(&mut seen[usize::from(symbol)], true) {
                return Err(format!("symbol 0x{symbol:04x} has two codes"));
            }
            let meaning = Meaning::Symbol { symbol, bits };
            code.insert(value, length, meaning)
                .ok_or_else(|| format!("the code of symbol 0x{symbol:04x} begins like another"))?;
            // no overflow: codes that do not begin alike share one whole
            share += 1 << (BITS_MAX - length);
        }
        if share == 1 << BITS_MAX {
            Ok(code)
        } else {
            Err("the code is not complete: some bits mean nothing".to_owned())
        }
    }

    /// Adds a code; `None` if it begins like another one.
    fn insert(&mut self, value: u64, bits: u32, meaning: Meaning) -> Option<()> {
        let low = usize::try_from(value & ((1 << LOOK) - 1)).ok()?;
        if bits <= LOOK {
            for slot in self.look.iter_mut().skip(low).step_by(1 << bits) {
                if *slot != Meaning::Free {
                    return None;
                }
                *slot = meaning;
            }
            return Some(());
        }
        let mut node = self.node(low, None)?;
        for bit in LOOK..bits - 1 {
            node = self.node(node, Some(usize::from(value >> bit & 1 == 1)))?;
        }
        let last = &mut self.nodes[node][usize::from(value >> (bits - 1) & 1 == 1)];
        if *last != Meaning::Free {
            return None;
        }
        *last = meaning;
        Some(())
    }

    /// The node behind an entry of the table (`bit` is `None`) or behind a bit of another node, made if there is none.
    fn node(&mut self, at: usize, bit: Option<usize>) -> Option<usize> {
        let new = u32::try_from(self.nodes.len()).ok()?;
        let entry = match bit {
            None => &mut self.look[at],
            Some(bit) => &mut self.nodes[at][bit],
        };
        match *entry {
            Meaning::Node(node) => usize::try_from(node).ok(),
            Meaning::Symbol { .. } => None,
            Meaning::Free => {
                *entry = Meaning::Node(new);
                self.nodes.push([Meaning::Free; 2]);
                usize::try_from(new).ok()
            }
        }
    }

    fn decode(&self, codes: &[u8], count: usize) -> Result<Vec<u8>, String> {
        let mut values: Vec<[u8; 2]> = Vec::with_capacity(count);
        let mut stream = Stream { rest: codes, bits: 0, filled: 0 };
        let short = |values: &[_]| format!("the codes end after {} of {count} values", values.len());
        while values.len() < count {
            stream.fill();
            // as many as surely are in the register
            let sure = (stream.filled / LOOK).max(1).min(u32::try_from(count - values.len()).unwrap_or(u32::MAX));
            for _ in 0..sure {
                let (symbol, bits) = match self.look[stream.peek()] {
                    Meaning::Symbol { symbol, bits } => (symbol, u32::from(bits)),
                    Meaning::Free => return Err(short(&values)),
                    Meaning::Node(node) => {
                        stream.fill();
                        self.long(node, stream.bits).ok_or_else(|| short(&values))?
                    }
                };
                if !stream.skip(bits) {
                    return Err(short(&values));
                }
                values.push(symbol.to_le_bytes());
                if bits > LOOK {
                    break;
                }
            }
        }
        match u64::from(stream.filled) + 8 * stream.rest.len() as u64 {
            0..8 if stream.bits == 0 => Ok(values.into_flattened()),
            0..8 => Err(format!("the padding after the last of {count} values is not all zeros")),
            left => Err(format!("{left} bits follow the last of {count} values")),
        }
    }

    /// The symbol of a code longer than [`LOOK`] bits.
    fn long(&self, mut node: u32, bits: u64) -> Option<(u16, u32)> {
        for bit in LOOK..=BITS_MAX {
            match self.nodes[usize::try_from(node).ok()?][usize::from(bits >> bit & 1 == 1)] {
                Meaning::Symbol { symbol, bits } => return Some((symbol, u32::from(bits))),
                Meaning::Node(next) => node = next,
                Meaning::Free => return None,
            }
        }
        None
    }
}

/// A stream of bits, the lowest of each byte first.
struct Stream<'a> {
    rest: &'a [u8],
    /// The next bits, the first one lowest; zeros beyond `filled`.
    bits: u64,
    filled: u32,
}

impl Stream<'_> {
    /// Fills the register up to more than 56 bits, or with all that is left.
    fn fill(&mut self) {
        if let Some(next) = self.rest.first_chunk::<8>() {
            let bytes = (63 - self.filled) / 8;
            let fresh = u64::from_le_bytes(*next) & ((1 << (8 * bytes)) - 1);
            self.bits |= fresh << self.filled;
            self.filled += 8 * bytes;
            self.rest = &self.rest[bytes as usize..];
            return;
        }
        while let (Some((&byte, rest)), 0..=55) = (self.rest.split_first(), self.filled) {
            self.bits |= u64::from(byte) << self.filled;
            self.filled += 8;
            self.rest = rest;
        }
    }

    fn peek(&self) -> usize {
        usize::try_from(self.bits & ((1 << LOOK) - 1)).unwrap_or_default()
    }

    /// Goes on by a code; `false` if it is not all there.
    fn skip(&mut self, bits: u32) -> bool {
        self.bits >>= bits;
        match self.filled.checked_sub(bits) {
            Some(filled) => {
                self.filled = filled;
                true
            }
            None => false,
        }
    }
}

/// The fields before the codes.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], String> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or("the payload ends inside the table of codes")?;
        self.0 = rest;
        Ok(taken)
    }

    /// A little-endian number of up to 8 bytes.
    fn number(&mut self, bytes: usize) -> Result<u64, String> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or("the payload ends inside the table of codes")?;
        self.0 = rest;
        Ok(taken.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }
}

#[cfg(test)]
mod tests;
