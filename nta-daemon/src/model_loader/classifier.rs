//! Models of classes from files, or the one that this build brings along. A file is first loaded in a process of its own: if it
//! ends that, the daemon goes on with its rules.

use std::fs::DirBuilder;
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{ModelConfig, read_regular, regular_length};
use crate::xgboost::{BUILT_IN, Xgboost};
use nta_core::domain::{ModelState, ModelUse};
use nta_core::model::{Classifier, MAX_BYTES, ModelError, Refusal};

/// How long loading a model may take in a process of its own.
const TRIAL_DEADLINE: Duration = Duration::from_secs(10);
/// How often that process is looked after.
const TRIAL_POLL: Duration = Duration::from_millis(5);
/// Bytes that are read of what that process says.
const TRIAL_TEXT: u64 = 4 << 10;

/// The shipped model and its manifest, if there is one: made by `nta-daemon train`, see docs/MODELS.md.
#[cfg(shipped_model)]
const SHIPPED: Option<(&[u8], &[u8])> =
    Some((include_bytes!("../../models/xgboost.json"), include_bytes!("../../models/xgboost.manifest.json")));
#[cfg(not(shipped_model))]
const SHIPPED: Option<(&[u8], &[u8])> = None;
/// What the shipped one is called.
const SHIPPED_NAME: &str = "shipped";

/// A model, if there is one to be used, and what the status says about it.
type Shelved = (Option<Arc<Classifier>>, ModelState);

/// The model that the configuration asks for. What cannot be used is logged and shown in the status; rules go on.
pub(super) fn load(config: &ModelConfig) -> Shelved {
    let state = |name: &str, state, reason| {
        (None, ModelState { name: name.to_owned(), state, reason, ..ModelState::default() })
    };
    if !config.enabled {
        return state("", ModelUse::Off, None);
    }
    let is_named = !config.path.as_os_str().is_empty();
    if !BUILT_IN {
        let name = config.path.display().to_string();
        let error = Refusal::NotBuiltIn;
        if is_named {
            tracing::warn!(name, %error, "judging by rules alone");
        }
        return state(&name, ModelUse::NotBuiltIn, Some(error.to_string()));
    }
    let loaded = match SHIPPED {
        _ if is_named => from_file(&config.path),
        Some((model, manifest)) => Classifier::load(&Xgboost, SHIPPED_NAME, manifest, model),
        None => return state("", ModelUse::Missing, None),
    };
    match loaded {
        Ok(model) => of(Arc::new(model)),
        Err(error) => {
            tracing::warn!(%error, "judging by rules alone");
            state(&error.name, ModelUse::Refused, Some(error.reason.to_string()))
        }
    }
}

/// The model that this build brings along, and its manifest.
pub(super) const fn shipped() -> Option<(&'static [u8], &'static [u8])> {
    SHIPPED
}

/// A model from bytes, after it was tried in a process of its own unless it is compiled in; else why it cannot be used.
pub(super) fn from_bytes(
    name: &str,
    manifest: &[u8],
    model: &[u8],
    is_shipped: bool,
) -> Result<(Arc<Classifier>, ModelState), String> {
    if !is_shipped {
        let folder = Folder::make().map_err(|error| format!("it cannot be tried: {error}"))?;
        let path = folder.0.join("model.json");
        let written = std::fs::write(&path, model).and_then(|()| std::fs::write(manifest_path(&path), manifest));
        written.map_err(|error| format!("it cannot be tried: {error}"))?;
        trial(&path).map_err(|reason| reason.to_string())?;
    }
    let loaded = Classifier::load(&Xgboost, name, manifest, model).map_err(|error| error.reason.to_string())?;
    match of(Arc::new(loaded)) {
        (Some(model), state) => Ok((model, state)),
        (None, state) => Err(state.reason.unwrap_or_default()),
    }
}

/// A folder for this user alone that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn make() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("nta-model-{:032x}", rand::random::<u128>()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// What is wrong with the model that is named.
pub(super) fn check(config: &ModelConfig) -> Option<String> {
    if !config.enabled || config.path.as_os_str().is_empty() {
        return None;
    }
    if !BUILT_IN {
        return Some(Refusal::NotBuiltIn.to_string());
    }
    from_file(&config.path).err().map(|error| error.to_string())
}

/// A model that was loaded, in use.
fn of(model: Arc<Classifier>) -> Shelved {
    let manifest = model.manifest();
    let state = ModelState {
        name: model.name().to_owned(),
        state: ModelUse::InUse,
        id: Some(model.id().to_owned()),
        created: Some(manifest.created.clone()),
        classes: manifest.classes.iter().map(|class| class.name.clone()).collect(),
        reason: None,
    };
    (Some(model), state)
}

/// A model from its file and the manifest beside it, after it was tried in a process of its own.
fn from_file(path: &Path) -> Result<Classifier, ModelError> {
    // Nothing needs a process to be seen.
    for file in [path, &manifest_path(path)] {
        let failed =
            |source| Refusal::Read { file: file.display().to_string(), source }.of(&path.display().to_string());
        regular_length(file).map_err(failed)?;
    }
    trial(path).map_err(|reason| reason.of(&path.display().to_string()))?;
    read(path)
}

/// A model from its file and the manifest beside it, in this process.
///
/// # Errors
/// If it cannot be used.
pub fn read(path: &Path) -> Result<Classifier, ModelError> {
    let name = path.display().to_string();
    let bytes = |path: &Path| {
        let failed = |source| Refusal::Read { file: path.display().to_string(), source }.of(&name);
        match regular_length(path).map_err(failed)? {
            Some(length) if length > MAX_BYTES => Err(Refusal::Size(length).of(&name)),
            _ => read_regular(path, MAX_BYTES).map_err(failed),
        }
    };
    let model = bytes(path)?;
    Classifier::load(&Xgboost, &name, &bytes(&manifest_path(path))?, &model)
}

/// Where a model's manifest is: `x.manifest.json` beside `x.json`.
pub fn manifest_path(path: &Path) -> PathBuf {
    path.with_extension("manifest.json")
}

/// Loads a model in another process, which says what is wrong and may die of it.
fn trial(path: &Path) -> Result<(), Refusal> {
    let failed = |error: std::io::Error| Refusal::Trial(error.to_string());
    // Whatever file the program was started from, this is what runs.
    let mut command = Command::new("/proc/self/exe");
    command.args(["--log", "error", "model", "check"]).arg(path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let began = Instant::now();
    let status: ExitStatus = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if began.elapsed() > TRIAL_DEADLINE => {
                let _ = child.kill(); // it may just have ended
                let _ = child.wait();
                return Err(Refusal::Trial(format!("it took more than {} s", TRIAL_DEADLINE.as_secs())));
            }
            None => std::thread::sleep(TRIAL_POLL),
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(TRIAL_TEXT).read_to_string(&mut said); // what is no text says nothing
    }
    let prefix = format!("nta-daemon: model {}: ", path.display());
    match said.lines().find_map(|line| line.strip_prefix(&prefix)) {
        Some(reason) => Err(Refusal::Given(reason.to_owned())),
        None => Err(Refusal::Trial(status.to_string())),
    }
}
