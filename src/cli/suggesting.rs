//! Commands that are suggested can be typed as they stand: with the configuration file that this one was given.

use std::io::{self, Write};
use std::path::Path;

/// What is suggested, as it stands in the texts.
const COMMANDS: [&str; 13] = [
    "audit",
    "breaker",
    "check-config",
    "hold",
    "list",
    "rebuild",
    "release-hold",
    "retry",
    "run",
    "show",
    "status",
    "take-over",
    "why",
];

/// Passes lines on, with the configuration file in each command of ours.
pub(super) struct Suggesting<W> {
    out: W,
    /// `dl0-ingest list` and what it becomes; nothing where the file is the usual one.
    commands: Vec<(String, String)>,
    line: Vec<u8>,
}

impl<W: Write> Suggesting<W> {
    /// `config`: where it is not the usual one.
    pub(super) fn new(out: W, config: Option<&Path>) -> Self {
        let commands = config.map_or_else(Vec::new, |config| {
            let with_file = |command| {
                (format!("dl0-ingest {command}"), format!("dl0-ingest {command} --config {}", config.display()))
            };
            COMMANDS.into_iter().map(with_file).collect()
        });
        Self { out, commands, line: Vec::new() }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let Ok(text) = std::str::from_utf8(&line) else { return self.out.write_all(&line) };
        // JSON is for programs
        if text.starts_with('{') || !text.contains("dl0-ingest ") {
            return self.out.write_all(&line);
        }
        let mut text = text.to_owned();
        for (command, with_file) in &self.commands {
            // 'hold' begins no 'hold-on', and what has its file is left alone
            let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '-');
            let mut done = String::with_capacity(text.len());
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once(command.as_str()) {
                let is_it = ends(after) && !after.starts_with(" --config");
                done.push_str(before);
                done.push_str(if is_it { with_file } else { command });
                rest = after;
            }
            done.push_str(rest);
            text = done;
        }
        self.out.write_all(text.as_bytes())
    }
}

impl<W: Write> Write for Suggesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.commands.is_empty() {
            return self.out.write(bytes);
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.pass_on()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(config: Option<&str>, text: &str) -> String {
        let mut out = Vec::new();
        let mut suggesting = Suggesting::new(&mut out, config.map(Path::new));
        for part in text.as_bytes().chunks(5) {
            suggesting.write_all(part).unwrap();
        }
        suggesting.flush().unwrap();
        drop(suggesting);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_suggested_command_has_the_configuration_it_needs() {
        let text = "see 'dl0-ingest release-hold --all' and dl0-ingest hold; dl0-ingest holds nothing\nlast";
        let with = "see 'dl0-ingest release-hold --config /c --all' and dl0-ingest hold --config /c; dl0-ingest holds \
                    nothing\nlast";
        assert_eq!(said(Some("/c"), text), with);
        assert_eq!(said(None, text), text);
        for left in ["dl0-ingest status --config /x", "{\"say\": \"dl0-ingest status\"}", "dl0-ingest hold-on"] {
            assert_eq!(said(Some("/c"), left), left);
        }
    }
}
