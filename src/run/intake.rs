//! The samples of a call on their way into the delivery, counted.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::catchpoint::Taker;
use crate::catchpoint::row::Found;
use crate::relay::Delivery;

/// Counts of one page or call.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Values fetched.
    pub samples: u64,
    /// Values that were not measured.
    pub nulls: u64,
    /// Values that cannot be lines, by reason.
    pub skipped: BTreeMap<String, u64>,
}

/// Takes the samples of a call to the delivery.
pub struct Intake<'i, 'r> {
    delivery: &'i mut Delivery<'r>,
    page: Figures,
    total: Figures,
}

impl<'i, 'r> Intake<'i, 'r> {
    /// An intake for one call.
    pub fn new(delivery: &'i mut Delivery<'r>) -> Self {
        Self {
            delivery,
            page: Figures::default(),
            total: Figures::default(),
        }
    }

    /// What came in pages that were read to their end.
    pub fn into_figures(self) -> Figures {
        self.total
    }
}

impl Taker for Intake<'_, '_> {
    fn begin(&mut self) {
        self.page = Figures::default();
        self.delivery.discard();
    }

    fn take(&mut self, found: Found<'_>) -> ControlFlow<()> {
        match found {
            Found::Null => self.page.nulls += 1,
            Found::Skipped(reason) => *self.page.skipped.entry(reason.to_owned()).or_default() += 1,
            Found::Sample(sample) => {
                self.page.samples += 1;
                match self.delivery.push(&sample) {
                    Ok(true) => {}
                    Ok(false) => return ControlFlow::Break(()),
                    Err(unfit) => {
                        *self
                            .page
                            .skipped
                            .entry(unfit.name().to_owned())
                            .or_default() += 1
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn commit(&mut self) {
        self.delivery.keep();
        let page = std::mem::take(&mut self.page);
        self.total.samples += page.samples;
        self.total.nulls += page.nulls;
        for (reason, count) in page.skipped {
            *self.total.skipped.entry(reason).or_default() += count;
        }
    }
}
