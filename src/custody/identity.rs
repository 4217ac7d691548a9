//! Which file on disk is meant.

/// What identifies one delivery of a file on disk. Inode numbers are reused, so all parts count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileIdentity {
    /// Size in bytes.
    pub bytes: u64,
    /// Last modification, nanoseconds since 1970 UTC.
    pub mtime_ns: i64,
    /// Inode number.
    pub inode: u64,
}
