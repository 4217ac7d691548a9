//! From a path below the data root to Rucio's names and back.
//!
//! The conventions are those of CTAO's Rucio policy package, and other CTAO software relies on them: the LFN is `/`
//! plus the path relative to the data root, the scope is the second component, the dataset is the parent directory,
//! and every ancestor from `/<vo>/<scope>/<x>` down to the grandparent is a container.

use std::fmt;
use std::path::{Path, PathBuf};

pub use rucio_client::Did;
use serde::Serialize;

/// Longest name Rucio's CTAO schema allows for a DID, in characters.
pub const NAME_MAX: usize = 250;
/// Longest scope, in characters.
pub const SCOPE_MAX: usize = 25;
/// What a trigger's name ends with.
pub const TRIGGER_SUFFIX: &str = ".trigger";
/// Directory below `/<vo>/<scope>/` that receives rejected files; never scanned.
pub const INVALID_DIRECTORY: &str = "invalid";

/// Why a path cannot become a DID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The path is not UTF-8, so it cannot be a DID.
    #[error("the name is not valid UTF-8; rename the file using letters, digits, '.', '_' and '-' only")]
    NotUtf8,
    /// A character outside `[/A-Za-z0-9._-]`, or a first character that is not a letter or digit.
    #[error(
        "character {character:?} at position {position} is not allowed in a DID; use letters, digits, '.', '_' and '-' only"
    )]
    Character {
        /// The offender.
        character: char,
        /// Its zero-based position in the LFN, in characters.
        position: usize,
    },
    /// The LFN is longer than Rucio's 250 characters.
    #[error("the LFN has {length} characters, Rucio allows {NAME_MAX}; shorten the directory or file name")]
    TooLong {
        /// Length of the LFN in characters.
        length: usize,
    },
    /// The scope derived from the path is longer than 25 characters.
    #[error("the scope '{scope}' has more than {SCOPE_MAX} characters")]
    ScopeTooLong {
        /// The scope as derived.
        scope: String,
    },
    /// An empty, `.` or `..` component.
    #[error("the path has an empty, '.' or '..' component")]
    Component,
    /// Too few directories: a file needs `/<vo>/<scope>/<dataset>/<file>`.
    #[error("the file lies too high in the tree; it needs at least /<vo>/<scope>/<directory>/<file>")]
    TooShallow,
}

/// `<vo>/<scope>/invalid` and everything below it.
pub fn is_invalid(path: &Path) -> bool {
    path.components().nth(2).is_some_and(|component| component.as_os_str() == INVALID_DIRECTORY)
}

/// A logical file name: `/` plus the path relative to the data root, valid as a DID's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Lfn(String);

impl Lfn {
    /// The LFN of a path relative to the data root.
    pub fn from_relative(path: &Path) -> Result<Self, NameError> {
        let text = path.to_str().ok_or(NameError::NotUtf8)?;
        Self::try_from(format!("/{text}").as_str())
    }

    /// The LFN as text, with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path below the data root.
    pub fn relative(&self) -> &Path {
        Path::new(&self.0[1..])
    }

    /// The scope: the second component; `/<vo>/user/<u>/…` has the scope `user.<u>`.
    pub fn scope(&self) -> String {
        scope_of(&self.0)
    }

    /// The DID of the file.
    pub fn did(&self) -> Did {
        Did::new(self.scope(), self.0.clone())
    }

    /// The dataset: the parent directory.
    pub fn dataset(&self) -> Did {
        Did::new(self.scope(), parent(&self.0))
    }

    /// The containers above the dataset, from the top down; each holds the next, the last holds the dataset.
    pub fn containers(&self) -> Vec<Did> {
        let scope = self.scope();
        // depth of `/<vo>/<scope>/<x>`, the topmost container; a user's tree lies two levels deeper
        let top = if scope.starts_with("user.") && self.0.split('/').nth(2) == Some("user") { 5 } else { 3 };
        let mut found = Vec::new();
        let mut name = parent(&parent(&self.0)).clone();
        while name.matches('/').count() >= top {
            found.push(Did::new(scope.clone(), name.clone()));
            name = parent(&name);
        }
        found.reverse();
        found
    }

    /// Where a rejected file goes, relative to the data root: `<vo>/<scope>/invalid/<rest>`.
    pub fn invalid_path(&self) -> PathBuf {
        let mut components = self.relative().components();
        let mut path = PathBuf::new();
        path.extend(components.by_ref().take(2));
        path.push(INVALID_DIRECTORY);
        path.extend(components);
        path
    }
}

impl TryFrom<&str> for Lfn {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        for (position, character) in text.chars().enumerate() {
            let allowed = match position {
                0 => character == '/',
                1 => character.is_ascii_alphanumeric(),
                _ => character.is_ascii_alphanumeric() || "/._-".contains(character),
            };
            if !allowed {
                return Err(NameError::Character { character, position });
            }
        }
        let length = text.chars().count();
        if length > NAME_MAX {
            return Err(NameError::TooLong { length });
        }
        let components: Vec<&str> = text.split('/').skip(1).collect();
        if components.iter().any(|c| matches!(*c, "" | "." | "..")) {
            return Err(NameError::Component);
        }
        if components.len() < 4 {
            return Err(NameError::TooShallow);
        }
        let scope = scope_of(text);
        if scope.len() > SCOPE_MAX {
            return Err(NameError::ScopeTooLong { scope });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Lfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parent(name: &str) -> String {
    name.rfind('/').map_or_else(String::new, |end| name[..end].to_owned())
}

fn scope_of(lfn: &str) -> String {
    let components: Vec<&str> = lfn.split('/').skip(1).collect();
    match components.as_slice() {
        [_, "user", user, _, ..] => format!("user.{user}"),
        [_, scope, ..] => (*scope).to_owned(),
        _ => "root".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lfn(text: &str) -> Lfn {
        Lfn::try_from(text).unwrap()
    }

    #[test]
    fn a_dl0_file_gets_the_names_of_the_policy_package() {
        let file = lfn("/ctao/acada/dl0/LSTN-01/events/2026/01/01/TEL001.fits.fz");
        assert_eq!(file.scope(), "acada");
        assert_eq!(file.dataset().name, "/ctao/acada/dl0/LSTN-01/events/2026/01/01");
        let containers: Vec<String> = file.containers().into_iter().map(|d| d.name).collect();
        assert_eq!(
            containers,
            [
                "/ctao/acada/dl0",
                "/ctao/acada/dl0/LSTN-01",
                "/ctao/acada/dl0/LSTN-01/events",
                "/ctao/acada/dl0/LSTN-01/events/2026",
                "/ctao/acada/dl0/LSTN-01/events/2026/01",
            ]
        );
        assert_eq!(file.invalid_path(), Path::new("ctao/acada/invalid/dl0/LSTN-01/events/2026/01/01/TEL001.fits.fz"));
    }

    #[test]
    fn a_file_directly_below_the_first_directory_has_a_dataset_and_no_container() {
        let file = lfn("/ctao/acada/dl0/a.fits");
        assert_eq!(file.dataset().name, "/ctao/acada/dl0");
        assert!(file.containers().is_empty());
    }

    #[test]
    fn what_a_did_cannot_carry_is_refused_with_the_place() {
        assert_eq!(
            Lfn::try_from("/ctao/acada/dl0/a b.fits"),
            Err(NameError::Character { character: ' ', position: 17 })
        );
        assert_eq!(Lfn::try_from("/.ctao/acada/dl0/a"), Err(NameError::Character { character: '.', position: 1 }));
        assert_eq!(Lfn::try_from("/ctao/acada/../x/a"), Err(NameError::Component));
        assert_eq!(Lfn::try_from("/ctao/acada/a.fits"), Err(NameError::TooShallow));
        let long = format!("/ctao/acada/dl0/{}", "a".repeat(NAME_MAX));
        assert_eq!(Lfn::try_from(long.as_str()), Err(NameError::TooLong { length: 266 }));
    }

    proptest! {
        #[test]
        fn no_input_panics_and_every_accepted_name_survives_the_way_back(text in "(/[a-zA-Z0-9 ._-]{0,8}){0,9}") {
            if let Ok(name) = Lfn::try_from(text.as_str()) {
                prop_assert_eq!(Lfn::from_relative(name.relative()).unwrap(), name.clone());
                prop_assert!(name.as_str().starts_with(&name.dataset().name));
                for pair in name.containers().windows(2) {
                    prop_assert_eq!(parent(&pair[1].name), pair[0].name.clone());
                }
            }
        }
    }
}
