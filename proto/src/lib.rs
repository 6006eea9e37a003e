//! The wire schema and its only translation to and from the model.
