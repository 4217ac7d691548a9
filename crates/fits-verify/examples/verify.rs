//! Verifies files: `verify [--decode] FILE…`. Exit code 1 if one of them must not be accepted.

use std::fs::File;
use std::io::{self, Read as _};
use std::process::ExitCode;
use std::sync::mpsc;

use fits_verify::zfits::DecodeFindings;
use fits_verify::{Checksum, Walk, Walker};

/// Reads a file once, block by block.
fn walk(path: &str, decode: bool) -> io::Result<Walk> {
    let mut file = File::open(path)?;
    let (send, undecoded) = mpsc::channel();
    let mut walker = Walker::new();
    if decode {
        // here in turn; blocks can as well be handed to other threads
        walker = walker.reading_cells().giving_blocks(move |block| {
            if let Err(error) = block.check() {
                drop(send.send((block, error)));
            }
        });
    }
    let mut findings = DecodeFindings::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let filled = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if filled == 0 {
            break;
        }
        walker.feed(&buffer[..filled]);
        for (block, error) in undecoded.try_iter() {
            findings.note(&block, &error);
        }
    }
    let mut walk = walker.finish();
    findings.append_to(&mut walk);
    Ok(walk)
}

fn word(checksum: Checksum) -> &'static str {
    match checksum {
        Checksum::Ok => "right",
        Checksum::Bad => "WRONG",
        Checksum::Absent => "absent",
    }
}

fn main() -> io::Result<ExitCode> {
    let (options, paths): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|word| word == "--decode");
    let mut sound = true;
    for path in &paths {
        let walk = walk(path, !options.is_empty())?;
        println!("{path}: {}", if walk.problems.is_empty() { "sound" } else { "NOT SOUND" });
        for hdu in &walk.hdus {
            let (checksum, datasum) = (word(hdu.checksum), word(hdu.datasum));
            println!("  {}: {} bytes, CHECKSUM {checksum}, DATASUM {datasum}", hdu.place(), hdu.layout.data_bytes);
        }
        for problem in &walk.problems {
            println!("  problem {}: {problem}; {}", problem.code, problem.remedy);
        }
        for warning in &walk.warnings {
            println!("  warning {}: {warning}; {}", warning.code, warning.remedy);
        }
        sound &= walk.problems.is_empty();
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
