//! The two config files of the original script, pointing at a sandbox.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::settings::Settings;
use crate::test_type::TestType;
use crate::world::World;

/// Writes `config_catchpoint.yaml` and `config_graphite.yaml` into a folder, in the form of the
/// original script's, with all tests of the world and the sandbox at `address`.
///
/// # Errors
///
/// If a file cannot be written.
pub fn write_config(
    folder: &Path,
    address: SocketAddr,
    world: &World,
    settings: &Settings,
) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let catchpoint = catchpoint(address, world, settings);
    fs::write(folder.join("config_catchpoint.yaml"), catchpoint)?;
    let graphite = "carbon_server: '127.0.0.1'\ncarbon_port: 2003\n";
    fs::write(folder.join("config_graphite.yaml"), graphite)
}

fn catchpoint(address: SocketAddr, world: &World, settings: &Settings) -> String {
    let types: Vec<String> = TestType::ALL
        .into_iter()
        .filter_map(|kind| {
            let ids: Vec<String> = world.ids(kind).iter().map(|id| format!("'{id}'")).collect();
            (!ids.is_empty()).then(|| format!("              {kind} : [{}]", ids.join(",")))
        })
        .collect();
    format!(
        "client_id: '{}'\nclient_secret: '{}'\nrefresh_token: 'None'\n\
         protocol: 'http'\ndomain: '{address}/ui/api'\ntoken_endpoint: 'token'\nversion: 'v1'\n\
         rawdata_endpoint: 'performance/raw?tests'\n\
         test_ids: {{\n{}\n          }}\n\
         batch_size: 10\nlog_file: 'app.log'\nlog_level: 'info'\n",
        settings.client_id,
        settings.client_secret,
        types.join(",\n"),
    )
}
