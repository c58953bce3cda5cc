//! Where the next page of an answer is.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::error::{Call, CallError, Kind};
use super::page::Page;
use super::query::path_of;

/// Far more pages than a day of the largest batch has; a `next` that leads in circles must end.
const MOST_PAGES: u32 = 1000;

/// Where the next page of an answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextPage {
    pub(super) url: String,
    number: u32,
    /// Of a page whose number is a guess: the page before it, which must be another one.
    before: Option<u64>,
}

/// What follows a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Following {
    /// Another page.
    Page(NextPage),
    /// Nothing: this is the last one.
    Nothing,
    /// Nothing that can be found, although there is more: the next page is the same one again.
    NotFound,
}

/// What follows the page that came from `url`, which is the page `this` of the answer that began at
/// `first`. The next page is where the answer says, else at the next number: v4's clients count up
/// `pageNumber`. An empty page is the end; where the number has no effect the same page comes again.
///
/// # Errors
/// The next page is at another origin, is the same one, or one too many.
pub fn following(
    page: &Page,
    this: Option<&NextPage>,
    url: &str,
    first: &str,
    origin: &str,
) -> Result<Following, CallError> {
    let error = |what: String| CallError::new(Kind::Paging, Call::Results, what);
    if !page.answer.has_more {
        return Ok(Following::Nothing);
    }
    let number = this.map_or(1, |this| this.number) + 1;
    if number > MOST_PAGES {
        return Err(error(format!(
            "the answer has more than {MOST_PAGES} pages"
        )));
    }
    if let Some(next) = &page.answer.next {
        let next = next_url(next, url, origin).map_err(error)?;
        if next == url {
            return Err(error("the answer's next page is itself".to_owned()));
        }
        return Ok(Following::Page(NextPage {
            url: next,
            number,
            before: None,
        }));
    }
    let mut hasher = DefaultHasher::new();
    page.rows_text().for_each(|row| row.hash(&mut hasher));
    let hash = hasher.finish();
    let guessed = this.and_then(|this| this.before);
    if page.rows() == 0 {
        return Ok(Following::Nothing);
    }
    if guessed == Some(hash) {
        return Ok(Following::NotFound);
    }
    Ok(Following::Page(NextPage {
        url: format!("{first}&pageNumber={number}"),
        number,
        before: Some(hash),
    }))
}

/// The address of the page that an answer calls `next`. It must be at the same `origin` as the
/// `current` one, because the API key goes along. It may be a whole address, a path that leaves out
/// what stands before the version, or only a query.
///
/// # Errors
/// That it is at another origin.
fn next_url(next: &str, current: &str, origin: &str) -> Result<String, String> {
    let at_origin = |rest: &str| rest.starts_with(['/', '?']);
    if next.strip_prefix(origin).is_some_and(at_origin) {
        return Ok(next.to_owned());
    }
    if next.contains("://") || next.starts_with("//") {
        return Err("the answer's next page is on another host".to_owned());
    }
    let current = path_of(current);
    let (path, query) = match next.split_once('?') {
        Some(parts) => parts,
        None if next.contains('=') => ("", next),
        None => (next, ""),
    };
    if current.ends_with(path) {
        return Ok(format!("{current}?{query}"));
    }
    Ok(format!("{origin}/{}?{query}", path.trim_start_matches('/')))
}
