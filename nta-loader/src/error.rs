//! Why packets cannot be counted.

/// Why packets cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The object cannot be loaded, or lacks something that the daemon expects of it.
    #[error("the eBPF object: {0}")]
    Object(#[from] aya::EbpfError),
    /// A program was refused by the kernel.
    #[error("program {name}: {source}")]
    Program {
        /// The program.
        name: &'static str,
        /// What the kernel said.
        source: aya::programs::ProgramError,
    },
    /// A program was refused by the kernel's verifier.
    #[error("program {name}: the kernel's verifier refused it (whole log with --log debug): {end}")]
    Verifier {
        /// The program.
        name: &'static str,
        /// The end of the verifier's log.
        end: String,
    },
    /// A program or map is missing from the object.
    #[error("the eBPF object has no {0}")]
    Missing(&'static str),
    /// A map cannot be read or written.
    #[error("map {name}: {source}")]
    Map {
        /// The map.
        name: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The process lacks the rights to load and attach programs.
    #[error("no permission to {action}: run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")]
    Permission {
        /// What was tried.
        action: String,
    },
    /// An interface does not exist.
    #[error("interface {0} does not exist")]
    NoInterface(String),
    /// No hook could be attached.
    #[error("interface {interface}: cannot attach {mode}: {reason}")]
    Attach {
        /// The interface.
        interface: String,
        /// The hooks that were asked for.
        mode: String,
        /// Why not, for each that was tried.
        reason: String,
    },
    /// Another daemon counts there.
    #[error("interface {interface} is watched by {by}: it would be counted twice")]
    Watched {
        /// The interface.
        interface: String,
        /// Who.
        by: String,
    },
    /// Nothing can be pinned, or what is pinned cannot be used.
    #[error("capture.pin_path {path}: {reason}")]
    Pin {
        /// The path.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The process with the rights cannot be asked.
    #[error("nta-loader at {}: {reason}", path.display())]
    Loader {
        /// Its socket.
        path: std::path::PathBuf,
        /// Why not.
        reason: String,
    },
    /// The start was asked to end.
    #[error("the start was asked to end")]
    Stopped,
    /// This kernel cannot do what was asked.
    #[error("{0}")]
    Unsupported(String),
}
