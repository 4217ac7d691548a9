//! Whom an HTTP client trusts, and how to tell a certificate's fault from an outage.
//!
//! For this crate's own client, and for whoever speaks to the storages of the same grid, which want the same trust.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

mod fault;

pub use fault::{Fault, Remedy};

/// Why no trust could be set up.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The CA file cannot be read, or is not PEM.
    #[error("the CA file {path} cannot be read: {reason}")]
    Unreadable {
        /// As it was named.
        path: PathBuf,
        /// What is wrong.
        reason: rustls::pki_types::pem::Error,
    },
    /// The CA file has nothing in it that could vouch for a server.
    #[error("the CA file {path} holds no certificate; it must be a PEM file with at least one CERTIFICATE block")]
    Empty {
        /// As it was named.
        path: PathBuf,
    },
    /// A block of the CA file is no certificate.
    #[error("the CA file {path} holds a certificate that cannot be used: {reason}")]
    Unusable {
        /// As it was named.
        path: PathBuf,
        /// What is wrong.
        reason: rustls::Error,
    },
    /// No CA file was named and the machine has no certificates of its own.
    #[error("this machine has no CA certificates of its own; name a PEM file as ca_file")]
    NoSystemStore,
    /// The crypto provider refused the defaults.
    #[error("TLS cannot be set up: {0}")]
    Provider(rustls::Error),
}

/// A TLS configuration that trusts the CAs of `ca_file` alone, or those of the machine if there is none.
///
/// The provider is named here rather than installed for the whole process, so that a library user keeps theirs.
pub fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let roots = match ca_file {
        Some(path) => roots_from_file(path)?,
        None => roots_of_the_machine()?,
    };
    config_with(roots)
}

/// A TLS configuration that trusts nobody, for clients that will only ever speak plain HTTP.
pub fn config_without_trust() -> Result<ClientConfig, TrustError> {
    config_with(RootCertStore::empty())
}

fn config_with(roots: RootCertStore) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Provider)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn roots_from_file(path: &Path) -> Result<RootCertStore, TrustError> {
    let unreadable = |reason| TrustError::Unreadable { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        roots
            .add(certificate.map_err(unreadable)?)
            .map_err(|reason| TrustError::Unusable { path: path.to_owned(), reason })?;
    }
    if roots.is_empty() { Err(TrustError::Empty { path: path.to_owned() }) } else { Ok(roots) }
}

fn roots_of_the_machine() -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    // a store with one odd certificate in it still vouches with the others
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TrustError::NoSystemStore) } else { Ok(roots) }
}

/// Whether a URL leads to this host, where nobody is in between.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// What is wrong with the peer's TLS, if TLS is the reason for `error` at all.
///
/// HTTP libraries wrap the reason several layers deep, partly inside `io::Error`, which hides its payload from
/// `source()`; so the chain is walked by hand.
pub fn fault(error: &(dyn StdError + 'static)) -> Option<Fault> {
    let mut next = Some(error);
    while let Some(current) = next {
        let payload = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = current.downcast_ref::<rustls::Error>().or_else(|| payload.and_then(|p| p.downcast_ref()));
        if let Some(reason) = found {
            return Some(Fault::new(reason));
        }
        next = match payload {
            Some(payload) => Some(payload),
            None => current.source(),
        };
    }
    None
}

/// The innermost reason of an error: what the operating system or the peer said.
pub fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}
