//! The store from outside: what is kept, found, given up, and what survives being killed.

mod budgets;
mod crash;
mod damage;
mod queries;
mod samples;
