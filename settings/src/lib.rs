//! What the component and the relay both need to read their settings.
//!
//! # Layout
//! - [`text`] reads a configuration file from disk and says why it cannot be read
//! - [`yaml`] turns its text into a typed struct, and finds every problem at once
//! - [`problem`] what is wrong, where, and what to write instead
//! - [`secret`] the type that credentials live in
//! - [`graphite`] the keys of `config_graphite.yaml`

pub mod graphite;
pub mod problem;
pub mod secret;
pub mod text;
pub mod yaml;
