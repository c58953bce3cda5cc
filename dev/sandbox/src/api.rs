//! What answers are made from.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::asked::Asked;
use crate::limits::Gate;
use crate::settings::Settings;
use crate::world::{Test, World};

/// The world that is asked about, and how it answers at a time.
pub(crate) struct Api<'a> {
    pub world: &'a World,
    pub settings: &'a Settings,
    pub gate: &'a Gate,
    pub asked: &'a Asked,
    pub now: DateTime<Utc>,
}

impl Api<'_> {
    /// The tests that are asked for; nothing if one of them is not known.
    pub fn tests(&self) -> Option<Vec<Arc<Test>>> {
        let tests = self.asked.tests.iter();
        tests.map(|&id| self.world.test(id).cloned()).collect()
    }
}
