mod delivery;
mod fake;
mod faults;
mod model;

use tokio::time::{sleep, timeout};

use super::*;
