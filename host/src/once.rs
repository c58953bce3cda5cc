//! `run` and `check`: one request to the component's HTTP handler, without a socket.
//!
//! The component opens these paths only to whoever knows `collect_token`; the host gives this one
//! instance a random one.

use crate::{USAGE, report};
use anyhow::{Context, bail};
use bytes::Bytes;
use catchpoint_graphite_host::app::App;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

/// The variable whose value opens the component's paths.
const TOKEN_VARIABLE: &str = "collect_token";

/// Collects once and prints the report.
pub async fn run(app: &App, json: bool) -> anyhow::Result<ExitCode> {
    let (status, body) = ask(app, Method::POST, "/collect").await?;
    let code = match status {
        StatusCode::OK => ExitCode::SUCCESS,
        StatusCode::CONFLICT => {
            eprintln!("another run is under way; this one did nothing");
            ExitCode::SUCCESS
        }
        StatusCode::BAD_GATEWAY => ExitCode::FAILURE,
        StatusCode::BAD_REQUEST => return Ok(refuse(&body)),
        _ => bail!("the component answered {status}: {}", body.trim()),
    };
    let shown = if json { body } else { report::human(&body) };
    print(&shown)?;
    Ok(code)
}

/// Prints what the configuration means.
pub async fn check(app: &App) -> anyhow::Result<ExitCode> {
    let (status, body) = ask(app, Method::GET, "/check").await?;
    match status {
        StatusCode::OK => {
            print(&body)?;
            Ok(ExitCode::SUCCESS)
        }
        StatusCode::BAD_REQUEST => Ok(refuse(&body)),
        _ => bail!("the component answered {status}: {}", body.trim()),
    }
}

/// The component has listed what is wrong with the configuration.
pub fn refuse(errors: &str) -> ExitCode {
    eprintln!("{}", errors.trim_end());
    ExitCode::from(USAGE)
}

/// Prints to standard output.
pub fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", text.trim_end()).context("cannot write the report")
}

/// Asks the component, which this opens for the one request.
pub async fn ask(app: &App, method: Method, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let declared = app.manifest().variables.contains_key(TOKEN_VARIABLE);
    if !declared {
        bail!("the manifest declares no variable `{TOKEN_VARIABLE}`, which opens {path}");
    }
    let token = random_token()?;
    let request = Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())?;
    let changes = BTreeMap::from([(TOKEN_VARIABLE.to_owned(), token)]);
    let (head, body) = app.http_with(&changes, request).await?.into_parts();
    let body = body
        .collect()
        .await
        .context("the component's answer broke off")?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok((head.status, text))
}

fn random_token() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).context("no random numbers")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
