//! Whom the client talks to, and whom it refuses.

use std::io::Write;

use http_script::TestCa;

use super::*;

pub(super) fn pem_file(pem: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    file
}

async fn with_ca(server_name: &str, server_ca: &TestCa, trusted: &TestCa) -> Result<(), Error> {
    let server = MockServer::start_tls(server_ca.server(server_name), rucio([])).await;
    let ca_file = pem_file(&trusted.pem);
    let mut settings = settings(&server.url);
    settings.ca_file = Some(ca_file.path().to_owned());
    client(settings).0.authenticate().await
}

#[tokio::test]
async fn the_right_ca_is_trusted() {
    let ca = TestCa::new();
    with_ca("127.0.0.1", &ca, &ca).await.unwrap();
}

#[tokio::test]
async fn https_to_a_plain_port_is_said_to_be_that() {
    let server = MockServer::start(rucio([])).await;
    let ca = pem_file(&TestCa::new().pem);
    let mut settings = settings(&Url::parse(&format!("https://{}", server.address)).unwrap());
    settings.ca_file = Some(ca.path().to_owned());
    settings.timeout = Duration::from_millis(500);
    settings.retry.budget = Duration::ZERO;
    let error = client(settings).0.authenticate().await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Tls | Kind::Unreachable), "{error}");
}

#[test]
fn a_useless_ca_file_is_told_at_once() {
    let missing = std::path::PathBuf::from("/nonexistent/ca.pem");
    let empty = pem_file("# nothing here\n");
    for (path, word) in [(missing.clone(), "cannot be read"), (empty.path().to_owned(), "holds no certificate")] {
        let mut settings = settings(&Url::parse("https://rucio.example.org").unwrap());
        settings.ca_file = Some(path.clone());
        let error = Client::new(settings, Arc::new(Told::default())).err().unwrap();
        assert_eq!((error.kind(), error.is_transient()), (Kind::Settings, false));
        let text = error.to_string();
        assert!(text.contains(word) && text.contains(path.to_str().unwrap()), "{text}");
    }
}

#[test]
fn credentials_do_not_belong_into_the_url() {
    for url in ["https://ingest:pw@rucio.example.org", "https://rucio.example.org?token=x", "root://rucio.example.org"]
    {
        let error = Client::new(settings(&Url::parse(url).unwrap()), Arc::new(Told::default())).err().unwrap();
        assert_eq!(error.kind(), Kind::Settings);
        assert!(!error.to_string().contains("pw"), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_is_refused() {
    let other = MockServer::start(|_| Reply::new(200, did_answer().to_string())).await;
    let elsewhere = Reply::new(302, "").header("Location", other.url.as_str());
    let server = MockServer::start(rucio([elsewhere])).await;
    let error = client(settings(&server.url)).0.did(&file("a.fits")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (Kind::Protocol, false));
    assert!(error.to_string().contains(other.url.as_str()), "{error}");
    assert!(other.seen().is_empty());
}
