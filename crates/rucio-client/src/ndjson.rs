//! One JSON value a line (`application/x-json-stream`), parsed while it arrives.

use serde::de::DeserializeOwned;

/// Longest line taken; a listing of one file with a dozen replicas has about 4 kB.
pub(crate) const LINE_MAX: usize = 1024 * 1024;

/// What is wrong with a stream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamError {
    /// A line without end.
    #[error("line {line} is longer than {LINE_MAX} bytes")]
    LineTooLong { line: u64 },
    /// A line that is not what was asked for; also what a cut connection leaves.
    #[error("line {line} cannot be understood: {reason}")]
    Line { line: u64, reason: String },
}

/// Cuts arriving chunks into lines and parses each as soon as it is complete. Holds at most one line.
#[derive(Debug, Default)]
pub(crate) struct LineParser {
    begun: Vec<u8>,
    lines: u64,
}

impl LineParser {
    /// Takes the next chunk and appends what its complete lines say.
    pub(crate) fn push<T: DeserializeOwned>(
        &mut self,
        mut chunk: &[u8],
        items: &mut Vec<T>,
    ) -> Result<(), StreamError> {
        while let Some(end) = chunk.iter().position(|&byte| byte == b'\n') {
            let (head, rest) = chunk.split_at(end);
            if self.begun.is_empty() {
                self.parse(head, items)?;
            } else {
                self.keep(head)?;
                let line = std::mem::take(&mut self.begun);
                self.parse(&line, items)?;
            }
            chunk = &rest[1..];
        }
        self.keep(chunk)
    }

    /// Takes the last line, which may lack its newline.
    pub(crate) fn finish<T: DeserializeOwned>(mut self, items: &mut Vec<T>) -> Result<(), StreamError> {
        let line = std::mem::take(&mut self.begun);
        self.parse(&line, items)
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), StreamError> {
        if self.begun.len() + part.len() > LINE_MAX {
            return Err(StreamError::LineTooLong { line: self.lines + 1 });
        }
        self.begun.extend_from_slice(part);
        Ok(())
    }

    fn parse<T: DeserializeOwned>(&mut self, line: &[u8], items: &mut Vec<T>) -> Result<(), StreamError> {
        self.lines += 1;
        if line.len() > LINE_MAX {
            return Err(StreamError::LineTooLong { line: self.lines });
        }
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let item = serde_json::from_slice(line)
            .map_err(|error| StreamError::Line { line: self.lines, reason: error.to_string() })?;
        items.push(item);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn parse(chunks: &[&[u8]]) -> Result<Vec<Value>, StreamError> {
        let (mut parser, mut items) = (LineParser::default(), Vec::new());
        for chunk in chunks {
            parser.push(chunk, &mut items)?;
        }
        parser.finish(&mut items)?;
        Ok(items)
    }

    proptest! {
        #[test]
        fn the_cuts_between_chunks_do_not_matter(
            names in prop::collection::vec(".{0,20}", 0..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            last_newline: bool,
        ) {
            let values: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
            let mut text = values.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
            if last_newline {
                text.push('\n');
            }
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            places.extend([0, text.len()]);
            places.sort_unstable();
            let chunks: Vec<&[u8]> = places.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]).collect();
            prop_assert_eq!(parse(&chunks).unwrap(), values);
        }
    }

    #[test]
    fn an_empty_answer_is_an_empty_list() {
        assert_eq!(parse(&[]), Ok(vec![]));
        assert_eq!(parse(&[b"", b"\n", b"\r\n"]), Ok(vec![]));
    }

    #[test]
    fn a_cut_line_is_an_error_that_names_the_line() {
        let error = parse(&[b"{\"a\":1}\n{\"a\"", b":"]).unwrap_err();
        assert!(matches!(error, StreamError::Line { line: 2, .. }), "{error}");
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let blanks = vec![b' '; LINE_MAX];
        assert_eq!(parse(&[&blanks, b" "]), Err(StreamError::LineTooLong { line: 1 }));
        assert_eq!(parse(&[&blanks, &blanks, b"\n"]), Err(StreamError::LineTooLong { line: 1 }));
        let mut whole = vec![b' '; LINE_MAX + 1];
        whole.push(b'\n');
        assert_eq!(parse(&[&whole]), Err(StreamError::LineTooLong { line: 1 }));
    }
}
