//! Wire ↔ model, the only place where either is turned into the other.
//!
//! Model to wire never fails. Wire to model fails with the path of the field at fault: the other side may be older,
//! newer or hostile, so sizes are bounded too. Nothing is judged here.

mod agent;
mod drop_record;
mod explanation;
mod flow;
mod node;
mod probe;
mod read;
mod walk;

use thiserror::Error;

pub use agent::{apply_status, status};
pub use drop_record::{drop_record, drop_to_model, drops_to_model};
pub use explanation::{explanation, rule};
pub use node::{DropNames, list_drop, node};
pub use probe::{ProbeReply, probe, probe_answer, probe_answer_to_model, probe_to_model};
pub use walk::{walk, walk_to_model};

/// A message that cannot be turned into the model.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConvertError {
    /// A field that must be there is not.
    #[error("{path}: missing")]
    Missing {
        /// Path of the field, in the schema's names.
        path: String,
    },
    /// An enum value that this version does not know, or UNSPECIFIED.
    #[error("{path}: unknown value {value}")]
    UnknownValue {
        /// Path of the field.
        path: String,
        /// The number sent.
        value: i32,
    },
    /// A port above 65535.
    #[error("{path}: {value} is no port")]
    NotAPort {
        /// Path of the field.
        path: String,
        /// The number sent.
        value: u32,
    },
    /// An address that is neither 4 nor 16 bytes long.
    #[error("{path}: an address has 4 or 16 bytes, not {len}")]
    NotAnAddress {
        /// Path of the field.
        path: String,
        /// Its length.
        len: usize,
    },
    /// A text longer than anything a well-behaved peer sends.
    #[error("{path}: text of {len} bytes; at most {max} are taken")]
    TextTooLong {
        /// Path of the field.
        path: String,
        /// Its length in bytes.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// A list longer than anything a well-behaved peer sends.
    #[error("{path}: list of {len}; at most {max} are taken")]
    ListTooLong {
        /// Path of the field.
        path: String,
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// A list that must have an item has none.
    #[error("{path}: empty")]
    Empty {
        /// Path of the field.
        path: String,
    },
}

impl ConvertError {
    /// The path of the field at fault.
    pub fn path(&self) -> &str {
        match self {
            Self::Missing { path }
            | Self::UnknownValue { path, .. }
            | Self::NotAPort { path, .. }
            | Self::NotAnAddress { path, .. }
            | Self::TextTooLong { path, .. }
            | Self::ListTooLong { path, .. }
            | Self::Empty { path } => path,
        }
    }

    /// The same error seen from the message that holds `field`.
    fn within(mut self, field: &str) -> Self {
        let (Self::Missing { path }
        | Self::UnknownValue { path, .. }
        | Self::NotAPort { path, .. }
        | Self::NotAnAddress { path, .. }
        | Self::TextTooLong { path, .. }
        | Self::ListTooLong { path, .. }
        | Self::Empty { path }) = &mut self;
        let joint = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        *path = format!("{field}{joint}{path}");
        self
    }
}
