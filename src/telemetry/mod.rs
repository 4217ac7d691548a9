//! What the daemon tells about itself: logs, metrics, health, and the endpoint that serves them.
//!
//! Everything may use this room; it uses nothing of ours.

pub mod health;
pub mod http;
pub mod human;
pub mod logs;
pub mod metrics;
mod process;

pub use health::Health;
pub use metrics::Metrics;
