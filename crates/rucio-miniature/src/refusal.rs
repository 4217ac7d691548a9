//! What Rucio refuses, and under which name.
//!
//! The class is the part a client may rely on. The status is not a property of the class: Rucio's views each translate
//! some classes and let the rest become 500, so `Endpoint::status_of` decides.

/// Rucio's exception classes, as far as the miniature server raises them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
pub(crate) enum Class {
    AccessDenied,
    AccountNotFound,
    CannotAuthenticate,
    DataIdentifierAlreadyExists,
    DataIdentifierNotFound,
    DatabaseException,
    DuplicateContent,
    DuplicateRule,
    FileAlreadyExists,
    FileConsistencyMismatch,
    InputValidationError,
    InsufficientAccountLimit,
    #[strum(serialize = "InsufficientTargetRSEs")]
    InsufficientTargetRses,
    InvalidMetadata,
    InvalidObject,
    #[strum(serialize = "InvalidRSEExpression")]
    InvalidRseExpression,
    InvalidValueForKey,
    /// No class at all: Python's own exception reached the web framework.
    #[strum(serialize = "")]
    Internal,
    KeyError,
    #[strum(serialize = "RSENotFound")]
    RseNotFound,
    RucioException,
    RuleNotFound,
    ScopeNotFound,
    TypeError,
    UnsupportedMetadataPlugin,
    UnsupportedOperation,
    ValueError,
}

impl Class {
    /// The name Rucio puts into `ExceptionClass`.
    pub(crate) fn name(self) -> &'static str {
        self.into()
    }
}

/// One refusal: the class and the words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .class.name())]
pub(crate) struct Refusal {
    pub(crate) class: Class,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }
}

/// `Err` with a refusal, for `return refuse(…)`.
pub(crate) fn refuse<T>(class: Class, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(class, message))
}
