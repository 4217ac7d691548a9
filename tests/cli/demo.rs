//! `demo`, and the reading commands on what it leaves behind.
use std::path::Path;

use crate::testkit::command::say;

/// Regular files below a directory, but for those in `invalid/`.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("invalid") {
            found.extend(files(&path));
        } else if !path.is_dir() {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found.sort();
    found
}

#[test]
fn the_demo_releases_every_sound_file_and_rejects_the_damaged_one() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("demo");
    let said = say(&["demo", place.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{}", said.all(directory.path()));
    assert!(said.out.contains("6 of 6 files ended as they should"), "{}", said.out);

    // by the disks, not by what the demo says
    assert_eq!(files(&place.join("onsite")), Vec::<String>::new());
    assert_eq!(files(&place.join("pic")).len(), 5);
    assert_eq!(files(&place.join("pic")), files(&place.join("cscs")));

    let config = place.join("dl0-ingest.yaml");
    let ask = |arguments: &[&str]| say(&[arguments, &["--config", config.to_str().unwrap()]].concat());
    assert_eq!(ask(&["check-config"]).code, 0);
    let status = &ask(&["status", "--json"]).json()[0];
    assert_eq!(status["states"]["released"]["files"], 5, "{status}");
    assert_eq!(status["states"]["rejected"]["files"], 1, "{status}");
    assert_eq!(status["daemon_running"], false);
    let rejected = &ask(&["list", "--state", "rejected", "--json"]).json()[0];
    let why = ask(&["why", rejected["lfn"].as_str().unwrap()]);
    assert_eq!(why.code, 0);
    assert!(why.out.contains("It was rejected"), "{}", why.out);
    let invalid = place.join("onsite").join(rejected["invalid_path"].as_str().unwrap());
    assert_eq!(say(&["verify", invalid.to_str().unwrap()]).code, 1);
    assert!(Path::new(&format!("{}.reason.json", invalid.display())).is_file());
    let released = &ask(&["list", "--state", "released", "--json", "--limit", "1"]).json()[0];
    assert!(ask(&["why", released["lfn"].as_str().unwrap()]).out.contains("Its copies are at STORAGE-"));
    // the miniature Rucio has ended with the demo
    assert_eq!(ask(&["check-config", "--online"]).code, 3);
}

#[test]
fn a_demo_is_not_played_where_something_lies() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("precious"), "").unwrap();
    let said = say(&["demo", directory.path().to_str().unwrap()]);
    assert_eq!(said.code, 3);
    assert!(said.err.contains("is not empty"), "{}", said.err);
    assert_eq!(files(directory.path()), ["precious"]);
}
