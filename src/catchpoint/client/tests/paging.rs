use super::super::*;
use super::scripted::*;
use crate::catchpoint::error::Split;

/// A page of v2 with one row, and this after its items.
fn page(value: u32, rest: &str) -> Answer {
    let row = format!(
        r#"{{"dateTime":"2026-03-01T11:50:00","values":[{value}],"dimensions":[{{"type":{{"id":16}},"id":1}},{{"type":{{"id":1}},"id":2}}]}}"#
    );
    answer(
        200,
        format!(
            r#"{{"data":{{"responseItems":[{{"metrics":[{{"name":"A"}}],"items":[{row}]}}],{rest}}}}}"#
        ),
    )
}

const MORE: &str = r#""hasMore":true,"next":null"#;
const LAST: &str = r#""hasMore":false,"next":null"#;
const FIRST: &str = "api/v2/tests/explorer/raw?testIds=1&startTimeUtc=2026-03-01T11:45:00&endTimeUtc=2026-03-01T12:00:00&dimensionIds=16,1,6,90";

#[track_caller]
fn check_pages(answers: Vec<Answer>, expect: &[&str]) {
    let host = scripted("version: v2", answers);
    assert_eq!(host.pages(&explorer()).ok().unwrap().len(), expect.len());
    assert_eq!(host.paths(), expect.join(" "));
}

#[test]
fn c11_pages_are_found_by_next_by_number_or_not_at_all() {
    let second = &format!("{FIRST}&pageNumber=2");
    let third = &format!("{FIRST}&pageNumber=3");
    check_pages(vec![page(1, LAST)], &[FIRST]);
    check_pages(vec![page(1, MORE), page(2, LAST)], &[FIRST, second]);
    check_pages(
        vec![page(1, MORE), page(2, MORE), page(3, LAST)],
        &[FIRST, second, third],
    );
    // A page number has no effect: the same page comes again, or an empty one.
    check_pages(vec![page(1, MORE), page(1, MORE)], &[FIRST, second]);
    let empty = answer(200, format!(r#"{{"data":{{"responseItems":[],{MORE}}}}}"#));
    check_pages(vec![page(1, MORE), empty.clone()], &[FIRST, second]);
    check_pages(vec![empty], &[FIRST]);
    for next in [
        "/v2/tests/explorer/raw?p=2",
        "/api/v2/tests/explorer/raw?p=2",
        "https://io.catchpoint.com/api/v2/tests/explorer/raw?p=2",
        "v2/tests/explorer/raw?p=2",
        "?p=2",
        "p=2",
    ] {
        let more = format!(r#""hasMore":true,"next":"{next}""#);
        check_pages(
            vec![page(1, &more), page(2, LAST)],
            &[FIRST, "api/v2/tests/explorer/raw?p=2"],
        );
    }
    let more = r#""hasMore":true,"next":"/api/v4/other?p=2""#;
    check_pages(
        vec![page(1, more), page(2, LAST)],
        &[FIRST, "api/v4/other?p=2"],
    );
}

#[test]
fn c11_whether_there_is_more_is_told_in_many_forms() {
    for more in [
        r#""hasMore":null,"next":"?p=2""#,
        r#""next":"?p=2""#,
        r#""hasMore":"true","next":"?p=2""#,
        r#""hasMore":"True","next":"?p=2""#,
    ] {
        let pages = vec![page(1, more), page(2, LAST)];
        check_pages(pages, &[FIRST, "api/v2/tests/explorer/raw?p=2"]);
    }
    for last in [
        r#""hasMore":false,"next":"?p=2""#,
        r#""hasMore":null,"next":null"#,
        r#""next":"""#,
        r#""hasMore":"false""#,
    ] {
        check_pages(vec![page(1, last)], &[FIRST]);
    }
}

/// Results that cannot be reached are not fetched. Fewer tests may fit into one page.
#[test]
fn more_results_without_a_page_are_no_end_of_the_answer() {
    let range = explorer().range().unwrap();
    let host = scripted("version: v2", vec![page(1, MORE), page(1, MORE)]);
    let error = host
        .pages(&Query::Explorer(vec![1, 2], range))
        .err()
        .unwrap();
    assert_eq!(
        (error.kind, error.class().split),
        (Kind::Paging, Split::Now)
    );
    // Of one test there is nothing smaller to ask for: what came is used, and the run says so.
    let host = scripted("version: v2", vec![page(1, MORE), page(1, MORE)]);
    let pages = host.pages(&explorer()).ok().unwrap();
    assert_eq!(
        pages.iter().map(|page| page.cut).collect::<Vec<_>>(),
        [false, true]
    );
    // An empty page is an end.
    let empty = answer(200, format!(r#"{{"data":{{"responseItems":[],{MORE}}}}}"#));
    let host = scripted("version: v2", vec![page(1, MORE), empty]);
    let pages = host
        .pages(&Query::Explorer(vec![1, 2], range))
        .ok()
        .unwrap();
    assert!(pages.iter().all(|page| !page.cut));
}

#[test]
fn c11_a_next_page_is_neither_elsewhere_nor_itself() {
    for next in [
        "https://evil.example/x?p=2",
        "//evil.example/x",
        "http://io.catchpoint.com/?p=2",
        "https://io.catchpoint.com.evil.example/?p=2",
    ] {
        let host = scripted(
            "version: v2",
            vec![page(1, &format!(r#""hasMore":true,"next":"{next}""#))],
        );
        assert_eq!(host.failure(&explorer()).0, Kind::Paging, "{next}");
    }
    let itself = format!(r#""hasMore":true,"next":"/{FIRST}""#);
    let host = scripted("version: v2", vec![page(1, &itself)]);
    assert_eq!(host.failure(&explorer()).0, Kind::Paging);
}

#[test]
fn c11_an_endpoint_may_have_a_query_of_its_own() {
    let settings = "version: v2\nexplorer_endpoint: api/v4/raw?dimensionIds=16,1&pageSize=9";
    let host = scripted(settings, vec![page(1, LAST)]);
    host.fetch(&explorer()).ok().unwrap();
    assert_eq!(
        host.paths(),
        "api/v4/raw?dimensionIds=16,1&pageSize=9&testIds=1&startTimeUtc=2026-03-01T11:45:00&endTimeUtc=2026-03-01T12:00:00"
    );
}

#[test]
fn c11_the_path_follows_the_version_and_the_dimensions_the_key() {
    let times = "startTimeUtc=2026-03-01T11:45:00&endTimeUtc=2026-03-01T12:00:00";
    for (yaml, expect) in [
        (
            "version: v3",
            "api/v3/tests/explorer/raw?testIds=1&TIMES&dimensionIds=16,1,6,90",
        ),
        (
            "version: v3.3",
            "api/v3.3/tests/explorer/raw?testIds=1&TIMES&dimensionIds=16,1,6,90",
        ),
        (
            "version: v4\ndimension_ids: []",
            "api/v4/tests/explorer/raw?testIds=1&TIMES",
        ),
        (
            "version: v4\ndimension_ids: [16, 1, 17]",
            "api/v4/tests/explorer/raw?testIds=1&TIMES&dimensionIds=16,1,17",
        ),
    ] {
        let host = scripted(yaml, vec![page(1, LAST)]);
        host.fetch(&explorer()).ok().unwrap();
        assert_eq!(host.paths(), expect.replace("TIMES", times));
    }
}
