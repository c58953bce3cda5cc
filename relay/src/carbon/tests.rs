mod delivery;
mod fake;
mod model;

use tokio::time::{sleep, timeout};

use super::*;
