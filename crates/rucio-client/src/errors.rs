//! What can go wrong with Rucio, and what waiting is good for: one table over Rucio's exception classes.
//!
//! Rucio's status codes say little: 401 is "log in again" and "never", 500 is a missing scope and a restarting
//! database. So an answer is judged by the class of the exception it carries, and by its status only where a proxy or
//! an unknown Rucio leaves nothing better.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What an error means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// No answer from Rucio: connection refused, name unknown, timeout, a proxy that cannot reach it.
    Unreachable,
    /// Rucio answered that it cannot just now: database trouble, overload.
    Transient,
    /// The credentials were refused.
    Login,
    /// The account lacks a right.
    Forbidden,
    /// The server's certificate is not trusted, or it speaks no TLS.
    Tls,
    /// The answer is not one of Rucio's.
    Protocol,
    /// Rucio itself says that the DID, rule, RSE, scope or account does not exist.
    NotFound,
    /// It exists already.
    AlreadyExists,
    /// The file is registered with another size or checksum.
    ConsistencyMismatch,
    /// Such a rule exists already on one of the DIDs; none was placed.
    DuplicateRule,
    /// Rucio refuses the request as it stands.
    Invalid,
    /// The operation is not possible on this DID or rule as it is: closed dataset, locked rule.
    Unsupported,
    /// The RSE expression is wrong, or matches too few RSEs that may be written to.
    NoTarget,
    /// A quota or a storage is full.
    Quota,
    /// Something still holds the replica.
    Locked,
    /// A metadata key that Rucio would misread; nothing was sent.
    UnsafeMetadataKey,
    /// What the caller had decided upon does not hold any more; nothing was sent by the attempt that found that out.
    Withheld,
    /// The client's own settings are of no use: CA file, URL, password.
    Settings,
}

impl Kind {
    /// A stable word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the error is about what was asked. If not, it is about the surroundings, would have met any other
    /// request as well, and is no reason to think ill of a file.
    pub fn blames_the_request(self) -> bool {
        match self {
            Self::NotFound
            | Self::AlreadyExists
            | Self::ConsistencyMismatch
            | Self::DuplicateRule
            | Self::Invalid
            | Self::Unsupported
            | Self::Locked
            | Self::UnsafeMetadataKey => true,
            Self::Unreachable
            | Self::Transient
            | Self::Login
            | Self::Forbidden
            | Self::Tls
            | Self::Protocol
            | Self::NoTarget
            | Self::Quota
            | Self::Withheld
            | Self::Settings => false,
        }
    }
}

/// What waiting is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// The same request may well pass within seconds: the client itself tries again, if repeating is safe.
    Soon,
    /// It may pass when something outside has changed: the caller tries again later.
    Later,
    /// It will fail again however often it is repeated.
    Never,
}

/// Rucio's exception classes. The order is that of the kinds.
const CLASSES: &[(&str, Kind, Outlook)] = {
    use Kind as K;
    use Outlook::{Later, Never, Soon};
    &[
        // trouble of the server, its database or its neighbours
        ("DatabaseException", K::Transient, Soon),
        // what Rucio wraps around any integrity error, such as two clients registering one new file at once
        ("RucioException", K::Transient, Soon),
        ("ServiceUnavailable", K::Transient, Soon),
        ("ResourceTemporaryUnavailable", K::Transient, Soon),
        ("ReplicationRuleCreationTemporaryFailed", K::Transient, Soon),
        ("ServerConnectionException", K::Transient, Soon),
        ("RSENotConnected", K::Transient, Later),
        ("MissingSourceReplica", K::Transient, Later),
        ("ReplicaUnAvailable", K::Transient, Later),
        // who we are
        ("CannotAuthenticate", K::Login, Never),
        ("CannotAuthorize", K::Login, Never),
        ("IdentityError", K::Login, Never),
        ("IdentityNotFound", K::Login, Never),
        ("NoAuthInformation", K::Login, Never),
        // what we may
        ("AccessDenied", K::Forbidden, Never),
        ("ScopeAccessDenied", K::Forbidden, Never),
        ("RSEAccessDenied", K::Forbidden, Never),
        ("ManualRuleApprovalBlocked", K::Forbidden, Never),
        // what is not there
        ("DataIdentifierNotFound", K::NotFound, Never),
        ("RuleNotFound", K::NotFound, Never),
        ("RSENotFound", K::NotFound, Never),
        ("RSEAttributeNotFound", K::NotFound, Never),
        ("ScopeNotFound", K::NotFound, Never),
        ("AccountNotFound", K::NotFound, Never),
        ("ReplicaNotFound", K::NotFound, Never),
        ("KeyNotFound", K::NotFound, Never),
        // what is there already
        ("DataIdentifierAlreadyExists", K::AlreadyExists, Never),
        ("Duplicate", K::AlreadyExists, Never),
        ("DuplicateContent", K::AlreadyExists, Never),
        ("FileAlreadyExists", K::AlreadyExists, Never),
        ("FileReplicaAlreadyExists", K::AlreadyExists, Never),
        ("FileConsistencyMismatch", K::ConsistencyMismatch, Never),
        ("DuplicateRule", K::DuplicateRule, Never),
        // what makes no sense to Rucio
        ("InvalidObject", K::Invalid, Never),
        ("InvalidMetadata", K::Invalid, Never),
        ("InvalidPath", K::Invalid, Never),
        ("InvalidType", K::Invalid, Never),
        ("InvalidValueForKey", K::Invalid, Never),
        ("InvalidRequest", K::Invalid, Never),
        ("InvalidReplicationRule", K::Invalid, Never),
        ("InvalidRuleWeight", K::Invalid, Never),
        ("InputValidationError", K::Invalid, Never),
        ("NameTypeError", K::Invalid, Never),
        ("UnsupportedDIDType", K::Invalid, Never),
        ("UnsupportedValueType", K::Invalid, Never),
        ("UnsupportedKeyType", K::Invalid, Never),
        ("UnsupportedMetadataPlugin", K::Invalid, Never),
        ("UnsupportedRequestedContentType", K::Invalid, Never),
        ("StagingAreaRuleRequiresLifetime", K::Invalid, Never),
        ("ScratchDiskLifetimeConflict", K::Invalid, Never),
        // Python's own, raised before Rucio looks at a request
        ("ValueError", K::Invalid, Never),
        ("KeyError", K::Invalid, Never),
        ("TypeError", K::Invalid, Never),
        // what cannot be done to this one, now
        ("UnsupportedOperation", K::Unsupported, Never),
        ("UnsupportedStatus", K::Unsupported, Never),
        ("RuleReplaceFailed", K::Unsupported, Never),
        // where to put it: operators block and unblock RSEs, so this heals
        ("InvalidRSEExpression", K::NoTarget, Later),
        ("InvalidSourceReplicaExpression", K::NoTarget, Later),
        ("InsufficientTargetRSEs", K::NoTarget, Later),
        ("RSEWriteBlocked", K::NoTarget, Later),
        ("InsufficientAccountLimit", K::Quota, Later),
        ("RSEOverQuota", K::Quota, Later),
        ("FullStorage", K::Quota, Later),
        ("ReplicaIsLocked", K::Locked, Later),
    ]
};

/// Judges an answer that is not a success.
///
/// Without a class the answer is not Rucio's own (a proxy, a wrong URL), so it proves nothing: above all a bare 404 is
/// not `NotFound`. An unknown class is taken for lasting only where the status blames the request, and never for proof
/// that something is absent.
pub(crate) fn classify(class: Option<&str>, status: u16) -> (Kind, Outlook) {
    let Some(class) = class else {
        return match status {
            502..=504 => (Kind::Unreachable, Outlook::Soon),
            408 | 429 | 500..=599 => (Kind::Transient, Outlook::Soon),
            300..=399 => (Kind::Protocol, Outlook::Never),
            _ => (Kind::Protocol, Outlook::Soon),
        };
    };
    match CLASSES.iter().find(|(name, ..)| *name == class) {
        Some(&(_, kind, outlook)) => (kind, outlook),
        None if matches!(status, 408 | 429 | 503) => (Kind::Transient, Outlook::Soon),
        None if status >= 500 => (Kind::Transient, Outlook::Later),
        None if matches!(status, 401 | 403) => (Kind::Forbidden, Outlook::Never),
        None => (Kind::Invalid, Outlook::Never),
    }
}

/// A call to Rucio failed. Cheap to clone; its text is for people and holds no secrets.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: Kind,
    outlook: Outlook,
    class: Option<String>,
    not_sent: bool,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: Kind, outlook: Outlook, message: String) -> Self {
        Self(Arc::new(Inner { kind, outlook, class: None, not_sent: false, message, source: None }))
    }

    /// An error of [`Kind::Settings`], for a [`Login`](crate::login::Login) whose credentials are of no use.
    pub fn of_settings(message: impl Into<String>) -> Self {
        Self::new(Kind::Settings, Outlook::Never, message.into())
    }

    /// Names the exception class that Rucio gave.
    pub(crate) fn with_class(self, class: Option<String>) -> Self {
        self.change(|inner| inner.class = class)
    }

    /// Records that the request never left this machine, so that repeating it is always safe.
    pub(crate) fn never_sent(self) -> Self {
        self.change(|inner| inner.not_sent = true)
    }

    /// Keeps what lies below, without its URL.
    pub(crate) fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.change(|inner| inner.source = Some(Box::new(source)))
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        // an error under construction has one owner
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }

    /// What the error means.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether the same call may succeed later without anybody changing the request.
    pub fn is_transient(&self) -> bool {
        self.0.outlook != Outlook::Never
    }

    /// Rucio's exception class, where the answer named one.
    pub fn class(&self) -> Option<&str> {
        self.0.class.as_deref()
    }

    pub(crate) fn outlook(&self) -> Outlook {
        self.0.outlook
    }

    pub(crate) fn is_not_sent(&self) -> bool {
        self.0.not_sent
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("outlook", &self.0.outlook)
            .field("class", &self.0.class)
            .field("message", &self.0.message)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Answers seen on a real Rucio 41.5.1 or read in its source: status, class, and what they mean to us.
    const SEEN: &[(u16, &str, Kind, bool)] = &[
        (400, "ValueError", Kind::Invalid, false),
        (400, "KeyError", Kind::Invalid, false),
        (400, "TypeError", Kind::Invalid, false),
        (401, "CannotAuthenticate", Kind::Login, false),
        (401, "CannotAuthorize", Kind::Login, false),
        (401, "IdentityError", Kind::Login, false),
        (401, "IdentityNotFound", Kind::Login, false),
        (401, "NoAuthInformation", Kind::Login, false),
        (401, "AccessDenied", Kind::Forbidden, false),
        (500, "AccessDenied", Kind::Forbidden, false),
        (401, "ScopeAccessDenied", Kind::Forbidden, false),
        (401, "RSEAccessDenied", Kind::Forbidden, false),
        (409, "ManualRuleApprovalBlocked", Kind::Forbidden, false),
        (400, "InvalidRSEExpression", Kind::NoTarget, true),
        (409, "InvalidRSEExpression", Kind::NoTarget, true),
        (500, "InvalidRSEExpression", Kind::NoTarget, true),
        (500, "InvalidSourceReplicaExpression", Kind::NoTarget, true),
        (409, "InsufficientTargetRSEs", Kind::NoTarget, true),
        (500, "RSEWriteBlocked", Kind::NoTarget, true),
        (409, "InsufficientAccountLimit", Kind::Quota, true),
        (500, "RSEOverQuota", Kind::Quota, true),
        (500, "FullStorage", Kind::Quota, true),
        (404, "RSENotFound", Kind::NotFound, false),
        (500, "RSENotFound", Kind::NotFound, false),
        (404, "RSEAttributeNotFound", Kind::NotFound, false),
        (404, "DataIdentifierNotFound", Kind::NotFound, false),
        (404, "RuleNotFound", Kind::NotFound, false),
        (404, "ScopeNotFound", Kind::NotFound, false),
        (500, "ScopeNotFound", Kind::NotFound, false),
        (404, "AccountNotFound", Kind::NotFound, false),
        (404, "ReplicaNotFound", Kind::NotFound, false),
        (404, "KeyNotFound", Kind::NotFound, false),
        (409, "Duplicate", Kind::AlreadyExists, false),
        (409, "DataIdentifierAlreadyExists", Kind::AlreadyExists, false),
        (409, "DuplicateContent", Kind::AlreadyExists, false),
        (409, "FileAlreadyExists", Kind::AlreadyExists, false),
        (409, "FileReplicaAlreadyExists", Kind::AlreadyExists, false),
        (412, "FileConsistencyMismatch", Kind::ConsistencyMismatch, false),
        (409, "DuplicateRule", Kind::DuplicateRule, false),
        (400, "InvalidObject", Kind::Invalid, false),
        (409, "InvalidObject", Kind::Invalid, false),
        (500, "InvalidObject", Kind::Invalid, false),
        (400, "InvalidMetadata", Kind::Invalid, false),
        (500, "InvalidMetadata", Kind::Invalid, false),
        (400, "InvalidPath", Kind::Invalid, false),
        (500, "InvalidType", Kind::Invalid, false),
        (400, "InvalidValueForKey", Kind::Invalid, false),
        (500, "InvalidRequest", Kind::Invalid, false),
        (409, "InvalidReplicationRule", Kind::Invalid, false),
        (409, "InvalidRuleWeight", Kind::Invalid, false),
        (409, "InputValidationError", Kind::Invalid, false),
        (500, "NameTypeError", Kind::Invalid, false),
        (500, "UnsupportedDIDType", Kind::Invalid, false),
        (500, "UnsupportedValueType", Kind::Invalid, false),
        (500, "UnsupportedKeyType", Kind::Invalid, false),
        (400, "UnsupportedMetadataPlugin", Kind::Invalid, false),
        (406, "UnsupportedRequestedContentType", Kind::Invalid, false),
        (409, "StagingAreaRuleRequiresLifetime", Kind::Invalid, false),
        (409, "ScratchDiskLifetimeConflict", Kind::Invalid, false),
        (409, "UnsupportedOperation", Kind::Unsupported, false),
        (401, "UnsupportedOperation", Kind::Unsupported, false),
        (409, "UnsupportedStatus", Kind::Unsupported, false),
        (409, "RuleReplaceFailed", Kind::Unsupported, false),
        (423, "ReplicaIsLocked", Kind::Locked, true),
        (500, "DatabaseException", Kind::Transient, true),
        (503, "DatabaseException", Kind::Transient, true),
        (500, "RucioException", Kind::Transient, true),
        (409, "ReplicationRuleCreationTemporaryFailed", Kind::Transient, true),
        (500, "ServiceUnavailable", Kind::Transient, true),
        (500, "ResourceTemporaryUnavailable", Kind::Transient, true),
        (500, "ServerConnectionException", Kind::Transient, true),
        (500, "RSENotConnected", Kind::Transient, true),
        (500, "MissingSourceReplica", Kind::Transient, true),
        (500, "ReplicaUnAvailable", Kind::Transient, true),
    ];

    #[test]
    fn every_answer_seen_means_what_it_should() {
        for &(status, class, kind, transient) in SEEN {
            let (found, outlook) = classify(Some(class), status);
            assert_eq!((found, outlook != Outlook::Never), (kind, transient), "{status} {class}");
        }
    }

    #[test]
    fn every_row_of_the_table_is_tested_and_stands_there_once() {
        let rows: BTreeSet<&str> = CLASSES.iter().map(|(class, ..)| *class).collect();
        let tested: BTreeSet<&str> = SEEN.iter().map(|(_, class, ..)| *class).collect();
        assert_eq!(rows, tested);
        assert_eq!(rows.len(), CLASSES.len());
    }

    #[test]
    fn the_status_does_not_matter_where_the_class_is_known() {
        for &(class, kind, outlook) in CLASSES {
            for status in [200, 302, 400, 401, 404, 409, 429, 500, 503] {
                assert_eq!(classify(Some(class), status), (kind, outlook), "{status} {class}");
            }
        }
    }

    #[test]
    fn an_unknown_class_is_neither_proof_of_absence_nor_given_up_when_the_server_is_at_fault() {
        for (status, expected) in [
            (400, (Kind::Invalid, Outlook::Never)),
            (401, (Kind::Forbidden, Outlook::Never)),
            (404, (Kind::Invalid, Outlook::Never)),
            (429, (Kind::Transient, Outlook::Soon)),
            (500, (Kind::Transient, Outlook::Later)),
            (503, (Kind::Transient, Outlook::Soon)),
        ] {
            assert_eq!(classify(Some("NeverHeardOf"), status), expected, "{status}");
        }
    }

    #[test]
    fn an_answer_without_a_class_is_not_rucios() {
        for (status, expected) in [
            (302, (Kind::Protocol, Outlook::Never)),
            (400, (Kind::Protocol, Outlook::Soon)),
            (404, (Kind::Protocol, Outlook::Soon)),
            (429, (Kind::Transient, Outlook::Soon)),
            (500, (Kind::Transient, Outlook::Soon)),
            (502, (Kind::Unreachable, Outlook::Soon)),
            (504, (Kind::Unreachable, Outlook::Soon)),
        ] {
            assert_eq!(classify(None, status), expected, "{status}");
        }
    }

    #[test]
    fn an_error_keeps_what_it_was_given() {
        let error = Error::new(Kind::Invalid, Outlook::Never, "no".into())
            .with_class(Some("InvalidObject".into()))
            .with_source(std::io::Error::other("below"))
            .never_sent();
        let copy = error.clone();
        assert_eq!((copy.kind(), copy.class(), copy.is_transient()), (Kind::Invalid, Some("InvalidObject"), false));
        assert!(copy.is_not_sent());
        assert_eq!(copy.source().map(ToString::to_string).as_deref(), Some("below"));
        assert_eq!(copy.to_string(), "no");
    }
}
