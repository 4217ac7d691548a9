//! What a storage says about a file when it is asked itself, over HTTP.

use std::fs;

use base64::Engine;

use crate::client::Answer;
use crate::stack::{File, ONSITE, Stack};

/// The digest's algorithm and value.
fn digest(answer: &Answer) -> (&str, &str) {
    answer.header("digest").split_once('=').unwrap_or_else(|| panic!("no digest in {answer:?}"))
}

/// As a storage writes it: in base64.
pub(crate) fn crc32c(content: &[u8]) -> String {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, content);
    base64::engine::general_purpose::STANDARD.encode(u32::try_from(sum).unwrap().to_be_bytes())
}

pub(crate) async fn a_head_tells_size_and_digest(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let storage = stack.storage(ONSITE, &file.name).await;
    for (wanted, value) in [("adler32", file.adler32.clone()), ("crc32c", crc32c(&file.content))] {
        let answer = storage.head(wanted).await.expect(200);
        assert_eq!(digest(&answer), (wanted, value.as_str()));
        assert_eq!(answer.header("content-length"), file.bytes.to_string());
    }
    let answer = storage.head("md5").await.expect(200);
    let (algorithm, value) = digest(&answer);
    assert_eq!((algorithm, base64::engine::general_purpose::STANDARD.decode(value).unwrap().len()), ("md5", 16));
    let answer = storage.send(reqwest::Method::HEAD, "", &[], None).await.expect(200);
    assert_eq!((answer.header("digest"), answer.header("content-length")), ("", file.bytes.to_string().as_str()));
}

pub(crate) async fn an_unknown_algorithm_is_answered_with_adler32(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let storage = stack.storage(ONSITE, &file.name).await;
    for wanted in ["sha-512", "crc32c;q=1"] {
        let answer = storage.head(wanted).await.expect(200);
        assert_eq!(digest(&answer), ("adler32", file.adler32.as_str()), "{wanted}");
    }
}

pub(crate) async fn what_is_not_a_file_is_an_error(stack: &Stack) {
    let (dataset, [file]) = stack.registered().await;
    let storage = stack.storage(ONSITE, &file.name).await;
    fs::remove_file(&file.path).unwrap();
    storage.head("adler32").await.expect(404);
    storage.get("").await.expect(404);
    fs::create_dir_all(stack.path(ONSITE, &dataset).join("file0.fits")).unwrap();
    // Without the wish for a digest a directory is a success, and its length is not that of a file. With it XRootD
    // answers 409, or sometimes not at all.
    storage.send(reqwest::Method::HEAD, "", &[], None).await.expect(200);
}

/// The storage's own checksum can be as old as the file's mtime says; one not asked for before is of the bytes.
pub(crate) async fn an_adler32_asked_before_is_stale_when_bytes_change_under_their_mtime(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let storage = stack.storage(ONSITE, &file.name).await;
    assert_eq!(digest(&storage.head("adler32").await.expect(200)).1, file.adler32);
    let rotten = change_under_mtime(&file);
    assert_eq!(digest(&storage.head("adler32").await.expect(200)).1, file.adler32, "should be the old one");
    assert_eq!(digest(&storage.head("crc32c").await.expect(200)).1, crc32c(&rotten), "should be the true one");
}

/// Flips a bit and puts the mtime back.
fn change_under_mtime(file: &File) -> Vec<u8> {
    let mtime = fs::metadata(&file.path).unwrap().modified().unwrap();
    let mut content = file.content.clone();
    content[3] ^= 1;
    let open = fs::File::options().write(true).open(&file.path).unwrap();
    std::io::Write::write_all(&mut &open, &content).unwrap();
    open.set_modified(mtime).unwrap();
    content
}

pub(crate) async fn reading_gives_the_bytes(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let answer = stack.storage(ONSITE, &file.name).await.get("").await.expect(200);
    assert_eq!(answer.body.as_bytes(), file.content);
}
