//! What the sandbox answers with: LastRaw of web tests that run every few seconds.

use std::io::Read;

use anyhow::{Context as _, Result, bail};
use catchpoint_sandbox::{Clock, Sandbox, Settings, TestType, World};
use chrono::Utc;
use http::Request;
use serde::Deserialize;

/// A sandbox without limits, whose clock stands still: each answer is the same.
pub fn sandbox(tests: u32, nodes: u32, interval_seconds: u32) -> Sandbox {
    let world = World::builder()
        .seed(3)
        .only(&[TestType::Web])
        .tests(TestType::Web, tests)
        .nodes(nodes)
        .interval_seconds(interval_seconds)
        .build();
    let settings = Settings {
        limits: None,
        ..Settings::default()
    };
    Sandbox::new(world, Clock::driven(Utc::now()), settings)
}

/// The answer to LastRaw for all tests of a sandbox, made while it is read.
pub fn last_raw(sandbox: &Sandbox) -> Result<impl Read> {
    #[derive(Deserialize)]
    struct Token {
        access_token: String,
    }
    let form =
        "grant_type=client_credentials&client_id=sandbox-client&client_secret=sandbox-secret";
    let call = Request::post("/ui/api/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.as_bytes().to_vec())?;
    let body = answer(sandbox, &call)?;
    let token: Token = serde_json::from_reader(body).context("the sandbox gives no token")?;
    let ids: Vec<String> = sandbox
        .world()
        .tests()
        .map(|test| test.id.to_string())
        .collect();
    let call = Request::get(format!(
        "/ui/api/v1/performance/raw?tests={}",
        ids.join(",")
    ))
    .header("authorization", format!("Bearer {}", token.access_token))
    .body(Vec::new())?;
    answer(sandbox, &call)
}

fn answer(sandbox: &Sandbox, call: &Request<Vec<u8>>) -> Result<catchpoint_sandbox::Body> {
    let reply = sandbox
        .handle(call)
        .answer()
        .context("the sandbox does not answer")?;
    if !reply.status().is_success() {
        bail!("the sandbox answered {}", reply.status());
    }
    Ok(reply.into_body())
}
