//! Why a storage did not say what was asked.

/// The storage did not say what was asked. URLs are shown without their query, which may hold a signature.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("{url} does not exist")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// The storage does not answer, or says that it cannot just now; the same question may be answered later.
    #[error("{url} cannot be examined just now: {reason}")]
    Transient {
        /// What was asked for.
        url: String,
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// What happened.
        reason: String,
    },
    /// The storage does not let us ask.
    #[error("{url} is refused with status {status}; the storage must let this host read without credentials")]
    Refused {
        /// What was asked for.
        url: String,
        /// The HTTP status: 401 or 403.
        status: u16,
    },
    /// The storage's certificate is not trusted, or it speaks no TLS.
    #[error("{url} cannot be trusted: {reason}")]
    Tls {
        /// What was asked for.
        url: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The answer makes no sense as an answer to a question for size and digest.
    #[error("{url} gives no usable answer: {reason}")]
    Protocol {
        /// What was asked for.
        url: String,
        /// The HTTP status, where that is what makes no sense.
        status: Option<u16>,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer cannot be true: the storage is not silent, and does not say what it has either.
    #[error("{url} contradicts itself: {reason}")]
    Contradictory {
        /// What was asked for.
        url: String,
        /// What cannot both be.
        reason: String,
    },
    /// The physical name is of a protocol that cannot be asked over HTTP.
    #[error("'{pfn}' cannot be asked over HTTP; the RSE needs a protocol davs, https, dav or http")]
    Unsupported {
        /// The physical name.
        pfn: String,
    },
    /// The client's own settings are of no use.
    #[error("{reason} (offsite.ca_file)")]
    Settings {
        /// What is wrong with them.
        reason: String,
    },
}

impl Error {
    /// In words that anybody may read: no URL, and so no name of a file.
    pub fn in_brief(&self) -> String {
        match self {
            Self::NotFound { .. } => "no such file".to_owned(),
            Self::Refused { status, .. } => format!("it does not let us ask (status {status})"),
            Self::Unsupported { .. } => "its RSE has no protocol davs, https, dav or http".to_owned(),
            Self::Transient { reason, .. }
            | Self::Tls { reason, .. }
            | Self::Protocol { reason, .. }
            | Self::Contradictory { reason, .. }
            | Self::Settings { reason } => reason.clone(),
        }
    }

    /// Whether the same question may be answered later without anybody changing it.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }
}
