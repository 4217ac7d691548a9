//! A header: the cards up to END, with long strings put together (section 4.1 and 4.2.1.2).

use crate::card::{Card, Content, Value};
use crate::sizes::CARD;

/// The cards of one HDU, END and padding not included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    cards: Vec<Card>,
}

impl Header {
    /// Reads the cards of a header whose first byte lies at `offset` of the file.
    pub fn parse(raw: &[u8], offset: u64) -> Self {
        let mut header = Self::default();
        let (cards, _) = raw.as_chunks::<CARD>();
        for (raw, position) in cards.iter().zip((offset..).step_by(CARD)) {
            let card = Card::parse(raw, position);
            if is_end(raw) {
                break;
            }
            header.push(card);
        }
        header
    }

    /// Adds a card; a CONTINUE card is joined to the string before it if that one asks for it with a final `&`.
    fn push(&mut self, card: Card) {
        if card.keyword == "CONTINUE"
            && let Some(Value::Text(more)) = card.value()
            && let Some(last) = self.cards.last_mut()
            && let Content::Value(Value::Text(text)) = &mut last.content
            && text.ends_with('&')
        {
            text.pop();
            text.push_str(more);
            last.non_ascii = last.non_ascii.or(card.non_ascii);
            last.control = last.control.or(card.control);
            return;
        }
        self.cards.push(card);
    }

    /// All cards in order.
    pub fn cards(&self) -> &[Card] {
        &self.cards
    }

    /// The first card with this keyword.
    pub fn get(&self, keyword: &str) -> Option<&Card> {
        self.cards.iter().find(|card| card.keyword == keyword)
    }

    /// The string value of a keyword.
    pub fn text(&self, keyword: &str) -> Option<&str> {
        match self.get(keyword)?.value()? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer value of a keyword.
    pub(crate) fn integer(&self, keyword: &str) -> Option<i128> {
        match self.get(keyword)?.value()? {
            Value::Integer(integer) => Some(*integer),
            _ => None,
        }
    }

    /// The logical value of a keyword.
    pub fn logical(&self, keyword: &str) -> Option<bool> {
        match self.get(keyword)?.value()? {
            Value::Logical(logical) => Some(*logical),
            _ => None,
        }
    }
}

/// The keyword of the last card.
pub(crate) const END: &[u8] = b"END     ";

/// Whether a card is END.
pub(crate) fn is_end(raw: &[u8; CARD]) -> bool {
    raw.starts_with(END)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cards: &[&str]) -> Header {
        let mut raw = Vec::new();
        for card in cards {
            raw.extend_from_slice(format!("{card:80}").as_bytes());
        }
        Header::parse(&raw, 2880)
    }

    #[test]
    fn continued_strings_are_joined() {
        let header =
            header(&["TITLE   = 'first &'", "CONTINUE  'second&'", "CONTINUE  '' / end", "NEXT    = 1", "END"]);
        assert_eq!(header.text("TITLE"), Some("first second"));
        assert_eq!(header.get("NEXT").map(|card| card.offset), Some(2880 + 240));
    }

    #[test]
    fn an_ampersand_without_continuation_stays() {
        let header = header(&["TITLE   = 'amp&'", "NEXT    = 1", "END", "AFTER   = 1"]);
        assert_eq!(header.text("TITLE"), Some("amp&"));
        assert_eq!(header.get("AFTER"), None);
    }

    #[test]
    fn a_stray_continue_card_is_kept_apart() {
        let header = header(&["NEXT    = 1", "CONTINUE  'stray'", "END"]);
        assert_eq!(header.cards().len(), 2);
    }
}
