//! Catchpoint's API: one page at a time, inside its limits, asked for again where that helps.
//!
//! A call returns its outcome and changes nothing of its caller. This is how a run uses it:
//!
//! ```text
//! let mut next = None;
//! loop {
//!     let fetched = client.fetch_page(&query, next.as_ref())?; // CallError::class: what to do
//!     let mut lines = fetched.page.lines(&settings.graphite, test_type);
//!     loop {
//!         let more = lines.fill(&mut batch, batch_bytes);
//!         relay.post(&batch)?;
//!         batch.clear();
//!         if !more { break }
//!     }
//!     match fetched.next {
//!         Some(page) => next = Some(page),
//!         None => break, // all of `Query::covered` is in the relay
//!     }
//! }
//! ```
//!
//! # Layout
//! In the order of the data's way:
//! - [`query`] what is asked, and its address
//! - [`client`] the calls: [`token`] v1's bearer token, [`budget`] the API's limits, [`rate_limit`]
//!   what a 429 states
//! - [`error`] why a call brought no data, and what to do: the table of failures; [`complaint`] the
//!   words of an answer for it
//! - [`body`] reading an answer into memory
//! - [`v1`], [`v2`] the forms of the two versions, read into one [`answer`] with its rows;
//!   [`time_zone`] their times; [`lenient`] single values in whatever form
//! - [`page`] a page and its lines; [`paging`] where the next one is
//! - [`test_list`] which tests there are
//! - [`webhook`] what Catchpoint pushes, as lines

pub mod answer;
pub mod body;
pub mod budget;
pub mod client;
pub mod complaint;
pub mod error;
pub mod lenient;
pub mod page;
pub mod paging;
pub mod query;
pub mod rate_limit;
pub mod test_list;
pub mod time_zone;
pub mod token;
pub mod v1;
pub mod v2;
pub mod webhook;

pub use client::{Client, Fetched};
pub use error::CallError;
pub use page::{Counts, Page};
pub use paging::NextPage;
pub use query::Query;
