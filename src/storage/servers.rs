//! Whose server answered about a copy.
//!
//! A storage sends from its door to the server that has the file. If that server is another data centre's, as in a federation
//! of storages, its word is about the other copy: both answers together prove one.

use std::collections::BTreeMap;

use super::pfn::{http_url, server};

/// Where an answer about the copy at an RSE came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The RSE.
    pub rse: String,
    /// Its site, if that is known.
    pub site: Option<String>,
    /// Host and port of its door.
    pub door: Option<String>,
    /// Host and port of the server that answered, if redirects led there from the door.
    pub led_to: Option<String>,
}

impl Source {
    /// The RSE of another site to whose door redirects led, or to whose server another one's led as well.
    pub fn borrows_from<'a>(&self, others: &'a [Self]) -> Option<&'a str> {
        let server = self.led_to.as_deref()?;
        let elsewhere = |other: &&Self| other.rse != self.rse && (other.site.is_none() || other.site != self.site);
        let theirs = |other: &&Self| [&other.door, &other.led_to].into_iter().any(|at| at.as_deref() == Some(server));
        others.iter().filter(elsewhere).find(theirs).map(|other| other.rse.as_str())
    }
}

/// Every door that Rucio names for a file, whether it was asked or not. `site`: of an RSE, if it is known.
pub fn doors(pfns: &BTreeMap<String, Vec<String>>, site: impl Fn(&str) -> Option<String>) -> Vec<Source> {
    let each = pfns.iter().flat_map(|(rse, pfns)| pfns.iter().map(move |pfn| (rse, pfn)));
    let source =
        |(rse, pfn): (&String, &String)| Source { rse: rse.clone(), site: site(rse), door: door(pfn), led_to: None };
    each.map(source).collect()
}

/// Host and port of the door in a physical name.
pub fn door(pfn: &str) -> Option<String> {
    http_url(pfn).ok().map(|url| server(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(rse: &str, site: &str, led_to: Option<&str>) -> Source {
        let door = door(&format!("davs://{rse}.example:2880/f"));
        Source { rse: rse.to_owned(), site: Some(site.to_owned()), door, led_to: led_to.map(str::to_owned) }
    }

    #[test]
    fn every_door_that_rucio_names_is_known() {
        let urls = |urls: &[&str]| urls.iter().map(|&url| url.to_owned()).collect();
        let pfns = BTreeMap::from([
            ("A".to_owned(), urls(&["davs://a.example:1/f", "https://a.example:2/f"])),
            ("HERE".to_owned(), urls(&["root://here.example/f"])),
        ]);
        let found = doors(&pfns, |rse| (rse == "A").then(|| "x".to_owned()));
        let found: Vec<_> = found.iter().map(|it| (it.rse.as_str(), it.site.as_deref(), it.door.as_deref())).collect();
        let of_a = |door| ("A", Some("x"), Some(door));
        assert_eq!(found, [of_a("a.example:1"), of_a("a.example:2"), ("HERE", None, None)]);
    }

    #[test]
    fn the_server_of_another_site_is_told_from_ones_own() {
        let (a, b) = (source("a", "x", None), source("b", "y", None));
        // not redirected, whoever else has that door: so the operators have told Rucio
        assert_eq!(a.borrows_from(&[b.clone(), Source { rse: "c".to_owned(), ..a.clone() }]), None);
        for (server, from) in [
            ("pool.a.example:2880", None),
            ("a.example:1094", None),
            ("b.example:1094", None),
            ("b.example:2880", Some("b")),
        ] {
            let led = source("a", "x", Some(server));
            assert_eq!(led.borrows_from(&[led.clone(), b.clone()]), from, "{server}");
        }
        let both = [source("a", "x", Some("pool:1")), source("b", "y", Some("pool:1"))];
        assert_eq!(both[0].borrows_from(&both), Some("b"));
        assert_eq!(both[1].borrows_from(&both), Some("a"));
        // two RSEs of one site may share their servers
        let disk_and_tape = [source("a", "x", Some("pool:1")), source("tape", "x", Some("pool:1"))];
        assert_eq!(disk_and_tape[0].borrows_from(&disk_and_tape), None);
    }
}
