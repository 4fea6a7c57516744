//! The configuration of the daemon: refused in words that name the file, or printed so that it reads back the same.

#![no_main]

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use nta_daemon::config::Config;
use rustix::fs::{MemfdFlags, memfd_create};

fuzz_target!(|text: &[u8]| {
    match load(text) {
        Ok(config) => {
            // Secrets are not printed, nor is a database's password.
            if let Ok(printed) = config.to_toml()
                && config.webhooks.is_empty()
            {
                let again = load(printed.as_bytes()).expect("what is printed can be used");
                assert_eq!(again.to_toml().expect("it was printed"), printed);
            }
        }
        Err(refused) => assert!(!refused.is_empty()),
    }
});

fn load(text: &[u8]) -> Result<Config, String> {
    let mut file = File::from(memfd_create("config", MemfdFlags::CLOEXEC).expect("memfd_create(2)"));
    file.write_all(text).expect("memory");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Config::load(Some(&path)).map_err(|error| error.to_string())
}
