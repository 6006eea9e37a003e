//! The schema, its conversions and its JSON, from outside.

mod golden;
mod grpcurl;
mod round_trip;
mod samples;
mod schema;
mod strategies;
