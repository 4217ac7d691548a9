//! Kills at random moments, under load.
