//! Judging one trigger: is it sound, early, or a mistake, and which.

use std::path::{Component, Path, PathBuf};

use rustix::fs::FileType;

use crate::datadir::{self, DataDir, identity, mtime_ns};
use crate::ledger::{Delivery, now};
use crate::names::{Lfn, NameError, TRIGGER_SUFFIX};

/// What a trigger is.
#[derive(Debug)]
pub enum Verdict {
    /// It announces this file.
    Sound(Delivery),
    /// It is right, its data file is not there yet.
    Early,
    /// It cannot be taken.
    Wrong(Mistake),
    /// It is gone.
    Gone,
}

/// A mistake that people and programs really make with triggers; each has its own code and remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A file named just `.trigger`.
    #[error("its name is just '.trigger', so it names no file; remove it and make '<file>.trigger'")]
    Bare,
    /// A directory.
    #[error("it is a directory; a trigger is a symbolic link (or an empty file) beside its data file")]
    Directory,
    /// A FIFO, socket or device.
    #[error("it is neither a symbolic link nor a plain file; replace it by a link to its data file")]
    Special,
    /// A link to something else than the file it is named after.
    #[error("it points at '{target}', but its name announces '{expected}'; make it point at the file beside it")]
    Elsewhere {
        /// As written in the link.
        target: String,
        /// The file it is named after.
        expected: String,
    },
    /// A link that leads outside the data directory.
    #[error("it points at '{target}', outside the data directory; only files inside can be ingested")]
    Outside {
        /// As written in the link.
        target: String,
    },
    /// The data file has not come.
    #[error(
        "its data file '{expected}' does not exist; deliver the file (it is then taken at once) or remove the trigger"
    )]
    Dangling {
        /// The file it is named after.
        expected: String,
    },
    /// The data "file" is a directory, link, FIFO, …
    #[error("{0}")]
    Data(String),
    /// The name cannot be a DID.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Mistake {
    /// A stable code, kebab-case; also the label of the metric.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bare => "bare-trigger",
            Self::Directory => "trigger-is-directory",
            Self::Special => "trigger-is-special",
            Self::Elsewhere { .. } => "points-elsewhere",
            Self::Outside { .. } => "points-outside",
            Self::Dangling { .. } => "dangling",
            Self::Data(_) => "data-not-a-file",
            Self::Name(NameError::TooLong { .. }) => "name-too-long",
            Self::Name(_) => "name-not-allowed",
        }
    }
}

/// A verdict and what it rests on: as long as the signature is the same, so is the verdict.
#[derive(Debug)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// Changes when the trigger or its data file changes.
    pub signature: String,
}

/// The data file a trigger is named after, if it is named like a trigger at all.
pub fn announced(trigger: &Path) -> Option<PathBuf> {
    let name = trigger.file_name()?.as_encoded_bytes().strip_suffix(TRIGGER_SUFFIX.as_bytes())?;
    let name = std::str::from_utf8(name).ok()?;
    Some(trigger.with_file_name(name))
}

/// Whether a file name is that of a trigger.
pub fn is_trigger(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().ends_with(TRIGGER_SUFFIX.as_bytes())
}

/// Judges the trigger at a path relative to the data root.
pub fn judge(data: &DataDir, trigger: &Path) -> Result<Judged, datadir::Error> {
    let Some(stat) = data.stat(trigger)? else {
        return Ok(Judged { verdict: Verdict::Gone, signature: String::new() });
    };
    let mut signature = format!("{:o}/{}/{}", stat.st_mode, mtime_ns(&stat), stat.st_ino);
    let kind = FileType::from_raw_mode(stat.st_mode);
    let target = if kind == FileType::Symlink { Some(data.link_target(trigger)?) } else { None };
    let verdict = match verdict(data, trigger, kind, target.as_deref(), &mut signature) {
        Ok(verdict) => verdict,
        Err(Trouble::Mistake(mistake)) => Verdict::Wrong(mistake),
        Err(Trouble::Disk(error)) => return Err(error),
    };
    Ok(Judged { verdict, signature })
}

enum Trouble {
    Mistake(Mistake),
    Disk(datadir::Error),
}

impl<E: Into<Mistake>> From<E> for Trouble {
    fn from(mistake: E) -> Self {
        Self::Mistake(mistake.into())
    }
}

fn verdict(
    data: &DataDir,
    trigger: &Path,
    kind: FileType,
    target: Option<&Path>,
    signature: &mut String,
) -> Result<Verdict, Trouble> {
    match kind {
        FileType::Directory => return Err(Mistake::Directory.into()),
        FileType::Symlink | FileType::RegularFile => {}
        _ => return Err(Mistake::Special.into()),
    }
    let file = announced(trigger).ok_or(NameError::NotUtf8)?;
    if trigger.file_name().is_some_and(|name| name == TRIGGER_SUFFIX) {
        return Err(Mistake::Bare.into());
    }
    if let Some(target) = target {
        signature.push('/');
        signature.push_str(&target.to_string_lossy());
        check_target(data, trigger, &file, target)?;
    }
    let lfn = Lfn::from_relative(&file)?;
    let seen_at = now();
    match data.stat(&file).map_err(Trouble::Disk)? {
        None => Ok(Verdict::Early),
        Some(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let identity = identity(&stat);
                *signature = format!("{signature}/{}/{}/{}", identity.bytes, identity.mtime_ns, identity.inode);
                Ok(Verdict::Sound(Delivery { lfn, identity, seen_at }))
            }
            other => Err(Mistake::Data(format!(
                "its data file '{}' is a {}, not a plain file; deliver the file itself",
                file.display(),
                describe(other)
            ))
            .into()),
        },
    }
}

/// A link must lead to the file beside it that it is named after: relative, absolute, or by another mount of the same tree.
fn check_target(data: &DataDir, trigger: &Path, file: &Path, target: &Path) -> Result<(), Mistake> {
    let directory = data.absolute(trigger.parent().unwrap_or(Path::new("")));
    let expected = data.absolute(file);
    let named = lexical(&directory.join(target));
    if named == lexical(&expected) || same_file(&named, &expected) {
        return Ok(());
    }
    let shown = target.display().to_string();
    let inside =
        named.starts_with(lexical(data.root())) || data.root().canonicalize().is_ok_and(|root| named.starts_with(root));
    if inside {
        let expected = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Err(Mistake::Elsewhere { target: shown, expected })
    } else {
        Err(Mistake::Outside { target: shown })
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (std::fs::symlink_metadata(a), std::fs::symlink_metadata(b)) {
        (Ok(a), Ok(b)) => a.dev() == b.dev() && a.ino() == b.ino(),
        // the file may not be there yet: compare the directories instead
        _ => match (a.parent(), b.parent()) {
            (Some(x), Some(y)) => {
                a.file_name() == b.file_name() && x.canonicalize().ok() == y.canonicalize().ok() && x.exists()
            }
            _ => false,
        },
    }
}

/// `.` and `..` resolved by name alone, without asking the file system.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        _ => "device",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const DAY: &str = "ctao/acada/dl0/LST/events/2026/01/01";

    struct Tree {
        root: tempfile::TempDir,
        data: DataDir,
    }

    impl Tree {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir_all(root.path().join(DAY)).unwrap();
            let data = DataDir::new(root.path(), "ctao");
            Self { root, data }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.root.path().join(DAY).join(name)
        }

        fn verdict(&self, name: &str) -> String {
            match judge(&self.data, &Path::new(DAY).join(name)).unwrap().verdict {
                Verdict::Sound(delivery) => format!("sound {}", delivery.identity.bytes),
                Verdict::Early => "early".to_owned(),
                Verdict::Gone => "gone".to_owned(),
                Verdict::Wrong(mistake) => mistake.code().to_owned(),
            }
        }
    }

    #[test]
    fn relative_absolute_and_plain_triggers_are_sound() {
        let tree = Tree::new();
        for name in ["relative", "absolute", "plain", "dotted"] {
            fs::write(tree.path(name), "12345").unwrap();
        }
        symlink("relative", tree.path("relative.trigger")).unwrap();
        symlink(tree.path("absolute"), tree.path("absolute.trigger")).unwrap();
        fs::write(tree.path("plain.trigger"), "").unwrap();
        symlink("./../01/dotted", tree.path("dotted.trigger")).unwrap();
        for name in ["relative", "absolute", "plain", "dotted"] {
            assert_eq!(tree.verdict(&format!("{name}.trigger")), "sound 5", "{name}");
        }
    }

    #[test]
    fn a_trigger_by_another_path_to_the_same_tree_is_sound() {
        let tree = Tree::new();
        let mount = tempfile::tempdir().unwrap();
        let alias = mount.path().join("alias");
        symlink(tree.root.path(), &alias).unwrap();
        fs::write(tree.path("a"), "12345").unwrap();
        symlink(alias.join(DAY).join("a"), tree.path("a.trigger")).unwrap();
        assert_eq!(tree.verdict("a.trigger"), "sound 5");
        symlink(alias.join(DAY).join("b"), tree.path("b.trigger")).unwrap();
        assert_eq!(tree.verdict("b.trigger"), "early");
    }

    #[test]
    fn a_trigger_before_its_data_is_early_and_then_sound() {
        let tree = Tree::new();
        assert_eq!(tree.verdict("a.trigger"), "gone");
        symlink("a", tree.path("a.trigger")).unwrap();
        assert_eq!(tree.verdict("a.trigger"), "early");
        fs::write(tree.path("a"), "1").unwrap();
        assert_eq!(tree.verdict("a.trigger"), "sound 1");
    }

    #[test]
    fn each_mistake_has_its_own_reason() {
        let tree = Tree::new();
        fs::write(tree.path("a"), "1").unwrap();
        symlink("a", tree.path(".trigger")).unwrap();
        fs::create_dir(tree.path("directory.trigger")).unwrap();
        symlink("a", tree.path("b.trigger")).unwrap();
        symlink("/etc/passwd", tree.path("c.trigger")).unwrap();
        symlink("../../../../../../../../../../../x", tree.path("d.trigger")).unwrap();
        fs::write(tree.path("sp ace"), "1").unwrap();
        symlink("sp ace", tree.path("sp ace.trigger")).unwrap();
        let long = "n".repeat(230);
        fs::write(tree.path(&long), "1").unwrap();
        symlink(&long, tree.path(&format!("{long}.trigger"))).unwrap();
        fs::create_dir(tree.path("dir")).unwrap();
        symlink("dir", tree.path("dir.trigger")).unwrap();
        symlink("a", tree.path("link")).unwrap();
        symlink("link", tree.path("link.trigger")).unwrap();
        let fifo = tree.path("fifo.trigger");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let long_trigger = format!("{long}.trigger");
        let judged: Vec<(&str, String)> = [
            ".trigger",
            "directory.trigger",
            "fifo.trigger",
            "b.trigger",
            "c.trigger",
            "d.trigger",
            "sp ace.trigger",
            &long_trigger,
            "dir.trigger",
            "link.trigger",
        ]
        .into_iter()
        .map(|name| (name, tree.verdict(name)))
        .collect();
        let codes: Vec<&str> = judged.iter().map(|(_, code)| code.as_str()).collect();
        assert_eq!(
            codes,
            [
                "bare-trigger",
                "trigger-is-directory",
                "trigger-is-special",
                "points-elsewhere",
                "points-outside",
                "points-outside",
                "name-not-allowed",
                "name-too-long",
                "data-not-a-file",
                "data-not-a-file",
            ]
        );
    }

    #[test]
    fn the_signature_changes_with_the_trigger_and_with_its_file() {
        let tree = Tree::new();
        let signature = |tree: &Tree| judge(&tree.data, &Path::new(DAY).join("a.trigger")).unwrap().signature;
        fs::write(tree.path("a"), "1").unwrap();
        symlink("a", tree.path("a.trigger")).unwrap();
        let first = signature(&tree);
        assert_eq!(signature(&tree), first);
        fs::write(tree.path("a"), "12").unwrap();
        let second = signature(&tree);
        assert_ne!(second, first);
        fs::remove_file(tree.path("a.trigger")).unwrap();
        symlink("./a", tree.path("a.trigger")).unwrap();
        assert_ne!(signature(&tree), second);
    }
}
