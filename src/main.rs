//! The `dl0-ingest` command.

fn main() {}
