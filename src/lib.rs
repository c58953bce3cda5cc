//! Brings Catchpoint synthetic-monitoring results into Graphite.
pub mod config;
