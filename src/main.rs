//! The `dl0-ingest` command.

fn main() -> std::process::ExitCode {
    dl0_ingest::cli::main()
}
