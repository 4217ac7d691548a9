//! What is printed and logged holds names that a hostile producer may have chosen: control characters do not reach a
//! terminal, and no name makes a line of its own.

use std::fmt::Write as _;
use std::io::{self, Write};

/// Passes text on, with control characters written out as JSON does (`\u001b`); line feeds and tabs are the program's own.
pub(crate) struct Printable<W>(pub(crate) W);

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // in one piece, or the lines of two threads would mix
        if bytes.iter().any(|&byte| is_suspicious(byte)) {
            self.0.write_all(written_out(&String::from_utf8_lossy(bytes)).as_bytes())?;
        } else {
            self.0.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A control character, or the first byte of one beyond ASCII (U+0080 to U+009F).
fn is_suspicious(byte: u8) -> bool {
    (byte.is_ascii_control() && !matches!(byte, b'\n' | b'\t')) || byte == 0xc2
}

/// The text with its control characters written out, line feeds and tabs excepted.
pub(crate) fn written_out(text: &str) -> String {
    without(text, |character| character.is_control() && !matches!(character, '\n' | '\t'))
}

/// A name from outside with all its control characters written out.
pub(crate) fn one_line(name: &str) -> String {
    without(name, char::is_control)
}

fn without(text: &str, unwanted: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if unwanted(character) {
            // all of them are below U+0100: four digits are enough, and what was JSON stays JSON
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out_and_nothing_else_changes() {
        let through = |text: &str| {
            let mut out = Printable(Vec::new());
            write!(out, "{text}").unwrap();
            String::from_utf8(out.0).unwrap()
        };
        assert_eq!(through("a\x1b[2Jb\r\u{9b}31m\x7f"), r"a\u001b[2Jb\u000d\u009b31m\u007f");
        for plain in ["", "3 files\n\tPIC: 12 µs ± 1, Teneriffa, 日本", "\u{a0}é"] {
            assert_eq!(through(plain), plain);
        }
        assert_eq!(one_line("a\nb\tc\r日本"), r"a\u000ab\u0009c\u000d日本");
    }
}
