//! What an entry allows, and what is said of one that is none.

use super::AllowedHost;

fn check(entry: &str, uri: &str, expect: bool) {
    let allowed = AllowedHost::parse(entry).unwrap();
    assert_eq!(
        allowed.allows(&uri.parse().unwrap()),
        expect,
        "{entry} {uri}"
    );
}

#[test]
fn allows() {
    for (entry, uri, expect) in [
        (
            "https://io.catchpoint.com",
            "https://io.catchpoint.com/ui/api",
            true,
        ),
        (
            "https://io.catchpoint.com/",
            "https://IO.Catchpoint.com:443/",
            true,
        ),
        (
            "https://io.catchpoint.com",
            "http://io.catchpoint.com/",
            false,
        ),
        (
            "https://io.catchpoint.com",
            "https://io.catchpoint.com:8443/",
            false,
        ),
        (
            "https://io.catchpoint.com",
            "https://io.catchpoint.com.evil.org/",
            false,
        ),
        (
            "https://io.catchpoint.com",
            "https://io.catchpoint.com@evil.org/",
            false,
        ),
        (
            "http://127.0.0.1:2080",
            "http://127.0.0.1:2080/v1/lines",
            true,
        ),
        ("http://127.0.0.1:2080", "http://localhost:2080/", false),
        ("http://127.0.0.1:2080", "http://0x7f.1:2080/", false),
        ("http://[::1]:2080", "http://[0:0::1]:2080/", true),
        ("http://[::1]", "http://[::1]/", true),
        ("*://*:*", "http://anything.example:99/", true),
        ("*://*:*", "https://[2001:db8::1]/", true),
        ("https://*", "https://a.example/", true),
        ("https://*", "https://a.example:444/", false),
        ("https://*.example.com", "https://a.b.example.com/", true),
        ("https://*.example.com", "https://example.com/", false),
        ("https://*.example.com", "https://badexample.com/", false),
        (
            "http://localhost:8000..8010",
            "http://localhost:8000/",
            true,
        ),
        (
            "http://localhost:8000..8010",
            "http://localhost:8009/",
            true,
        ),
        (
            "http://localhost:8000..8010",
            "http://localhost:8010/",
            false,
        ),
        ("http://10.0.0.0/8", "http://10.9.8.7/", true),
        ("http://10.0.0.0/8", "http://11.9.8.7/", false),
        ("*://10.1.0.0/16:*", "http://10.1.8.7:99/", true),
        ("http://0.0.0.0/0", "http://8.8.8.8/", true),
        ("http://0.0.0.0/0", "http://name/", false),
        ("http://fd00::/8", "http://[fd12::1]/", true),
        ("http://self", "http://self/", false),
        ("*://example.com:80", "https://example.com/", false),
    ] {
        check(entry, uri, expect);
    }
}

fn refused(entry: &str) -> String {
    AllowedHost::parse(entry).unwrap_err().to_string()
}

#[test]
fn refuses() {
    insta::assert_snapshot!(refused("io.catchpoint.com"), @"`io.catchpoint.com` is no outbound host: it has no scheme, such as `https://`; write `scheme://host[:port]`");
    insta::assert_snapshot!(refused("https://io.catchpoint.com/ui/api"), @"`https://io.catchpoint.com/ui/api` is no outbound host: it has a path, `/ui/api`; write `scheme://host[:port]`");
    insta::assert_snapshot!(refused("https://io.*.com"), @"`https://io.*.com` is no outbound host: `*` stands alone or in front, as in `*.example.com`; write `scheme://host[:port]`");
    insta::assert_snapshot!(refused("*://example.com"), @"`*://example.com` is no outbound host: the scheme `*` has no port of its own; add one, or `:*`; write `scheme://host[:port]`");
    insta::assert_snapshot!(refused("http://example.com:http"), @"`http://example.com:http` is no outbound host: `http` is no port (0 to 65535, `*`, or `8000..8010`); write `scheme://host[:port]`");
    insta::assert_snapshot!(refused("http://example.com:9..9"), @"`http://example.com:9..9` is no outbound host: the range `9..9` is empty; its end is out; write `scheme://host[:port]`");
    insta::assert_snapshot!(refused("http://exa mple.com"), @"`http://exa mple.com` is no outbound host: `exa mple.com` is no host name; write `scheme://host[:port]`");
    insta::assert_snapshot!(refused("https://"), @"`https://` is no outbound host: `` is no host name; write `scheme://host[:port]`");
}
