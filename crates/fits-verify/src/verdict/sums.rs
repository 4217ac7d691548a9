//! CHECKSUM and DATASUM of an HDU held against the bytes that went by (section 4.4.2.7).

use crate::card::{Card, Content, Value};
use crate::hdu::{Checksum, Hdu};
use crate::header::Header;
use crate::problem::{Problem, Remedy};
use crate::sum::{Sum, same};
use crate::walk::Walk;

/// What a writer puts into CHECKSUM until it knows the sum (appendix J).
const CHECKSUM_PLACEHOLDER: &str = "0000000000000000";

/// The sums of the bytes of an HDU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sums {
    /// Of header and data unit together.
    total: u32,
    /// Of the data unit alone.
    data: u32,
}

impl Sums {
    /// Of the bytes of a header and of the data unit behind it.
    pub(crate) fn of(header: &Sum, data: &Sum) -> Self {
        Self { total: header.followed_by(data).value(), data: data.value() }
    }
}

/// What a checksum keyword holds.
#[derive(Clone, Copy)]
enum Stated<'a> {
    /// There is no such keyword.
    Absent,
    /// There, but blank: undefined.
    Blank,
    Sum(&'a str),
    /// A number, where the standard wants a string.
    Number(i128),
    /// Neither.
    Other,
}

impl<'a> Stated<'a> {
    fn by(card: Option<&'a Card>) -> Self {
        match card.map(|card| &card.content) {
            None => Self::Absent,
            Some(Content::Value(Value::Undefined)) => Self::Blank,
            Some(Content::Value(Value::Text(text))) if text.trim().is_empty() => Self::Blank,
            Some(Content::Value(Value::Text(text))) => Self::Sum(text.trim()),
            Some(Content::Value(Value::Integer(number))) => Self::Number(*number),
            Some(_) => Self::Other,
        }
    }

    /// The number in a DATASUM.
    fn number(self) -> Option<u32> {
        match self {
            Self::Sum(text) => text.parse().ok(),
            Self::Number(number) => u32::try_from(number).ok(),
            _ => None,
        }
    }
}

/// Sets the states of the two checksums, and notes what is wrong with them. In an HDU that was cut short only the states
/// are set: the cut is the reason, wrong sums are its consequence.
pub(crate) fn check(hdu: &mut Hdu, header: &Header, sums: Sums, complete: bool, walk: &mut Walk) {
    let (checksum, datasum) = (header.get("CHECKSUM"), header.get("DATASUM"));
    // what is blank is undefined: nobody has said what the sum is
    hdu.checksum = match checksum {
        None => Checksum::Absent,
        Some(_) if matches!(Stated::by(checksum), Stated::Blank) => Checksum::Absent,
        Some(_) if same(sums.total, 0) => Checksum::Ok,
        Some(_) => Checksum::Bad,
    };
    hdu.datasum = match (datasum, Stated::by(datasum).number()) {
        (None, _) => Checksum::Absent,
        _ if matches!(Stated::by(datasum), Stated::Blank) => Checksum::Absent,
        (Some(_), Some(stated)) if same(stated, sums.data) => Checksum::Ok,
        (Some(_), _) => Checksum::Bad,
    };
    if !complete {
        return;
    }
    let unfinished = hdu.checksum == Checksum::Bad && matches!(Stated::by(checksum), Stated::Sum(CHECKSUM_PLACEHOLDER));
    let about = About { hdu, sums, unfinished };
    for (sum, card) in [("CHECKSUM", checksum), ("DATASUM", datasum)] {
        // the sums of what a table holds compressed (section 10.1.2) come in pairs
        let other = |card: &Card| card.keyword == "ZHECKSUM" && header.get("ZDATASUM").is_some();
        let nearly = |card: &&Card| nearly(&card.keyword, sum) && !other(card);
        // where there is CHECKSUM, it shows that DATASUM is damaged
        if card.is_none()
            && checksum.is_none()
            && let Some(card) = header.cards().iter().find(nearly)
        {
            let what = format!("a keyword that differs from {sum} in one byte, and there is no {sum}");
            walk.problems.push(about.problem("checksum-damaged", Some(card), what, Remedy::Redeliver));
        }
    }
    about.checksum(checksum, walk);
    about.datasum(datasum, walk);
}

/// An HDU whose checksum states are known.
struct About<'a> {
    hdu: &'a Hdu,
    sums: Sums,
    /// CHECKSUM still has its placeholder, so nothing of the HDU is final.
    unfinished: bool,
}

impl About<'_> {
    fn problem(&self, code: &'static str, card: Option<&Card>, what: String, remedy: Remedy) -> Problem {
        let offset = card.map_or(self.hdu.header_offset, |card| card.offset);
        let problem = Problem::new(code, what, remedy).in_hdu(self.hdu.place()).at(offset);
        if let Some(card) = card { problem.of(card.keyword.clone()) } else { problem }
    }

    fn undefined(&self, card: Option<&Card>, walk: &mut Walk) {
        let what = "is blank, that is undefined: whether the HDU is as it was written cannot be known".to_owned();
        walk.warnings.push(self.problem("checksum-undefined", card, what, Remedy::TellWriter));
    }

    fn checksum(&self, card: Option<&Card>, walk: &mut Walk) {
        let (code, what, remedy) = match (self.hdu.checksum, Stated::by(card)) {
            (Checksum::Ok, _) => return,
            (_, Stated::Blank) => return self.undefined(card, walk),
            (Checksum::Absent, _) => {
                let what = "no CHECKSUM: whether the HDU is as it was written cannot be known".to_owned();
                walk.warnings.push(self.problem("checksum-absent", None, what, Remedy::TellWriter));
                return;
            }
            (Checksum::Bad, _) if self.unfinished => {
                ("unfinished-writer", "still holds the placeholder of zeros".to_owned(), Remedy::AwaitWriter)
            }
            (Checksum::Bad, _) => {
                let total = self.sums.total;
                let what = format!(
                    "header and data sum to 0x{total:08x} and not to all ones: the HDU is not as it was written"
                );
                ("checksum-mismatch", what, Remedy::Redeliver)
            }
        };
        walk.problems.push(self.problem(code, card, what, remedy));
    }

    fn datasum(&self, card: Option<&Card>, walk: &mut Walk) {
        let computed = self.sums.data;
        let (code, what, remedy) = match (self.hdu.datasum, Stated::by(card)) {
            (Checksum::Ok, Stated::Number(_)) => {
                let what = "is a number and not a string with one".to_owned();
                walk.warnings.push(self.problem("reserved-value", card, what, Remedy::TellWriter).by("4.4.2.7"));
                return;
            }
            (Checksum::Ok, _) => return,
            (_, Stated::Blank) => return self.undefined(card, walk),
            (Checksum::Absent, _) => {
                if self.hdu.checksum != Checksum::Absent {
                    let what = "no DATASUM beside CHECKSUM".to_owned();
                    walk.warnings.push(self.problem("datasum-absent", None, what, Remedy::TellWriter));
                }
                return;
            }
            (Checksum::Bad, _) if self.unfinished => return,
            (Checksum::Bad, Stated::Sum(text)) if text.parse() == Ok(0_u32) && self.hdu.checksum != Checksum::Ok => {
                let bytes = self.hdu.layout.data_bytes;
                let what = format!("still holds the placeholder {text:?}, but there are {bytes} bytes of data");
                ("unfinished-writer", what, Remedy::AwaitWriter)
            }
            (Checksum::Bad, Stated::Sum(text)) => {
                ("datasum-mismatch", format!("says {text}, but the data sum to {computed}"), Remedy::Redeliver)
            }
            (Checksum::Bad, Stated::Number(_) | Stated::Other | Stated::Absent) => {
                let what = format!("is not a string with their sum; the data sum to {computed}");
                ("datasum-mismatch", what, Remedy::Redeliver)
            }
        };
        walk.problems.push(self.problem(code, card, what, remedy));
    }
}

/// Whether one damaged byte made this keyword of that of a sum. A damage anywhere else in the header breaks the sum; this
/// one would take away the sum itself.
fn nearly(keyword: &str, sum: &str) -> bool {
    let padded = |name: &str| name.chars().chain([' '; 8]).take(8).collect::<Vec<_>>();
    let wrong = padded(keyword).iter().zip(padded(sum)).filter(|(a, b)| **a != *b).count();
    wrong == 1 && keyword.chars().count() <= 8
}
