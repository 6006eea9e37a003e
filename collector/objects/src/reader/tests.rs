//! Files and server objects, read and refused.
