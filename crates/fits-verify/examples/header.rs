//! Prints the cards of every header of a file: `header FILE`.

use std::io;

use fits_verify::{Content, Header, Walker};

fn main() -> io::Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| io::Error::other("usage: header FILE"))?;
    let bytes = std::fs::read(path)?;
    let mut walker = Walker::new().checksums_only();
    walker.feed(&bytes);
    for hdu in walker.finish().hdus {
        println!("{}", hdu.place());
        let at = |offset| usize::try_from(offset).map_err(io::Error::other);
        let raw = &bytes[at(hdu.header_offset)?..at(hdu.data_offset)?];
        for card in Header::parse(raw, hdu.header_offset).cards() {
            match &card.content {
                Content::Value(value) => println!("  byte {:>8}  {} = {value:?}", card.offset, card.keyword),
                Content::Text(text) => println!("  byte {:>8}  {} {text}", card.offset, card.keyword),
                Content::Invalid(fault) => println!("  byte {:>8}  {} {fault}", card.offset, card.keyword),
            }
        }
    }
    Ok(())
}
