//! Points in time as the evidence carries them: milliseconds since the Unix epoch, from the node's or collector's clock.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// How long before `later` this point lies, in milliseconds; 0 if it lies after it (clocks of two nodes differ).
    pub fn age_ms(self, later: Self) -> u64 {
        later.0.saturating_sub(self.0)
    }

    /// The point `ms` milliseconds earlier, never before the epoch.
    #[must_use]
    pub fn minus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
}
