//! The daemon's binary: parse the command line, run the command.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "xgboost")]
    on_one_thread();
    nta_daemon::source::kernel::give_back_large();
    nta_daemon::descriptors::count_handed_down();
    let status = nta_daemon::cli::Cli::of_process().execute();
    nta_daemon::telemetry::LOG.finish();
    status
}

/// Starts this program anew with what libgomp reads when it is loaded, before `main`, unless the user has said it.
/// libxgboost asks it for a thread a processor even to load a model, and these wait for each other by spinning: beside busy
/// processors a second of work took a minute and a half.
#[cfg(feature = "xgboost")]
fn on_one_thread() {
    use std::os::unix::process::CommandExt as _;

    const THREADS: &str = "OMP_NUM_THREADS";
    if std::env::var_os(THREADS).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut args = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    // Comes back only if it failed; then it goes on with the threads that it has.
    let _error = command.args(args).env(THREADS, "1").env("OMP_WAIT_POLICY", "PASSIVE").exec();
}
