//! ACADA at work: the files it delivers, and what they hold.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::e2e::stack::Stack;

/// A file that ACADA wrote and triggered.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) lfn: String,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) digest: blake3::Hash,
}

/// What has been delivered so far; grows while ACADA runs.
#[derive(Clone, Default)]
pub(crate) struct Deliveries(Arc<Mutex<Vec<Delivery>>>);

impl Deliveries {
    pub(crate) fn all(&self) -> Vec<Delivery> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Takes note of a file as it is on disk now.
    pub(crate) fn note(&self, stack: &Stack, path: &Path) -> Delivery {
        let delivery = Delivery {
            lfn: stack.lfn(path),
            path: path.to_owned(),
            bytes: path.metadata().unwrap().len(),
            digest: digest(path).unwrap(),
        };
        self.0.lock().unwrap().push(delivery.clone());
        delivery
    }
}

/// How much ACADA is to write; each observation gives three files per telescope and one of the subarray.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) observations: u32,
    pub(crate) telescopes: u32,
    /// Time over which the observations are spread, in seconds.
    pub(crate) seconds: u32,
    /// Size of an additional large file in MB, 0 for none.
    pub(crate) large: u32,
}

/// ACADA, running.
pub(crate) struct Acada {
    child: Child,
    reader: JoinHandle<()>,
}

impl Acada {
    /// Starts to write a night into the interface directory.
    pub(crate) fn start(stack: &Arc<Stack>, night: jiff::civil::Date, plan: &Plan, deliveries: &Deliveries) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/acada.py");
        let python = stack.python.clone().unwrap_or_else(|| "/usr/bin/python3".into());
        let mut child = Command::new(python)
            .args(["-B", script])
            .arg(stack.acada_base())
            .args(["--night", &night.to_string()])
            .args(["--observations", &plan.observations.to_string()])
            .args(["--telescopes", &plan.telescopes.to_string()])
            .args(["--seconds", &plan.seconds.to_string()])
            .args(["--large", &plan.large.to_string()])
            .stdout(Stdio::piped())
            // the mock logs a line per writer; without the mock there is one line that a reader of the test should see
            .stderr(if stack.python.is_some() { Stdio::null() } else { Stdio::inherit() })
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (stack, deliveries) = (Arc::clone(stack), deliveries.clone());
        let reader = std::thread::spawn(move || {
            for line in output.lines() {
                let announced: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
                deliveries.note(&stack, Path::new(announced["path"].as_str().unwrap()));
            }
        });
        Self { child, reader }
    }

    /// Waits until everything is written.
    pub(crate) fn finish(mut self) {
        assert!(self.child.wait().unwrap().success(), "ACADA did not write what it was asked to");
        self.reader.join().unwrap();
    }
}

/// One of the small real files of `fixtures/dl0`: `SHOWER`, `MUON` or `CAL`.
pub(crate) fn fixture(kind: &str) -> Vec<u8> {
    let name = format!("TEL001_SDH000_20260101T200000_SBID2000000456_OBSID2000000456_TEL_{kind}_CHUNK000.fits.fz");
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dl0").join(name)).unwrap()
}

/// The directory where one telescope's files of a night lie.
pub(crate) fn directory(stack: &Stack, night: jiff::civil::Date) -> PathBuf {
    stack.acada_base().join(night.strftime("dl0/LSTN-01/events/%Y/%m/%d").to_string())
}

/// Writes a file as another program than the mock would; the trigger is the caller's.
pub(crate) fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Where a file's trigger is.
pub(crate) fn trigger_of(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.trigger", path.display()))
}

/// Makes a file's trigger, as ACADA does: a symlink to the bare name.
pub(crate) fn pull_trigger(path: &Path) {
    std::os::unix::fs::symlink(path.file_name().unwrap(), trigger_of(path)).unwrap();
}

/// BLAKE3 of a file's bytes as they are now.
pub(crate) fn digest(path: &Path) -> std::io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path)?)?;
    Ok(hasher.finalize())
}
