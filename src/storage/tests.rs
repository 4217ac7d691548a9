//! Behaviour of the client against storages of all sorts.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::time::Duration;

use http_script::rcgen::date_time_ymd;
use http_script::{MockServer, Reply, Seen, TestCa, queue};

use super::*;

const ALL: &[Algorithm] = &[Algorithm::Crc32c, Algorithm::Md5, Algorithm::Adler32];

fn client() -> Client {
    with_ca(None)
}

fn with_ca(ca_file: Option<std::path::PathBuf>) -> Client {
    let (timeout, connect_timeout) = (Duration::from_millis(300), Duration::from_secs(5));
    Client::new(&Settings { ca_file, timeout, connect_timeout }).unwrap()
}

fn answer(digest: &str) -> Reply {
    Reply::new(200, "").header("Content-Length", "1000000").header("Digest", digest)
}

/// What comes of asking a server with these replies for `/f.fits`.
async fn ask(replies: impl IntoIterator<Item = Reply> + 'static) -> (Result<Found, Error>, Vec<Seen>) {
    let server = MockServer::start(queue(replies)).await;
    let result = client().examine(&format!("{}f.fits?signature=abc", server.url), ALL).await;
    (result, server.seen())
}

#[tokio::test]
async fn the_first_algorithm_that_the_storage_knows_is_taken() {
    let (found, seen) = ask([answer("crc32c=ktmoWg==")]).await;
    let digest = Some((Algorithm::Crc32c, "92d9a85a".into()));
    assert_eq!(found.unwrap(), Found { bytes: 1_000_000, digest, led_to: None });
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("HEAD", "/f.fits?signature=abc"));
    assert_eq!(seen[0].header("Want-Digest"), Some("crc32c"));
    assert!(seen[0].spells("Want-Digest"), "XRootD does not know it in lower case");
}

#[tokio::test]
async fn an_answer_in_another_algorithm_is_not_taken() {
    let other = answer("adler32=222e27d7");
    let (found, seen) = ask([other.clone(), other.clone(), other]).await;
    let digest = Some((Algorithm::Adler32, "222e27d7".into()));
    assert_eq!(found.unwrap(), Found { bytes: 1_000_000, digest, led_to: None });
    let wanted: Vec<_> = seen.iter().filter_map(|seen| seen.header("Want-Digest")).collect();
    assert_eq!(wanted, ["crc32c", "md5", "adler32"]);
}

/// XRootD has said so by a failure (issue 1707), by a word (1901), and by digests that are none.
#[tokio::test]
async fn whatever_says_that_there_is_no_such_digest_leads_to_the_next_one() {
    let sized = |digest: &str| answer(digest);
    for no in [
        Reply::new(500, ""),
        Reply::new(501, ""),
        Reply::new(400, ""),
        Reply::new(405, ""),
        sized("crc32c=unknown"),
        sized("crc32c=0x92d9a85a"),
        sized("crc32c=92d9a85"),
        sized("crc32c="),
        sized("unixsum=1"),
    ] {
        let what = format!("{no:?}");
        let server =
            MockServer::start(queue([no, sized("md5=x"), sized("adler32=222e27d7"), sized("adler32=222e27d7")])).await;
        let client = client();
        let digest = Some((Algorithm::Adler32, "222e27d7".into()));
        for _ in 0..2 {
            let found = client.examine(server.url.as_str(), ALL).await.unwrap();
            assert_eq!(found, Found { bytes: 1_000_000, digest: digest.clone(), led_to: None }, "{what}");
        }
        // what it does not have is remembered
        let wanted: Vec<_> =
            server.seen().iter().filter_map(|seen| seen.header("Want-Digest").map(str::to_owned)).collect();
        assert_eq!(wanted, ["crc32c", "md5", "adler32", "adler32"], "{what}");
    }
}

#[tokio::test]
async fn a_storage_that_fails_whatever_it_is_asked_is_out_of_order() {
    let (result, seen) = ask((0..4).map(|_| Reply::new(500, ""))).await;
    assert!(result.unwrap_err().is_transient());
    // at last without a wish for a digest
    assert_eq!(seen[3].header("Want-Digest"), None);
}

#[tokio::test]
async fn a_file_without_bytes_is_one_only_if_none_are_delivered() {
    let empty = || Reply::new(200, "").header("Content-Length", "0");
    let (result, seen) = ask([empty(), empty(), empty(), Reply::new(200, "123")]).await;
    assert!(matches!(result, Err(Error::Contradictory { .. })), "{result:?}");
    assert_eq!(seen[3].method, "GET");
    let (result, _) = ask([empty(), empty(), empty(), empty()]).await;
    assert_eq!(result.unwrap(), Found { bytes: 0, digest: None, led_to: None });
    let (result, seen) = ask([empty().header("Digest", "crc32c=AAAAAA==")]).await;
    assert_eq!((result.unwrap().bytes, seen.len()), (0, 1));
}

#[tokio::test]
async fn a_representation_digest_is_understood() {
    let reply = Reply::new(200, "").header("Content-Length", "7").header("Repr-Digest", "crc32c=:ktmoWg==:");
    let (found, seen) = ask([reply]).await;
    assert_eq!(found.unwrap().digest, Some((Algorithm::Crc32c, "92d9a85a".into())));
    assert_eq!(seen[0].header("Want-Repr-Digest"), Some("crc32c=10"));
}

#[tokio::test]
async fn a_directory_is_something_and_a_refusal_is_not_known() {
    let server = MockServer::start(queue([200, 409, 404, 410, 403, 503].map(|status| Reply::new(status, "")))).await;
    let mut said = Vec::new();
    for _ in 0..6 {
        said.push(client().is_there(server.url.as_str()).await.ok());
    }
    assert_eq!(said, [Some(true), Some(true), Some(false), Some(false), None, None]);
}

#[tokio::test]
async fn a_storage_without_digests_still_tells_the_size() {
    let size = || Reply::new(200, "").header("Content-Length", "7");
    let (found, _) = ask([size(), size(), size()]).await;
    assert_eq!(found.unwrap(), Found { bytes: 7, digest: None, led_to: None });
    let server = MockServer::start(queue([size()])).await;
    let found = client().examine(server.url.as_str(), &[]).await.unwrap();
    assert_eq!(found, Found { bytes: 7, digest: None, led_to: None });
    assert_eq!(server.seen()[0].header("Want-Digest"), None);
}

#[tokio::test]
async fn a_file_is_read_back_whole_behind_redirects_and_never_endlessly() {
    let moved = Reply::new(307, "").header("Location", "/elsewhere");
    let server = MockServer::start(queue([moved, Reply::new(200, "123456789"), Reply::Endless("x")])).await;
    let url = server.url.as_str();
    let blake3 = blake3::hash(b"123456789").to_hex().to_string();
    // elsewhere, but at the same server
    let expected = ReadBack { bytes: 9, blake3, led_to: None };
    assert_eq!(client().read_back(url, 9).await.unwrap(), expected);
    assert_eq!(server.seen()[1].method, "GET");
    let endless = client().read_back(url, 9).await.unwrap();
    assert!(endless.bytes > 9);
    let cut = Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234".into());
    let server = MockServer::start(queue([cut, Reply::new(404, ""), Reply::Hang])).await;
    let mut errors = Vec::new();
    for _ in 0..3 {
        errors.push(client().read_back(server.url.as_str(), 9).await.unwrap_err());
    }
    assert!(
        matches!(&errors[..], [Error::Transient { .. }, Error::NotFound { .. }, Error::Transient { .. }]),
        "{errors:?}"
    );
}

/// Of a large file that it could deliver in an hour, at its slowest.
#[tokio::test]
async fn a_storage_that_stops_in_the_middle_of_a_large_file_is_not_waited_for() {
    let large = 1 << 32;
    let part = Reply::Stall(format!("HTTP/1.1 200 OK\r\nContent-Length: {large}\r\n\r\n1234"));
    for reply in [part, Reply::Hang] {
        let what = format!("{reply:?}");
        let server = MockServer::start(queue([reply])).await;
        let read = tokio::time::timeout(Duration::from_secs(20), client().read_back(server.url.as_str(), large)).await;
        let error = read.unwrap_or_else(|_| panic!("waits on {what}")).unwrap_err();
        assert!(matches!(&error, Error::Transient { reason, .. } if reason == "no answer within 0.3 s"), "{error}");
    }
}

#[test]
fn a_url_over_tls_is_asked_rather_than_one_without() {
    let urls = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let all = urls(&["http://a/f", "davs://a/f", "https://b/f"]);
    assert_eq!(best_url(&all), Some("davs://a/f"));
    assert_eq!(best_url(&all[..1]), Some("http://a/f"));
    assert_eq!(best_url(&[]), None);
    for (url, may_be_read) in
        [("http://a/f", true), ("dav://a:80/f", true), ("davs://a/f", false), ("http://127.0.0.1:1/f", false)]
    {
        assert_eq!(is_open_to_others(url), may_be_read, "{url}");
    }
}

#[tokio::test]
async fn failures_mean_what_they_should() {
    for (reply, expected, transient) in [
        (Reply::new(404, ""), "NotFound", false),
        (Reply::new(401, ""), "Refused", false),
        (Reply::new(403, ""), "Refused", false),
        (Reply::new(409, ""), "Protocol", false),
        (Reply::new(204, "").header("Content-Length", "0"), "Protocol", false),
        (answer("crc32c=ktmoWg==, crc32c=ktmoWQ=="), "Contradictory", false),
        (answer("crc32c=ktmoWg==").header("Repr-Digest", "crc32c=:ktmoWQ==:"), "Contradictory", false),
        (Reply::new(200, "").header("Content-Length", "0").header("Digest", "crc32c=ktmoWg=="), "Contradictory", false),
        (answer("crc32c=92d9a85a").header("Location", "x"), "Ok", false),
        (Reply::Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into()), "Protocol", false),
        (Reply::new(503, ""), "Transient", true),
        (Reply::new(429, ""), "Transient", true),
        (Reply::Hang, "Transient", true),
        (Reply::Raw("HTTP/1.1 20".into()), "Transient", true),
        (Reply::new(302, ""), "Protocol", false),
        (Reply::new(302, "").header("Location", "root://elsewhere/"), "Protocol", false),
    ] {
        let what = format!("{reply:?}");
        let (result, seen) = ask([reply]).await;
        assert_eq!(seen.len(), 1, "{what}");
        let found = match &result {
            Ok(_) => "Ok",
            Err(Error::NotFound { .. }) => "NotFound",
            Err(Error::Refused { .. }) => "Refused",
            Err(Error::Transient { .. }) => "Transient",
            Err(Error::Protocol { .. }) => "Protocol",
            Err(Error::Contradictory { .. }) => "Contradictory",
            Err(_) => "another",
        };
        assert_eq!(found, expected, "{what}: {result:?}");
        if let Err(error) = result {
            assert_eq!(error.is_transient(), transient, "{what}");
            assert!(error.to_string().contains("/f.fits"), "{error}");
            assert!(!error.to_string().contains("abc"), "a signature is not for the log: {error}");
        }
    }
}

#[tokio::test]
async fn a_storage_that_is_down_may_come_back() {
    let address = MockServer::start(queue([])).await.stop().await;
    let error = client().examine(&format!("dav://{address}/f.fits"), ALL).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn redirects_are_followed_and_the_last_answer_counts() {
    let pool = MockServer::start(queue([answer("crc32c=ktmoWg==")])).await;
    let to_pool = answer("crc32c=AAAAAA==");
    let Reply::Answer { headers, body, .. } = to_pool.header("Location", format!("{}pool/f.fits", pool.url)) else {
        unreachable!()
    };
    let (found, _) = ask([Reply::Answer { status: 307, headers, body }]).await;
    let found = found.unwrap();
    assert_eq!(found.digest, Some((Algorithm::Crc32c, "92d9a85a".into())));
    assert_eq!(found.led_to, Some(pool.address.to_string()));
    let seen = pool.seen();
    assert_eq!((seen[0].target.as_str(), seen[0].header("Want-Digest")), ("/pool/f.fits", Some("crc32c")));
}

#[tokio::test]
async fn redirects_end() {
    let (result, seen) = ask((0..100).map(|_| Reply::new(302, "").header("Location", "/f.fits"))).await;
    assert!(matches!(result, Err(Error::Protocol { .. })), "{result:?}");
    assert_eq!(seen.len(), 6);
}

#[tokio::test]
async fn credentials_are_never_sent() {
    let pool = MockServer::start(queue([answer("crc32c=ktmoWg==")])).await;
    let to_pool = Reply::new(302, "").header("Location", format!("http://me:secret@{}/f.fits", pool.address));
    let server = MockServer::start(queue([to_pool])).await;
    client().examine(&format!("http://me:secret@{}/f.fits", server.address), ALL).await.unwrap();
    for seen in server.seen().iter().chain(&pool.seen()) {
        assert_eq!((seen.header("Authorization"), seen.header("Cookie"), seen.header("Referer")), (None, None, None));
    }
}

#[tokio::test]
async fn davs_is_https_and_the_ca_decides() {
    let ca = TestCa::new();
    let server = MockServer::start_tls(ca.server("127.0.0.1"), queue([answer("crc32c=ktmoWg==")])).await;
    let pfn = format!("davs://{}//dir/f.fits", server.address);
    let mut right = tempfile::NamedTempFile::new().unwrap();
    right.write_all(ca.pem.as_bytes()).unwrap();
    let mut wrong = tempfile::NamedTempFile::new().unwrap();
    wrong.write_all(TestCa::new().pem.as_bytes()).unwrap();

    let error = with_ca(Some(wrong.path().to_owned())).examine(&pfn, ALL).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }) && !error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("ca_file"), "{error}");
    let found = with_ca(Some(right.path().to_owned())).examine(&pfn, ALL).await.unwrap();
    assert_eq!(found.bytes, 1_000_000);
    assert_eq!(server.seen()[0].target, "//dir/f.fits");
}

#[tokio::test]
async fn an_expired_certificate_is_not_blamed_on_the_ca_file() {
    let ca = TestCa::new();
    let expired = ca.server_with("127.0.0.1", |certificate| certificate.not_after = date_time_ymd(2020, 1, 1));
    let server = MockServer::start_tls(expired, queue([])).await;
    let mut ca_file = tempfile::NamedTempFile::new().unwrap();
    ca_file.write_all(ca.pem.as_bytes()).unwrap();
    let error = with_ca(Some(ca_file.path().to_owned())).examine(server.url.as_str(), ALL).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("must be renewed") && !text.contains("ca_file"), "{text}");
}

#[tokio::test]
async fn a_redirect_out_of_tls_is_not_followed() {
    let ca = TestCa::new();
    let pool = MockServer::start(queue([answer("crc32c=ktmoWg==")])).await;
    let to_pool = Reply::new(302, "").header("Location", pool.url.as_str());
    let server = MockServer::start_tls(ca.server("127.0.0.1"), queue([to_pool])).await;
    let mut ca_file = tempfile::NamedTempFile::new().unwrap();
    ca_file.write_all(ca.pem.as_bytes()).unwrap();
    let error = with_ca(Some(ca_file.path().to_owned())).examine(server.url.as_str(), ALL).await.unwrap_err();
    assert!(error.to_string().contains("plain http"), "{error}");
    assert!(pool.seen().is_empty());
}

#[tokio::test]
async fn other_protocols_cannot_be_asked() {
    for pfn in ["root://localhost:1094//f.fits", "file:///data/f.fits", "/data/f.fits", "davs://", "https://[/f?secret"]
    {
        let error = client().examine(pfn, ALL).await.unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{pfn}: {error:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn a_useless_ca_file_is_told_at_once() {
    let settings = Settings {
        ca_file: Some("/nonexistent/ca.pem".into()),
        timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
    };
    let error = Client::new(&settings).err().unwrap();
    assert!(error.to_string().contains("/nonexistent/ca.pem cannot be read"), "{error}");
}

#[tokio::test]
async fn a_storage_is_asked_two_questions_at_once_and_another_is_not_kept_waiting_by_it() {
    let silent = MockServer::start(queue(vec![Reply::Hang; 10])).await;
    let well = MockServer::start(queue([answer("crc32c=ktmoWg==")])).await;
    let client = client();
    let ask = async |server: &MockServer| client.examine(&format!("{}f.fits", server.url), ALL).await;
    let all = futures_util::future::join_all((0..3).map(|_| ask(&silent)));
    // the third has to wait for one of the first two to time out
    let (all, found) = tokio::join!(tokio::time::timeout(Duration::from_millis(200), all), ask(&well));
    assert!(all.is_err());
    assert_eq!(silent.seen().len(), 2);
    assert_eq!(found.unwrap().bytes, 1_000_000);
}
