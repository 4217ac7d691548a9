//! Columns whose text is the name of one of a few things.

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Sqlite, Type};

use crate::custody::State;
use crate::custody::settling::Cause;

/// How it is known that the on-site rule has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum EndOfRule {
    /// Rucio has answered our request.
    Answered,
    /// It was found ended: by a request of ours whose answer was lost, or by somebody else.
    Found,
}

impl EndOfRule {
    /// The name used in the ledger.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Answered, Self::Found].into_iter().find(|end| end.as_str() == name)
    }
}

/// Reads such a column; a name that this version does not know is an error.
macro_rules! named_column {
    ($type:ty, $what:literal) => {
        impl Type<Sqlite> for $type {
            fn type_info() -> SqliteTypeInfo {
                <str as Type<Sqlite>>::type_info()
            }

            fn compatible(found: &SqliteTypeInfo) -> bool {
                <str as Type<Sqlite>>::compatible(found)
            }
        }

        impl<'r> Decode<'r, Sqlite> for $type {
            fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
                let name = <&str as Decode<'r, Sqlite>>::decode(value)?;
                Self::parse(name).ok_or_else(|| format!("unknown {} '{name}'", $what).into())
            }
        }
    };
}

named_column!(State, "state");
named_column!(EndOfRule, "end of a rule");
named_column!(Cause, "reason of a dataset that is not settled");
