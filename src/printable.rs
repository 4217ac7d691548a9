//! What is printed and logged holds names that a hostile producer may have chosen: what a terminal obeys or hides does not
//! reach it, and no name makes a line of its own.

use std::fmt::Write as _;
use std::io::{self, Write};

/// Passes text on, with what is not seen written out as JSON does (`\u001b`); line feeds and tabs are the program's own.
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

/// A control character, or a byte of a character beyond ASCII, among which there are more of the kind.
fn is_suspicious(byte: u8) -> bool {
    (byte.is_ascii_control() && !matches!(byte, b'\n' | b'\t')) || !byte.is_ascii()
}

/// The text with what is not seen written out, line feeds and tabs excepted.
pub(crate) fn written_out(text: &str) -> String {
    without(text, |character| is_unseen(character) && !matches!(character, '\n' | '\t'))
}

/// A name from outside with all that is not seen written out.
pub(crate) fn one_line(name: &str) -> String {
    without(name, is_unseen)
}

/// What a terminal obeys instead of showing it, or shows as nothing: control characters, the direction of text, blanks of
/// no width, ends of lines and paragraphs, fillers, tags and selectors of variants.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn without(text: &str, unwanted: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if unwanted(character) {
            // in units of 16 bits, of which four digits are enough: what was JSON stays JSON
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
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

    #[test]
    fn what_turns_text_round_or_hides_is_written_out() {
        assert_eq!(one_line("gpj\u{202e}.fits"), r"gpj\u202e.fits");
        let hidden = "\u{61c}\u{200b}\u{200d}\u{200e}\u{200f}\u{2028}\u{202a}\u{2066}\u{2069}\u{2060}\u{feff}\u{ad}\u{85}\u{e0041}";
        let written = written_out(hidden);
        assert!(written.is_ascii() && written.ends_with(r"\udb40\udc41"), "{written}");
        // and what was JSON stays JSON with the same meaning
        let json = serde_json::to_string(hidden).unwrap();
        let mut out = Printable(Vec::new());
        write!(out, "{json}").unwrap();
        assert!(out.0.is_ascii());
        assert_eq!(serde_json::from_slice::<String>(&out.0).unwrap(), hidden);
    }
}
