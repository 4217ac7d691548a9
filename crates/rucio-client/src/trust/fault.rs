//! What is wrong with a server's TLS, and who can put it right.

use rustls::CertificateError;
use webpki::Error as Path;

/// What is wrong with a server's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was found.
    found: String,
    /// What to do about it.
    advice: &'static str,
    /// Where that is done.
    remedy: Remedy,
}

/// Where a fault is put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// In the CAs that are trusted here.
    Trust,
    /// In the URL.
    Url,
    /// At the server; no setting here is wrong.
    Server,
    /// It cannot be told.
    Unclear,
}

impl Fault {
    pub(super) fn new(reason: &rustls::Error) -> Self {
        let (remedy, advice) = match reason {
            rustls::Error::InvalidCertificate(reason) => of_certificate(reason),
            rustls::Error::InvalidMessage(_) => {
                (Remedy::Url, "check that the URL's port speaks TLS; for plain HTTP write http://")
            }
            rustls::Error::PeerIncompatible(_) | rustls::Error::AlertReceived(_) => (
                Remedy::Server,
                "check the server's TLS settings: it must speak TLS 1.2 or 1.3, and want no certificate",
            ),
            _ => (Remedy::Unclear, "check ca_file, and the server's TLS settings"),
        };
        Self { found: reason.to_string(), advice, remedy }
    }

    /// Where it is put right.
    pub fn remedy(&self) -> Remedy {
        self.remedy
    }

    /// What is wrong and what to do, with the setting to look at, if one is to blame: `url` and `ca_file` are how the caller
    /// calls them.
    pub fn told(&self, url: &str, ca_file: &str) -> String {
        let Self { found, advice, remedy } = self;
        match remedy {
            Remedy::Trust => format!("{found}; {advice} ({ca_file})"),
            Remedy::Url => format!("{found}; {advice} ({url})"),
            Remedy::Server => format!("{found}; {advice}"),
            Remedy::Unclear => format!("{found}; {advice} ({url}, {ca_file})"),
        }
    }
}

fn of_certificate(reason: &CertificateError) -> (Remedy, &'static str) {
    use CertificateError as C;
    match reason {
        C::UnknownIssuer => (
            Remedy::Trust,
            "check that ca_file is the CA that signed the server's certificate, and that the server sends the \
             certificates in between",
        ),
        C::BadSignature => (
            Remedy::Trust,
            "check that ca_file is the CA that signed the server's certificate: it has the name of that CA and another key \
             (or one of less than 2048 bits)",
        ),
        C::Expired | C::ExpiredContext { .. } => {
            (Remedy::Server, "the server's certificate must be renewed (or this machine's clock is wrong)")
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            (Remedy::Server, "the server's certificate is not valid yet (or this machine's clock is wrong)")
        }
        C::NotValidForNameContext { presented, .. } if presented.is_empty() => (
            Remedy::Server,
            "the server's certificate has no host in its subject alternative name, and a common name does not count: it \
             must be issued anew",
        ),
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            (Remedy::Url, "check that the host name in the URL is one in the server's certificate")
        }
        C::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } if is_sha1(signature_algorithm_id) => (
            Remedy::Server,
            "the server's certificate, or one between it and its CA, is signed with SHA-1: it must be issued anew, with \
             SHA-256 or better",
        ),
        C::UnsupportedSignatureAlgorithmContext { .. } | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            (
                Remedy::Server,
                "the server's certificate, or one between it and its CA, is signed in a way that is not supported: it must \
             be issued anew, with RSA or ECDSA and SHA-256 or better",
            )
        }
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => (
            Remedy::Server,
            "the certificate is not one for servers: it must be issued anew, with extended key usage serverAuth",
        ),
        C::Other(other) => (Remedy::Server, of_path(other.0.downcast_ref())),
        _ => (Remedy::Server, ANEW),
    }
}

/// What rustls has no word of its own for.
fn of_path(reason: Option<&Path>) -> &'static str {
    match reason {
        Some(Path::UnsupportedCertVersion) => {
            "the server's certificate, or one between it and its CA, is of X.509 version 1: it must be issued anew, as \
             version 3 with the host in its subject alternative name"
        }
        Some(Path::CaUsedAsEndEntity) => {
            "the server shows a CA's certificate as its own: it needs one that a CA has signed for it"
        }
        _ => ANEW,
    }
}

const ANEW: &str = "the server's certificate, or one between it and its CA, cannot be used: it must be issued anew";

/// Whether an algorithm identifier (RFC 5280, section 4.1.1.2; the content of its DER sequence) is
/// `sha1WithRSAEncryption` or `ecdsa-with-SHA1` (RFC 3279, section 2.2).
fn is_sha1(identifier: &[u8]) -> bool {
    const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
    const ECDSA: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
    identifier.starts_with(RSA) || identifier.starts_with(ECDSA)
}
