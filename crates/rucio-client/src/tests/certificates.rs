//! A certificate that is refused: what is wrong is named, and the setting that is right is not blamed.

use http_script::rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use http_script::{TestCa, rcgen, tls_server};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::trust::pem_file;
use super::*;

/// What a client says that trusts the CA `trusted` and meets this server on 127.0.0.1.
async fn refusal(server: ServerConfig, trusted: &str) -> String {
    let server = MockServer::start_tls(server, rucio([])).await;
    let ca_file = pem_file(trusted);
    let mut settings = settings(&server.url);
    settings.ca_file = Some(ca_file.path().to_owned());
    let error = client(settings).0.authenticate().await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::Tls, false), "{error}");
    assert!(server.seen().is_empty());
    error.to_string()
}

/// The same for a certificate of the trusted CA for 127.0.0.1 that is wrong in one way.
async fn refusal_of(change: impl FnOnce(&mut CertificateParams)) -> String {
    let ca = TestCa::new();
    refusal(ca.server_with("127.0.0.1", change), &ca.pem).await
}

/// The same for what `certificates/make` has made.
async fn refusal_of_made(certificate: &str) -> String {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("certificates/server.key")).unwrap();
    refusal(tls_server(certificate, &key), include_str!("certificates/ca.pem")).await
}

/// Holds that `text` names `fault` and blames no setting of ours.
fn lies_with_the_server(text: &str, fault: &str) {
    assert!(text.contains("cannot be trusted") && text.contains(fault), "{text}");
    assert!(!text.contains("ca_file") && !text.contains("rucio.url"), "{text}");
}

/// Holds that `text` names `fault` and blames `setting` alone.
fn lies_with(setting: &str, text: &str, fault: &str) {
    assert!(text.contains("cannot be trusted") && text.contains(fault), "{text}");
    assert!(text.ends_with(&format!(" ({setting})")), "{text}");
}

#[tokio::test]
async fn a_version_1_certificate_is_named_and_ca_file_is_not_blamed() {
    lies_with_the_server(&refusal_of_made(include_str!("certificates/version1.pem")).await, "X.509 version 1");
}

#[tokio::test]
async fn a_sha1_signature_is_named_and_ca_file_is_not_blamed() {
    lies_with_the_server(&refusal_of_made(include_str!("certificates/sha1.pem")).await, "signed with SHA-1");
}

#[tokio::test]
async fn a_certificate_without_subject_alternative_name_is_named() {
    let text = refusal_of(|parameters| {
        parameters.subject_alt_names.clear();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "127.0.0.1");
    });
    lies_with_the_server(&text.await, "no host in its subject alternative name");
}

#[tokio::test]
async fn an_expired_certificate_is_named() {
    let text = refusal_of(|parameters| parameters.not_after = date_time_ymd(2020, 1, 1));
    lies_with_the_server(&text.await, "must be renewed");
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_named() {
    let text = refusal_of(|parameters| parameters.not_before = date_time_ymd(4000, 1, 1));
    lies_with_the_server(&text.await, "is not valid yet (or this machine's clock is wrong)");
}

#[tokio::test]
async fn a_certificate_for_clients_is_named() {
    let text = refusal_of(|parameters| parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    lies_with_the_server(&text.await, "serverAuth");
}

#[tokio::test]
async fn a_ca_as_server_is_named() {
    let text = refusal_of(|parameters| parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    lies_with_the_server(&text.await, "shows a CA's certificate as its own");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_the_fault_of_the_url() {
    let ca = TestCa::new();
    let text = refusal(ca.server("rucio.example.org"), &ca.pem).await;
    lies_with("rucio.url", &text, "check that the host name in the URL");
    assert!(text.contains("rucio.example.org"), "{text}");
}

#[tokio::test]
async fn an_unknown_issuer_is_the_fault_of_ca_file() {
    let text = refusal(TestCa::named("A").server("127.0.0.1"), &TestCa::named("B").pem).await;
    lies_with("rucio.ca_file", &text, "is the CA that signed the server's certificate");
}

#[tokio::test]
async fn a_ca_of_the_same_name_with_another_key_is_the_fault_of_ca_file() {
    let text = refusal(TestCa::new().server("127.0.0.1"), &TestCa::new().pem).await;
    lies_with("rucio.ca_file", &text, "another key");
}
