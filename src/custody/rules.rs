//! How a rule of ours is found in Rucio.

/// Whether a rule that we rely on is as it was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RuleStanding {
    /// As it was placed.
    Sound,
    /// Rucio's transfers for it have failed; they are tried again sooner if it is boosted.
    Stuck,
    /// Somebody has stopped it, or Rucio has after two weeks of failures.
    Suspended,
    /// Somebody has given it an end.
    Ending,
    /// Somebody has removed it, or made it another account's.
    Gone,
}

impl RuleStanding {
    /// Whether it holds nothing any more, or soon will not.
    pub const fn is_ending(self) -> bool {
        matches!(self, Self::Ending | Self::Gone)
    }

    /// The word for it in logs and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
