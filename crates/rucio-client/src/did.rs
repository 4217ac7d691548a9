//! Names in Rucio.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A data identifier: scope and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Did {
    /// Scope, at most 25 characters.
    pub scope: String,
    /// Name within the scope, at most 250 characters. Many experiments let it begin with `/`.
    pub name: String,
}

impl Did {
    /// A DID from its two parts, unchecked.
    pub fn new(scope: impl Into<String>, name: impl Into<String>) -> Self {
        Self { scope: scope.into(), name: name.into() }
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scope, self.name)
    }
}

/// "a:b", or "a:b and 9 more".
pub(crate) fn several<'a>(dids: impl IntoIterator<Item = &'a Did>) -> String {
    let mut dids = dids.into_iter();
    let first = dids.next().map(ToString::to_string).unwrap_or_default();
    match dids.count() {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
