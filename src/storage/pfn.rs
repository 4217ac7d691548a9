//! Physical names, and the URLs under which they are asked for.

use url::{Position, Url};

use super::error::Error;
use rucio_client::trust::is_loopback;

/// The URL to ask for a physical name.
pub(super) fn http_url(pfn: &str) -> Result<Url, Error> {
    let unsupported = || Error::Unsupported { pfn: pfn.split(['?', '#']).next().unwrap_or_default().to_owned() };
    let (scheme, rest) = pfn.split_once("://").ok_or_else(unsupported)?;
    let scheme = http_scheme(scheme).ok_or_else(unsupported)?;
    let mut url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| unsupported())?;
    forget_credentials(&mut url);
    Ok(url)
}

fn http_scheme(scheme: &str) -> Option<&'static str> {
    match scheme {
        "davs" | "https" => Some("https"),
        "dav" | "http" => Some("http"),
        _ => None,
    }
}

/// Whether files under a scheme can be asked for over HTTP.
pub fn can_be_asked(scheme: &str) -> bool {
    http_scheme(scheme).is_some()
}

/// reqwest would turn them into a header.
pub(super) fn forget_credentials(url: &mut Url) {
    // both fail only for URLs without a host, which have none
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

/// Host and port.
pub(super) fn server(url: &Url) -> String {
    url[Position::BeforeHost..Position::AfterPort].to_owned()
}

/// Of a copy's URLs, in the order in which Rucio would use them, the one to ask: the first over TLS, or else the first.
pub fn best_url(urls: &[String]) -> Option<&str> {
    let over_tls = |pfn: &&String| http_url(pfn).is_ok_and(|url| url.scheme() == "https");
    urls.iter().find(over_tls).or(urls.first()).map(String::as_str)
}

/// Whether somebody on the way could answer in the storage's place: plain HTTP to another host.
pub fn is_open_to_others(pfn: &str) -> bool {
    http_url(pfn).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url))
}
