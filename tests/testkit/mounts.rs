//! File systems of the tests' own, gone with their values.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a program of the system; what it says on standard output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}; these tests need root and Debian"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}; these tests must run as root and be allowed to mount",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Something mounted.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// A file system in memory.
    pub(crate) fn memory(at: &Path, size: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "tmpfs", text(at)]);
        Self(at.to_owned())
    }

    /// A directory or a file seen at another place as well.
    pub(crate) fn again(source: &Path, at: &Path) -> Self {
        run("mount", &["--bind", text(source), text(at)]);
        Self(at.to_owned())
    }

    /// Leaves no block free until the value is dropped.
    pub(crate) fn fill(&self) -> Ballast {
        let path = self.0.join("ballast");
        let full = fs::write(&path, vec![1; 64 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        Ballast(path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // lazily: a daemon whose test failed may still be using it
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// What fills a disk.
pub(crate) struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Bytes per block of a [`Disk`].
const BLOCK: u64 = 4096;

/// A disk that can become unreadable: ext4 on a loop device over a file. Where the file has been cut off, the kernel answers
/// a read of the device with EIO, as from a real disk.
pub(crate) struct Disk {
    image: PathBuf,
    device: String,
    at: PathBuf,
    mount: Option<Mount>,
}

impl Disk {
    pub(crate) fn new(image: &Path, at: &Path) -> Self {
        let file = fs::File::create(image).unwrap();
        file.set_len(32 << 20).unwrap();
        // one group of blocks: what belongs to the file system itself lies before what was written last
        run("mkfs.ext4", &["-q", "-F", "-O", "^has_journal,^metadata_csum", "-b", &BLOCK.to_string(), text(image)]);
        let device = run("losetup", &["--find", "--show", text(image)]).trim().to_owned();
        let mut disk = Self { image: image.to_owned(), device, at: at.to_owned(), mount: None };
        disk.mount();
        disk
    }

    fn mount(&mut self) {
        run("mount", &[&self.device, text(&self.at)]);
        self.mount = Some(Mount(self.at.clone()));
    }

    /// The last block of a file becomes unreadable. What the returned value keeps brings it back.
    pub(crate) fn damage(&mut self, file: &Path) -> Lost {
        run("sync", &["--file-system", text(&self.at)]);
        let inside = format!("/{}", file.display());
        let blocks = run("debugfs", &["-R", &format!("blocks {inside}"), text(&self.image)]);
        let last: u64 = blocks.split_whitespace().map(|block| block.parse().unwrap()).max().unwrap();
        // the page cache forgets what it has read with the file system
        run("umount", &[text(&self.at)]);
        let image = fs::File::options().read(true).write(true).open(&self.image).unwrap();
        let from = last * BLOCK;
        let mut bytes = vec![0; usize::try_from(image.metadata().unwrap().len() - from).unwrap()];
        image.read_exact_at(&mut bytes, from).unwrap();
        image.set_len(from).unwrap();
        drop(self.mount.take());
        self.mount();
        Lost { image, from, bytes }
    }
}

/// A disk that can lose its power: ext4 with its journal on a loop device over a file.
pub(crate) struct PowerDisk {
    device: String,
    at: PathBuf,
}

/// Ends a file system where it stands: neither data nor the journal are written any more (`EXT4_IOC_SHUTDOWN` with
/// `NOLOGFLUSH`; an ioctl by Python, since it would be unsafe code here).
const SHUT_DOWN: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

impl PowerDisk {
    pub(crate) fn new(image: &Path, at: &Path) -> Self {
        fs::File::create(image).unwrap().set_len(64 << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", text(image)]);
        let device = run("losetup", &["--find", "--show", text(image)]).trim().to_owned();
        let disk = Self { device, at: at.to_owned() };
        disk.power_on();
        disk
    }

    /// What was not synced is lost. Whoever still uses it gets errors.
    pub(crate) fn cut_power(&self) {
        run("python3", &["-c", SHUT_DOWN, text(&self.at)]);
    }

    /// Whether nobody uses it any more; it is then away.
    pub(crate) fn is_away(&self) -> bool {
        Command::new("umount").arg(&self.at).output().unwrap().status.success()
    }

    pub(crate) fn power_on(&self) {
        run("mount", &[&self.device, text(&self.at)]);
    }
}

impl Drop for PowerDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.mount.take());
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

/// The end of a disk.
pub(crate) struct Lost {
    image: fs::File,
    from: u64,
    bytes: Vec<u8>,
}

impl Lost {
    pub(crate) fn give_back(self) {
        self.image.write_all_at(&self.bytes, self.from).unwrap();
    }
}
