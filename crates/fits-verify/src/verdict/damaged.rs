//! Keywords on which data rest, written so that a reader misses them: it would see other data, or none, and not know
//! (section 4.1.2.1).

use super::judge::Judge;
use super::structural::{Rests, is_plain, spelled_out};
use crate::card::{Card, Content};
use crate::header::END;
use crate::sizes::CARD;

impl Judge<'_> {
    /// What is wrong with the keyword of a card, if readers would miss something on which data rest.
    pub(super) fn missed(&self, card: &Card) -> Option<String> {
        let (raw, name) = (self.raw_card(card), self.name(card));
        if let Some(what) = nearly_end(raw) {
            return Some(what);
        }
        if let Some(Rests::Data | Rests::Coordinates) = self.shape.rests_on(name) {
            let silent = matches!(card.content, Content::Text(_)) && self.is_free(name, true);
            return silent.then(|| "has no '= ' in columns 9 and 10, so readers find no value".to_owned());
        }
        // text has no keyword that could be missed
        if !raw[..10].contains(&b'=') || matches!(card.keyword.as_str(), "COMMENT" | "HISTORY" | "HIERARCH") {
            return None;
        }
        let (written, meant) = (name.trim_ascii_end().escape_ascii(), spelled_out(name));
        if meant != name && self.shape.rests_on(meant).is_some() && self.is_free(meant, false) {
            let meant = meant.trim_ascii_end().escape_ascii();
            return Some(format!("is written \"{written}\"; readers that look for {meant} do not find it"));
        }
        // a header with its sum needs no guess: the sum shows every damage
        if self.names().summed() {
            return None;
        }
        let meant = self.shape.damaged(name, |name| self.is_free(name, false))?;
        let meant = meant.trim_ascii_end().escape_ascii();
        Some(format!("is written \"{written}\", one damaged byte away from {meant}, which the header does not have"))
    }

    /// Whether no card has this very keyword; with `valued`, none with a value.
    fn is_free(&self, name: [u8; 8], valued: bool) -> bool {
        !self.names().has(name, valued)
    }
}

/// The end of a header that is taken for one more card, and what follows for its cards.
fn nearly_end(raw: &[u8; CARD]) -> Option<String> {
    let (name, rest) = raw.split_at(END.len());
    let plain = is_plain(name);
    let off = |(a, b): (&u8, &u8)| if plain { (a ^ b).count_ones() } else { u32::from(a != b) };
    let near = name.iter().zip(END).map(off).sum::<u32>() == 1 || name.eq_ignore_ascii_case(END);
    let what = || format!("is written \"{}\", one damaged byte away from END", name.trim_ascii_end().escape_ascii());
    (near && rest.iter().all(|&byte| byte == b' ')).then(what)
}
