//! Where the stack is, and files for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

/// `endpoints.json` of the testbed.
#[derive(Deserialize)]
pub(crate) struct Stack {
    pub(crate) rucio_url: String,
    pub(crate) rucio_version: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) accounts: BTreeMap<String, String>,
    pub(crate) rses: BTreeMap<String, Storage>,
    pub(crate) ctl: PathBuf,
}

/// One storage.
#[derive(Deserialize)]
pub(crate) struct Storage {
    pub(crate) directory: PathBuf,
    pub(crate) onsite: bool,
}

impl Stack {
    /// The testbed of `$TESTBED`, which must be up.
    pub(crate) fn find() -> Self {
        let testbed = std::env::var("TESTBED").unwrap_or_else(|_| "/var/tmp/dl0-testbed".to_owned());
        let path = Path::new(&testbed).join("endpoints.json");
        let text = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("no testbed: {}: {error}; start it with `make testbed-up`", path.display()));
        serde_json::from_slice(&text).expect("endpoints.json is of another version; run `make testbed-up`")
    }

    /// Name and storage of the on-site RSE.
    pub(crate) fn onsite(&self) -> (&str, &Storage) {
        self.rses.iter().find(|(_, storage)| storage.onsite).map(|(name, storage)| (name.as_str(), storage)).unwrap()
    }

    /// Starts or stops services of the testbed.
    pub(crate) fn ctl(&self, verb: &str, service: &str) {
        assert!(Command::new(&self.ctl).args([verb, service]).status().unwrap().success(), "ctl {verb} {service}");
    }
}

/// Directories that no run before has used, each a dataset, in the interface directory.
pub(crate) struct Night<'a> {
    root: &'a Path,
    instrument: String,
    content: Vec<u8>,
}

impl<'a> Night<'a> {
    /// Also removes what an aborted run may have left for the next daemon to find.
    pub(crate) fn new(stack: &'a Stack) -> Self {
        remove_old_triggers(&stack.onsite().1.directory.join("ctao/acada/dl0"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dl0");
        let subarray = std::fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path());
        let subarray = subarray.into_iter().find(|path| path.to_string_lossy().contains("_SUBARRAY_")).unwrap();
        Self {
            root: &stack.onsite().1.directory,
            instrument: format!("bench-{now}"),
            content: std::fs::read(subarray).unwrap(),
        }
    }

    /// The logical name of a file.
    pub(crate) fn lfn(&self, dataset: usize, number: usize) -> String {
        format!("/ctao/acada/dl0/{}/events/{dataset:03}/SUB001_CHUNK{number:05}.fits.fz", self.instrument)
    }

    /// The same in ACADA's tree: ten days of each telescope, with a container for each step of the way.
    pub(crate) fn lfn_in_tree(&self, dataset: usize, number: usize) -> String {
        let (telescope, day) = (dataset / 10, dataset % 10 + 1);
        let directory = format!("{}/LSTN-{telescope:02}/events/2026/01/{day:02}", self.instrument);
        format!("/ctao/acada/dl0/{directory}/SUB001_CHUNK{number:05}.fits.fz")
    }

    /// Writes a sound DL0 file, without its trigger. Every file has the same content: what counts is its name.
    pub(crate) fn write(&self, lfn: &str) {
        let path = self.path(lfn);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &self.content).unwrap();
    }

    /// Makes the trigger as ACADA does: a symlink to the bare name.
    pub(crate) fn trigger(&self, lfn: &str) {
        let path = self.path(lfn);
        let trigger = PathBuf::from(format!("{}.trigger", path.display()));
        std::os::unix::fs::symlink(path.file_name().unwrap(), trigger).unwrap();
    }

    /// The product metadata of these files.
    pub(crate) fn metadata(&self) -> serde_json::Value {
        let file = tempfile::NamedTempFile::with_suffix(".fits.fz").unwrap();
        std::fs::write(file.path(), &self.content).unwrap();
        let verify =
            Command::new(env!("CARGO_BIN_EXE_dl0-ingest")).args(["verify", "--json"]).arg(file.path()).output();
        let report: serde_json::Value = serde_json::from_slice(&verify.unwrap().stdout).unwrap();
        report["metadata"].clone()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.content.len()
    }

    fn path(&self, lfn: &str) -> PathBuf {
        self.root.join(lfn.trim_start_matches('/'))
    }
}

fn remove_old_triggers(instruments: &Path) {
    let instruments = std::fs::read_dir(instruments).into_iter().flatten().map(|entry| entry.unwrap());
    let ours = instruments.filter(|entry| entry.file_name().to_string_lossy().starts_with("bench-"));
    let mut directories: Vec<PathBuf> = ours.map(|entry| entry.path()).collect();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap()) {
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "trigger") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}
