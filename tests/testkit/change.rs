//! What somebody does to a file without delivering it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Each is noticed by something else: content, size, kind, inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Other content is written into it.
    Overwritten,
    /// Its end is cut off.
    Truncated,
    /// A symbolic link to the same content takes its place.
    Link,
    /// Another file with the same content takes its place.
    Replaced,
}

impl Change {
    pub(crate) const ALL: [Self; 4] = [Self::Overwritten, Self::Truncated, Self::Link, Self::Replaced];

    /// Does it to a file with this content, by way of a name `beside` it; gives what lies there then.
    pub(crate) fn happen(self, path: &Path, content: &[u8], other: &[u8], beside: &Path) -> Vec<u8> {
        let content = match self {
            Self::Overwritten => other,
            Self::Truncated => &content[..content.len() - 2880],
            Self::Link | Self::Replaced => content,
        };
        match self {
            // the same inode, and open for everybody to see
            Self::Overwritten | Self::Truncated => fs::write(path, content).unwrap(),
            Self::Link => {
                fs::write(beside, content).unwrap();
                let link = beside.with_extension("link");
                symlink(beside, &link).unwrap();
                fs::rename(link, path).unwrap();
            }
            Self::Replaced => {
                fs::write(beside, content).unwrap();
                fs::rename(beside, path).unwrap();
            }
        }
        content.to_vec()
    }
}
