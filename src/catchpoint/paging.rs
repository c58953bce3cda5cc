//! Where the next page of an answer is.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::error::{CallError, Kind};
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
    if !page.answer.has_more {
        return Ok(Following::Nothing);
    }
    let number = this.map_or(1, |this| this.number) + 1;
    if number > MOST_PAGES {
        let what = format!("the answer has more than {MOST_PAGES} pages");
        return Err(CallError::new(Kind::Paging, what));
    }
    let (url, before) = match &page.answer.next {
        Some(next) => (next_url(next, url, origin)?, None),
        None if page.rows() == 0 => return Ok(Following::Nothing),
        None => {
            let mut hasher = DefaultHasher::new();
            page.rows_text().for_each(|row| row.hash(&mut hasher));
            let hash = hasher.finish();
            if this.and_then(|this| this.before) == Some(hash) {
                return Ok(Following::NotFound);
            }
            (format!("{first}&pageNumber={number}"), Some(hash))
        }
    };
    Ok(Following::Page(NextPage {
        url,
        number,
        before,
    }))
}

/// The address of the page that an answer calls `next`. It must be at the same `origin` as the
/// `current` one, because the API key goes along. It may be a whole address, a path that leaves out
/// what stands before the version, or only a query.
fn next_url(next: &str, current: &str, origin: &str) -> Result<String, CallError> {
    let path = path_of(current);
    let url = match (next.strip_prefix(origin), next.split_once('?')) {
        (Some(rest), _) if rest.starts_with(['/', '?']) => next.to_owned(),
        _ if next.contains("://") || next.starts_with("//") => {
            let what = "the answer's next page is on another host";
            return Err(CallError::new(Kind::Paging, what));
        }
        (_, Some((own, query))) if path.ends_with(own) => format!("{path}?{query}"),
        (_, None) if next.contains('=') => format!("{path}?{next}"),
        _ => format!("{origin}/{}", next.trim_start_matches('/')),
    };
    match url == current {
        true => Err(CallError::new(
            Kind::Paging,
            "the answer's next page is itself",
        )),
        false => Ok(url),
    }
}
