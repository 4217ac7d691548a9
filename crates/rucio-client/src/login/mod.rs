//! Ways to log in, one file for each.
//!
//! A further one is a file beside `userpass.rs` with a type that implements [`Login`], and a line here; nothing else
//! knows which ways there are. An application can bring its own.

mod method;
mod secret;
mod userpass;

pub use method::Login;
pub(crate) use method::header_value;
pub use reqwest::header::HeaderMap;
pub use secret::Secret;
pub use userpass::Userpass;
