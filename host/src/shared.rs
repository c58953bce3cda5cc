//! What all instances of an application share.

use crate::client::Client;
use crate::manifest::Manifest;
use crate::options::Options;
use crate::outbound::AllowedHosts;
use crate::stats::Stats;
use crate::store::Store;
use tokio_util::sync::CancellationToken;

/// What the imports of an instance work on, beside what is its own.
pub(crate) struct Shared {
    pub manifest: Manifest,
    pub options: Options,
    pub allowed: AllowedHosts,
    pub client: Client,
    pub store: Option<Store>,
    pub stats: Stats,
    /// Stops each instance at its next call to Catchpoint.
    pub stop_soon: CancellationToken,
    /// Stops all instances.
    pub stop_now: CancellationToken,
    /// Says that an instance computes without an end.
    pub left_behind: CancellationToken,
}
