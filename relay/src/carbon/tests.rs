mod delivery;
mod fake;
mod model;

use super::*;
