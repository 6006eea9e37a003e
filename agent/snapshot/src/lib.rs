//! One node's saved state: text and JSON of standard commands to and from the model.
