//! Sizes of the format, and the limits within which a file is walked.

/// Length of a FITS block in bytes: headers and data units are multiples of it (section 3.1).
pub const BLOCK: usize = 2880;
/// Length of a header card in bytes (section 4.1).
pub const CARD: usize = 80;
/// Longest header that is read, in bytes. Those in use are far shorter; a header without END must not fill the memory.
pub const HEADER_MAX: usize = 2880 * 2912;
/// Most findings that are listed of all headers of a file, rejections and warnings each.
pub const FINDINGS_MAX: usize = 1000;
/// Most HDUs that are walked in one file.
pub const HDUS_MAX: usize = 65_536;
