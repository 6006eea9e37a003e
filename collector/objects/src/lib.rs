//! Turns Kubernetes objects as text or API values into the model, and names into questions about them.
//!
//! It judges nothing: what an object does to a connection is the business of `policy` and `diagnose`. It opens no
//! file and no socket; callers hand in text.

#![forbid(unsafe_code)]

pub mod intent;
mod names;
pub mod nearest;
mod problem;
mod read;
mod reader;
pub mod resolve;
mod text;
pub mod view;

pub use problem::{Refusal, Warning};
pub use reader::{Object, ReadObjects, Reader, api_changed_at, from_api, insert};
pub use text::{Document, Fault, documents};
