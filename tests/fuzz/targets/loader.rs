//! What daemon and loader say to each other over their socket, and the loader's configuration.
//!
//! An input begins with a digit: 0, the rest is what comes over the socket, lengths included; 1, it is the text of a request, 2 of
//! an answer; 3, a configuration.

#![no_main]

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use nta_loader::LoaderConfig;
use nta_loader::wire::{Answer, Request, receive, send};
use rustix::fs::{MemfdFlags, memfd_create};

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let framed = |rest: &[u8]| [&(rest.len() as u32).to_be_bytes(), rest].concat();
    match kind {
        b'0' => {
            requests(rest);
            answers(rest);
        }
        b'1' => requests(&framed(rest)),
        b'2' => answers(&framed(rest)),
        b'3' => config(rest),
        _ => {}
    }
});

/// The end of a connection over which these bytes come, and then nothing.
fn socket(bytes: &[u8]) -> UnixStream {
    let (mut near, far) = UnixStream::pair().expect("a pair of sockets");
    near.write_all(bytes).expect("a short input fits into the socket's buffer");
    far
}

/// Every request that is taken is the same when it is sent on.
fn requests(bytes: &[u8]) {
    let far = socket(bytes);
    while let Ok(Some((request, descriptors))) = receive::<Request>(&far) {
        assert!(descriptors.is_empty(), "none was sent");
        let (near, beyond) = UnixStream::pair().expect("a pair of sockets");
        send(&near, &request, &[]).expect("what was received can be sent");
        let (again, _) = receive::<Request>(&beyond).expect("it was sent").expect("it was sent");
        assert_eq!(again, request);
    }
}

/// Every answer that is taken can be rebuilt.
fn answers(bytes: &[u8]) {
    let far = socket(bytes);
    while let Ok(Some((answer, _))) = receive::<Answer>(&far) {
        if let Answer::Attached(attached) = answer {
            let _rebuilt = (attached.attached(), attached.assigned());
        }
    }
}

/// A configuration is refused in words, or its values are within their bounds.
fn config(text: &[u8]) {
    let mut file = File::from(memfd_create("config", MemfdFlags::CLOEXEC).expect("memfd_create(2)"));
    file.write_all(text).expect("memory");
    match LoaderConfig::load(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))) {
        Ok(config) => {
            assert!((1..=65_536).contains(&config.max_map_memory_mib));
            assert!(config.pin_path.is_absolute() && config.socket.is_absolute());
            let _refused = config.check_pin_path();
        }
        Err(sentence) => assert!(sentence.starts_with("/proc/self/fd/")),
    }
}
