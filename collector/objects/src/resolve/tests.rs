//! Questions as typed, and what becomes of them.
