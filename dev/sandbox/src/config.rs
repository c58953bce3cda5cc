//! The two config files of the original script, pointing at a sandbox.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::sandbox::Settings;
use crate::test_type::TestType;
use crate::world::World;

/// The first line of each file, by which we know our own.
const MARK: &str = "# Written by catchpoint-sandbox, which will overwrite it.\n";

/// Why the config files were not written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is in the way that somebody else wrote.
    #[error("{} is not from the sandbox and stays as it is; name another folder", .0.display())]
    Foreign(PathBuf),
    /// The system said no.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Writes `config_catchpoint.yaml` and `config_graphite.yaml` into a folder, in the form of the
/// original script's, with all tests of the world and the sandbox at `address`.
///
/// # Errors
///
/// If one of the files is there and was not written by the sandbox, or if it cannot be written.
pub fn write_config(
    folder: &Path,
    address: SocketAddr,
    world: &World,
    settings: &Settings,
) -> Result<(), ConfigError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |error| ConfigError::Write { path, error }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let files = [
        (
            "config_catchpoint.yaml",
            catchpoint(address, world, settings),
        ),
        ("config_graphite.yaml", GRAPHITE.to_owned()),
    ];
    let files = files.map(|(name, text)| (folder.join(name), text));
    for (path, _) in &files {
        match fs::read(path) {
            Ok(bytes) if bytes.starts_with(MARK.as_bytes()) => {}
            Ok(_) => return Err(ConfigError::Foreign(path.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(path)(error)),
        }
    }
    for (path, text) in &files {
        fs::write(path, format!("{MARK}{text}")).map_err(failed(path))?;
    }
    Ok(())
}

const GRAPHITE: &str = "carbon_server: '127.0.0.1'\ncarbon_port: 2003\n";

fn catchpoint(address: SocketAddr, world: &World, settings: &Settings) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "client_id: {}\nclient_secret: {}\nrefresh_token: 'None'\n\
         protocol: 'http'\ndomain: '{address}/ui/api'\ntoken_endpoint: 'token'\nversion: 'v1'\n\
         rawdata_endpoint: 'performance/raw?tests'\n\
         test_ids: {{\n{}\n          }}\n\
         batch_size: 10\nlog_file: 'app.log'\nlog_level: 'info'\n",
        quoted(&settings.client_id),
        quoted(&settings.client_secret),
        types(world).join(",\n"),
    );
    text
}

/// A line for each type that has tests.
fn types(world: &World) -> Vec<String> {
    let line = |kind: TestType| {
        let ids: Vec<String> = world.ids(kind).iter().map(|id| format!("'{id}'")).collect();
        (!ids.is_empty()).then(|| format!("              {kind} : [{}]", ids.join(",")))
    };
    TestType::ALL.into_iter().filter_map(line).collect()
}

/// Single quotes are doubled in YAML, and nothing else means anything between them.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_has_the_form_of_the_original() {
        let world = World::builder()
            .only(&[TestType::Web, TestType::Dns, TestType::Ftp])
            .tests(TestType::Web, 2)
            .tests(TestType::Ftp, 0)
            .build();
        let settings = Settings {
            client_secret: "it's".into(),
            ..Settings::default()
        };
        let address = "127.0.0.1:8089".parse().unwrap();
        insta::assert_snapshot!(catchpoint(address, &world, &settings), @r#"
        client_id: 'sandbox-client'
        client_secret: 'it''s'
        refresh_token: 'None'
        protocol: 'http'
        domain: '127.0.0.1:8089/ui/api'
        token_endpoint: 'token'
        version: 'v1'
        rawdata_endpoint: 'performance/raw?tests'
        test_ids: {
                      web : ['142600','142601'],
                      dns : ['142602','142603','142604']
                  }
        batch_size: 10
        log_file: 'app.log'
        log_level: 'info'
        "#);
    }

    #[test]
    fn a_foreign_file_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::builder().only(&[]).build();
        let address = "127.0.0.1:8089".parse().unwrap();
        let write = || write_config(folder.path(), address, &world, &Settings::default());
        write().unwrap();
        write().unwrap();
        let path = folder.path().join("config_graphite.yaml");
        fs::write(&path, GRAPHITE).unwrap();
        assert!(matches!(write(), Err(ConfigError::Foreign(there)) if there == path));
        assert_eq!(fs::read_to_string(&path).unwrap(), GRAPHITE);
    }
}
