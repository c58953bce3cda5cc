//! What a call of API v2 asks for.

use crate::asked::{Asked, V2_PATH};
use crate::results::Window;
use crate::stamp::{self, Form, SECOND};

/// How far the API looks back if it is not told, in ticks.
const LAST: i64 = 3600 * SECOND;

/// Parameters that would change the results, and that the sandbox does not know.
const UNKNOWN: [&str; 5] = [
    "metricIds",
    "subSourceTypeId",
    "tracepointIds",
    "zoneTypeIds",
    "availabilityFilter",
];

/// What is asked for, understood.
pub(crate) struct Query<'a> {
    pub window: Window,
    ids: &'a [u64],
    pub dimensions: Option<&'a str>,
    /// From 1.
    pub page: u64,
    /// Results on a page, at least one.
    pub size: u64,
}

impl<'a> Query<'a> {
    /// Reads it; the error is what the API answers.
    pub fn of(asked: &'a Asked, now: i64, most: u64) -> Result<Self, String> {
        if let Some(name) = UNKNOWN
            .into_iter()
            .find(|&name| asked.param(name).is_some())
        {
            return Err(format!("The sandbox does not support {name}"));
        }
        let time = |name: &str, or: i64| match asked.param(name) {
            None => Ok(or),
            Some(text) => {
                stamp::read(text).ok_or_else(|| format!("{name} must be YYYY-MM-DDThh:mm:ss"))
            }
        };
        let to = time("endTimeUtc", now)?;
        let from = time("startTimeUtc", to.saturating_sub(LAST))?;
        if from >= to {
            return Err("startTimeUtc must be before endTimeUtc".into());
        }
        let number = |name: &str, or: u64| match asked.param(name).map(str::parse) {
            None => Ok(or),
            Some(Ok(number)) if number > 0 => Ok(number),
            Some(_) => Err(format!("{name} must be a whole number from 1")),
        };
        Ok(Self {
            window: Window { from, to }.until(now),
            ids: asked.tests(),
            dimensions: asked.param("dimensionIds"),
            page: number("pageNumber", 1)?,
            size: number("pageSize", most)?.min(most),
        })
    }

    /// The link to a page of the same results, whatever the time will be then.
    pub fn link(&self, page: u64, origin: &str) -> String {
        let ids: Vec<String> = self.ids.iter().map(u64::to_string).collect();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("testIds", &ids.join(","));
        query.append_pair("startTimeUtc", &time(self.window.from));
        query.append_pair("endTimeUtc", &time(self.window.to));
        if let Some(dimensions) = self.dimensions {
            query.append_pair("dimensionIds", dimensions);
        }
        query.append_pair("pageNumber", &page.to_string());
        query.append_pair("pageSize", &self.size.to_string());
        format!("{origin}{V2_PATH}?{}", query.finish())
    }
}

/// A time as API v2 writes it; a fraction is written only if there is one.
pub(crate) fn time(ticks: i64) -> String {
    let form = if ticks % SECOND == 0 {
        Form::Bare
    } else {
        Form::Fraction
    };
    stamp::write(ticks, form)
}
