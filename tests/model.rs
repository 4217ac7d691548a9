//! The custody protocol as a model. By itself, so that a change to the decisions has its answer soon, and a mutant of them too.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod custody_model;
