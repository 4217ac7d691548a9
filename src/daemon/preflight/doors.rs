//! What Rucio's settings say of the doors of RSEs: how they are asked, and which of them lead to one server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;

use crate::storage;
use rucio_client::{RseProtocol, RseSettings};

/// For one name.
const RESOLVE: Duration = Duration::from_secs(2);

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doors {
    /// By RSE, where its names begin, as a URL that can be asked over HTTP; one over TLS if there is one.
    pub(crate) roots: BTreeMap<String, String>,
    /// Two RSEs that are one storage, and why.
    pub(crate) same: BTreeMap<(String, String), String>,
}

impl Doors {
    pub(super) async fn of(settings: &BTreeMap<String, RseSettings>) -> Self {
        let roots = settings.iter().filter_map(|(rse, settings)| Some((rse.clone(), root(&settings.protocols)?)));
        let mut resolved = BTreeMap::new();
        for (rse, settings) in settings {
            resolved.insert(rse, addresses(&settings.protocols).await);
        }
        let mut same = BTreeMap::new();
        for (at, (one, its)) in settings.iter().enumerate() {
            for (other, others) in settings.iter().skip(at + 1) {
                let by_name = one_server(&its.protocols, &others.protocols);
                let address = resolved.get(one).zip(resolved.get(other)).and_then(|(a, b)| a.intersection(b).next());
                let by_address = address.map(|address| format!("both lead to {address}"));
                if let Some(why) = by_name.or(by_address) {
                    same.insert((one.clone(), other.clone()), why);
                }
            }
        }
        Self { roots: roots.collect(), same }
    }
}

fn root(protocols: &[RseProtocol]) -> Option<String> {
    let url = |protocol: &RseProtocol| {
        format!("{}://{}:{}{}", protocol.scheme, protocol.hostname, protocol.port, protocol.prefix)
    };
    let urls: Vec<String> = protocols.iter().filter(|p| storage::can_be_asked(&p.scheme)).map(url).collect();
    storage::best_url(&urls).map(str::to_owned)
}

/// One host and port, or one path on one host, whatever the protocols.
fn one_server(these: &[RseProtocol], those: &[RseProtocol]) -> Option<String> {
    for this in these {
        for that in those.iter().filter(|that| that.hostname.eq_ignore_ascii_case(&this.hostname)) {
            if this.port == that.port {
                return Some(format!("both lead to {}:{}", this.hostname, this.port));
            }
            // on this machine each port is a server of its own
            let here = this.hostname == "localhost" || this.hostname.starts_with("127.");
            if !here && overlap(&this.prefix, &that.prefix) {
                return Some(format!("both lead to {} on {}", this.prefix, this.hostname));
            }
        }
    }
    None
}

fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim_end_matches('/'), other.trim_end_matches('/'));
    let below =
        |path: &str, root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    below(one, other) || below(other, one)
}

/// A name that is not known now leads nowhere.
async fn addresses(protocols: &[RseProtocol]) -> BTreeSet<SocketAddr> {
    let names: BTreeSet<(&str, u16)> = protocols.iter().map(|p| (p.hostname.as_str(), p.port)).collect();
    let found =
        join_all(names.into_iter().map(|name| tokio::time::timeout(RESOLVE, tokio::net::lookup_host(name)))).await;
    found.into_iter().filter_map(|found| found.ok()?.ok()).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(scheme: &str, hostname: &str, port: u16, prefix: &str) -> RseProtocol {
        RseProtocol { scheme: scheme.to_owned(), hostname: hostname.to_owned(), port, prefix: prefix.to_owned() }
    }

    fn rse(protocols: Vec<RseProtocol>) -> RseSettings {
        RseSettings { availability_read: true, availability_write: true, availability_delete: true, protocols }
    }

    #[tokio::test]
    async fn one_url_one_path_and_one_address_are_one_storage() {
        let here = at("davs", "127.0.0.1", 1, "/a");
        for (one, other, same) in [
            (at("davs", "a.example", 443, "/x/"), at("davs", "A.example", 443, "/y"), true),
            (at("davs", "a.example", 2880, "/x"), at("root", "a.example", 1094, "/x/ctao"), true),
            (at("davs", "a.example", 2880, "/x"), at("root", "a.example", 1094, "/xy"), false),
            (at("davs", "a.example", 443, "/x"), at("davs", "b.example", 443, "/x"), false),
            (here.clone(), at("davs", "localhost", 1, "/b"), true),
            (here.clone(), at("davs", "127.0.0.1", 2, "/a"), false),
        ] {
            let all = [("A".to_owned(), rse(vec![one.clone()])), ("B".to_owned(), rse(vec![other.clone()]))].into();
            let found = Doors::of(&all).await;
            assert_eq!(found.same.len(), usize::from(same), "{one:?} {other:?}: {:?}", found.same);
        }
    }

    #[tokio::test]
    async fn an_rse_is_asked_over_http_by_its_own_settings() {
        let all =
            [("A".to_owned(), rse(vec![at("root", "a.example", 1094, "//x"), at("davs", "a.example", 443, "/x/")]))];
        let found = Doors::of(&all.into()).await;
        assert_eq!(found.roots["A"], "davs://a.example:443/x/");
    }
}
