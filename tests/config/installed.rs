//! An installed daemon loads code only from the places of an installation.

use std::path::Path;
use std::process::Command;

use nta_tests::daemon::{collect, daemon};

/// Where packages have libxgboost.
const INSTALLED: &str = "/usr/lib/nta/xgboost/lib";

#[test]
fn the_library_path_names_no_folder_of_the_builder() {
    let mut readelf = Command::new("readelf");
    readelf.arg("-d").arg(daemon());
    if Command::new("readelf").arg("--version").output().is_err() {
        println!("not run: the_library_path_names_no_folder_of_the_builder: there is no readelf");
        return;
    }
    let run = collect(readelf, &[]);
    assert_eq!(run.status, Some(0), "{run:?}");
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let paths = text.lines().filter(|line| line.contains("RUNPATH") || line.contains("RPATH"));
    let paths =
        paths.filter_map(|line| line.split_once('[')?.1.split_once(']')).flat_map(|(paths, _)| paths.split(':'));
    for (position, path) in paths.enumerate() {
        let is_safe = match position {
            0 => path == INSTALLED,
            // From /usr/bin these lead to /.xgboost, which only root can make.
            _ => path.strip_prefix("$ORIGIN/").is_some_and(|rest| {
                let below = rest.trim_start_matches("../");
                below == ".xgboost/xgboost/lib" && Path::new(rest).is_relative()
            }),
        };
        assert!(is_safe, "{path} in {text}");
    }
}
