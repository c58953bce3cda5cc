//! What a guest finds: variables, key-value stores, files, environment.

use crate::support::{Setup, tell};
use std::collections::BTreeMap;
use std::fs;

#[tokio::test]
async fn variables_are_those_of_the_component() {
    let setup = Setup::new(
        "variables = { url = \"{{ host }}/x\", plain = \"text\", key = \"{{ secret }}\" }",
    )
    .variable("host", "http://relay:1");
    let app = setup.app();
    for (command, expect) in [
        ("variable?url", "http://relay:1/x"),
        ("variable?plain", "text"),
        ("variable?key", "hidden"),
        // Variables of the application are not those of the component.
        (
            "variable?host",
            "Error::Undefined(\"no variable for \\\"guest\\\".\\\"host\\\"\")",
        ),
        ("variable?No-Name", "Error::InvalidName(\"No-Name\")"),
    ] {
        assert_eq!(tell(&app, command).await.unwrap(), expect, "{command}");
    }
    // For one instance only.
    let changes = BTreeMap::from([("secret".to_owned(), "once".to_owned())]);
    let request = crate::support::request("variable?key");
    let response = app.http_with(&changes, request).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap();
    assert_eq!(body.to_bytes(), "once");
    assert_eq!(tell(&app, "variable?key").await.unwrap(), "hidden");
}

#[tokio::test]
async fn values_are_kept_over_instances_and_restarts() {
    let setup = Setup::new("key_value_stores = [\"default\"]");
    let app = setup.app();
    for (command, expect) in [
        ("get?cursor", "None"),
        ("set?cursor=17", "set"),
        ("set?lease=x", "set"),
        ("get?cursor", "Some([49, 55])"),
        ("exists?cursor", "true"),
        ("keys", "cursor,lease"),
        ("delete?lease", "deleted"),
        ("delete?lease", "deleted"),
        ("exists?lease", "false"),
        ("open?other", "Error::AccessDenied"),
    ] {
        assert_eq!(tell(&app, command).await.unwrap(), expect, "{command}");
    }
    drop(app);
    assert_eq!(
        tell(&setup.app(), "get?cursor").await.unwrap(),
        "Some([49, 55])"
    );
}

#[tokio::test]
async fn stores_that_are_not_listed_are_closed() {
    let app = Setup::new("").app();
    assert_eq!(
        tell(&app, "open?default").await.unwrap(),
        "Error::AccessDenied"
    );
}

#[tokio::test]
async fn files_are_read_only_and_current() {
    let mut setup = Setup::new("files = [{ source = \"config\", destination = \"/config\" }]");
    let config = setup.folder.path().join("config");
    fs::create_dir(&config).unwrap();
    fs::write(config.join("a.yaml"), "one").unwrap();
    let app = setup.app();
    assert_eq!(tell(&app, "read?/config/a.yaml").await.unwrap(), "one");
    fs::write(config.join("a.yaml"), "two").unwrap();
    for (command, expect) in [
        ("read?/config/a.yaml", "two"),
        ("read?/config/../spin.toml", "permission denied"),
        ("read?/etc/passwd", "entity not found"),
        ("read?/state/x", "entity not found"),
        ("write?/config/a.yaml", "permission denied"),
        ("write?/config/b.yaml", "permission denied"),
    ] {
        assert_eq!(tell(&app, command).await.unwrap(), expect, "{command}");
    }

    let other = setup.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("a.yaml"), "three").unwrap();
    setup.options.config = Some(other);
    assert_eq!(
        tell(&setup.app(), "read?/config/a.yaml").await.unwrap(),
        "three"
    );
}

#[tokio::test]
async fn only_its_own_environment() {
    let app = Setup::new("environment = { MODE = \"test\" }").app();
    assert_eq!(tell(&app, "environment?MODE").await.unwrap(), "test");
    let path = tell(&app, "environment?PATH").await.unwrap();
    assert_eq!(path, "environment variable not found");
}

#[tokio::test]
async fn what_it_prints_comes_in_whole_lines() {
    let setup = Setup::new("");
    let app = setup.app();
    tell(&app, "print?half").await.unwrap();
    // The last of it comes when the instance ends, which may be after its answer.
    setup.printed("half").await;
    let mut lines = setup.lines();
    lines.sort();
    assert_eq!(lines, ["!", "half"]);
}
