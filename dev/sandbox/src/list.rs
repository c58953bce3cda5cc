//! API v2 and later: which tests there are, page by page. The shape and the parameters are from the
//! vendor's OpenAPI document, as far as the collector uses them.

use http::Response;
use serde_json::{Value, json};

use crate::api::Api;
use crate::reply::Body;
use crate::v2;
use crate::world::Test;

/// Most tests on a page.
const MOST: usize = 100;

/// The tests that the query asks for, without the hidden ones.
pub(crate) fn tests(api: &Api<'_>, hidden: &[u64]) -> Response<Body> {
    let number = |name: &str, or| {
        api.asked
            .param(name)
            .and_then(|it| it.parse().ok())
            .unwrap_or(or)
    };
    let size = number("pageSize", MOST).clamp(1, MOST);
    let skipped = number("pageNumber", 1)
        .saturating_sub(1)
        .saturating_mul(size);
    let is_wanted = |name: &str, id: u64| {
        let wanted = api.asked.param(name);
        wanted.is_none_or(|ids| ids.split(',').any(|wanted| wanted == id.to_string()))
    };
    let wanted = api.world.tests().filter(|test| {
        !hidden.contains(&test.id)
            && is_wanted("typeIds", test.kind.id())
            && is_wanted("parentFolderIds", folder(test))
            && is_wanted("productIds", PRODUCT)
            // All of them are active.
            && is_wanted("statusId", 0)
    });
    let mut rest = wanted.skip(skipped).peekable();
    let page: Vec<Value> = rest.by_ref().take(size).map(item).collect();
    let has_more = rest.peek().is_some();
    v2::success(
        api,
        json!({ "tests": page, "hasMore": has_more, "next": null, "previous": null }),
    )
}

const PRODUCT: u64 = 31;

/// Each type has a folder of its own.
fn folder(test: &Test) -> u64 {
    7100 + test.kind.id()
}

fn item(test: &Test) -> Value {
    json!({
        "id": test.id, "divisionId": 1, "productId": PRODUCT, "folderId": folder(test),
        "name": test.name, "status": { "id": 0, "name": "Active" },
        "testType": { "id": test.kind.id(), "name": format!("{:?}", test.kind) },
    })
}
