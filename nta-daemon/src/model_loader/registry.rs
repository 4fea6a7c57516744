//! All models that may judge: the one that the daemon brings along, those that the configuration names, those that were trained here;
//! and which of them do. What is chosen is kept in the database, by sensor, and holds over restarts until another is chosen or the
//! configuration names another.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;

use super::words::{Algorithm, Origin};
use super::{ModelHandle, classifier, forest};
use crate::config::{Config, read_regular};
use crate::store::{ActiveModel, Store, StoreError, StoredModel};
use crate::xgboost::BUILT_IN;
use nta_core::domain::Timestamp;
use nta_core::model::forest::{IsolationForest, MAX_FILE_BYTES};
use nta_core::model::{self, Classifier, MAX_BYTES, Models, Refusal, sha256};

/// What is known of a model that was trained here beside its manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Why it is not used; empty where it may be.
    pub refused: Vec<String>,
    /// The figures that decided.
    pub figures: Value,
}

/// A model of the list.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The first digits of its SHA-256.
    pub id: String,
    /// What it is.
    pub algorithm: Algorithm,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it judges.
    pub is_active: bool,
    /// Why it is not used, and the figures that decided.
    pub report: Report,
    /// What it was made from, and how well it does.
    pub manifest: Value,
    /// What each of its inputs weighs, the weightiest first.
    pub importance: Vec<(&'static str, f64)>,
    /// Its length.
    pub bytes: u64,
    /// The job that trained it, and who asked for it.
    pub trained_by: Option<(String, String)>,
    /// When it was made, where that is known.
    pub created: Option<String>,
}

/// Why a model does not judge.
#[derive(Debug, thiserror::Error)]
pub enum NotActivated {
    /// There is none.
    #[error("there is no model {0}; GET /api/models lists them")]
    Unknown(String),
    /// It does not validate.
    #[error("the model {id} does not validate: {why}")]
    Invalid {
        /// Which.
        id: String,
        /// Why not.
        why: String,
    },
    /// It cannot be used by this daemon.
    #[error("the model {id} cannot be used: {why}")]
    Unusable {
        /// Which.
        id: String,
        /// Why not.
        why: String,
    },
    /// The database.
    #[error("{}", .0.chain())]
    Store(#[from] StoreError),
}

/// The models; clones share them.
#[derive(Clone, Debug)]
pub struct Registry {
    store: Store,
    config: Arc<Config>,
    handle: ModelHandle,
    /// One is changed at a time.
    changing: Arc<Mutex<()>>,
}

/// A model's file with what stands beside it.
struct Loaded {
    id: String,
    algorithm: Algorithm,
    origin: Origin,
    model: Vec<u8>,
    manifest: Vec<u8>,
}

impl Registry {
    /// The models of this database and configuration; those that are chosen go to `handle`.
    pub fn new(store: &Store, config: &Config, handle: ModelHandle) -> Self {
        Self { store: store.clone(), config: Arc::new(config.clone()), handle, changing: Arc::default() }
    }

    /// Those that judge.
    pub const fn handle(&self) -> &ModelHandle {
        &self.handle
    }

    /// All models: those that came along or are configured, then those that were trained here, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let stored = self.store.models().await?;
        let judging = judging(&self.handle.current());
        let registry = self.clone();
        let own = tokio::task::spawn_blocking(move || {
            registry.own().into_iter().map(|own| entry(own, None)).collect::<Vec<_>>()
        });
        let mut entries: Vec<Entry> = own.await.unwrap_or_default();
        for model in stored {
            if entries.iter().any(|entry| entry.id == model.id) {
                continue;
            }
            let Some((stored, file)) = self.store.model(&model.id).await? else { continue };
            let Some(algorithm) = Algorithm::named(&stored.algorithm) else { continue };
            let (id, manifest) = (stored.id.clone(), stored.manifest.clone().into_bytes());
            let loaded = Loaded { id, algorithm, origin: Origin::Trained, model: file, manifest };
            let made = tokio::task::spawn_blocking(move || entry(loaded, Some(stored))).await;
            entries.extend(made);
        }
        for entry in &mut entries {
            entry.is_active = judging.contains(&entry.id);
        }
        Ok(entries)
    }

    /// Keeps a model that was trained.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn keep(&self, stored: &StoredModel, file: Vec<u8>) -> Result<(), StoreError> {
        let gone = self.store.insert_model(stored, file).await?;
        if gone > 0 {
            tracing::info!(gone, "the oldest models make room");
        }
        Ok(())
    }

    /// Has a model judge: the next window of the pipeline, and whatever is analysed from now on. Answers which judged before; where it
    /// is the same one, nothing changes.
    ///
    /// # Errors
    /// When there is none of that name, it does not validate or fit this daemon, or that cannot be stored.
    pub async fn activate(
        &self,
        sensor: &str,
        (id, who): (&str, &str),
        now: Timestamp,
    ) -> Result<Option<String>, NotActivated> {
        let _alone = self.changing.lock().await;
        let loaded = self.find(id).await?;
        let algorithm = loaded.algorithm;
        let before = self.handle.current();
        let models = self.with(before.clone(), loaded).await?;
        let chosen = ActiveModel {
            algorithm: algorithm.word().to_owned(),
            model: id.to_owned(),
            configured: self.configured(algorithm),
            who: who.to_owned(),
            activated: now,
        };
        let before = match algorithm {
            Algorithm::Xgboost => before.xgboost.map(|model| model.id().to_owned()),
            Algorithm::IsolationForest => before.forest_id,
        };
        let is_other = before.as_deref() != Some(id);
        // That it judges by request, and not by the configuration, holds over restarts: one who chose it first stays who chose it.
        let is_chosen = |known: &ActiveModel| known.model == id && known.configured == chosen.configured;
        if is_other || !self.store.active_models(sensor).await?.iter().any(is_chosen) {
            self.store.choose_model(sensor, &chosen).await?;
        }
        if is_other {
            self.handle.set(models);
            tracing::info!(id, algorithm = algorithm.word(), who, "another model judges from the next window on");
        }
        Ok(before)
    }

    /// A classifier that validates, to be asked by whoever names it; it does not judge by that.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be used.
    pub async fn classifier(&self, id: &str) -> Result<Arc<Classifier>, NotActivated> {
        let unknown = || NotActivated::Unknown(id.to_owned());
        let loaded = Some(self.find(id).await?).filter(|found| found.algorithm == Algorithm::Xgboost);
        let models = self.with(Models::default(), loaded.ok_or_else(unknown)?).await?;
        models.xgboost.ok_or_else(unknown)
    }

    /// Has those judge that were chosen before the daemon was started. One that cannot be used is logged, and what the configuration
    /// asks for judges.
    pub async fn restore(&self, sensor: &str) {
        let chosen = match self.store.active_models(sensor).await {
            Ok(chosen) => chosen,
            Err(error) => {
                tracing::warn!(
                    error = error.chain(),
                    "which models were chosen cannot be read: those that are configured judge"
                );
                return;
            }
        };
        for ActiveModel { algorithm, model: id, configured, .. } in chosen {
            let Some(algorithm) = Algorithm::named(&algorithm) else { continue };
            if configured != self.configured(algorithm) {
                tracing::info!(id, "the configuration names another model than when this one was chosen, and holds");
                continue;
            }
            if judging(&self.handle.current()).contains(&id) {
                continue;
            }
            let models = match self.find(&id).await {
                Ok(loaded) => self.with(self.handle.current(), loaded).await,
                Err(error) => Err(error),
            };
            match models {
                Ok(models) => self.handle.set(models),
                Err(error) => tracing::warn!(%error, "a model that was chosen does not judge, but what is configured"),
            }
        }
    }

    /// What the configuration says about the models of an algorithm.
    fn configured(&self, algorithm: Algorithm) -> String {
        match algorithm {
            Algorithm::Xgboost => self.config.model.path.display().to_string(),
            Algorithm::IsolationForest => self.config.model.forest.display().to_string(),
        }
    }

    /// Those that are there without the database.
    fn own(&self) -> Vec<Loaded> {
        let mut own = Vec::new();
        if let Some((model, manifest)) = classifier::shipped() {
            let (model, manifest) = (model.to_vec(), manifest.to_vec());
            own.push(Loaded {
                id: id_of(&model),
                algorithm: Algorithm::Xgboost,
                origin: Origin::Shipped,
                model,
                manifest,
            });
        }
        let (path, forest) = (&self.config.model.path, &self.config.model.forest);
        let origin = Origin::Configured;
        if !path.as_os_str().is_empty()
            && let Ok(model) = read_regular(path, MAX_BYTES)
            && let Ok(manifest) = read_regular(&classifier::manifest_path(path), MAX_BYTES)
        {
            own.push(Loaded { id: id_of(&model), algorithm: Algorithm::Xgboost, origin, model, manifest });
        }
        if !forest.as_os_str().is_empty()
            && let Ok(model) = read_regular(forest, MAX_FILE_BYTES)
        {
            own.push(Loaded {
                id: id_of(&model),
                algorithm: Algorithm::IsolationForest,
                origin,
                model,
                manifest: Vec::new(),
            });
        }
        own
    }

    /// A model by its name, if it validates.
    async fn find(&self, id: &str) -> Result<Loaded, NotActivated> {
        let registry = self.clone();
        let own = tokio::task::spawn_blocking(move || registry.own()).await.unwrap_or_default();
        if let Some(found) = own.into_iter().find(|own| own.id == id) {
            return Ok(found);
        }
        let unknown = || NotActivated::Unknown(id.to_owned());
        let (stored, model) = self.store.model(id).await?.ok_or_else(unknown)?;
        let algorithm = Algorithm::named(&stored.algorithm).ok_or_else(unknown)?;
        let report: Report = serde_json::from_str(&stored.report).unwrap_or_else(|error| Report {
            refused: vec![format!("what is known of it cannot be read: {error}")],
            ..Report::default()
        });
        if !report.refused.is_empty() {
            return Err(NotActivated::Invalid { id: id.to_owned(), why: report.refused.join("; ") });
        }
        let manifest = stored.manifest.into_bytes();
        Ok(Loaded { id: stored.id, algorithm, origin: Origin::Trained, model, manifest })
    }

    /// The models with this one in place of its like.
    async fn with(&self, models: Models, loaded: Loaded) -> Result<Models, NotActivated> {
        let (id, config) = (loaded.id.clone(), Arc::clone(&self.config));
        let unusable = |why: String| NotActivated::Unusable { id, why };
        let made = tokio::task::spawn_blocking(move || match loaded.algorithm {
            Algorithm::Xgboost if !config.model.enabled => {
                Err("models are switched off (`[model] enabled`)".to_owned())
            }
            Algorithm::Xgboost if !BUILT_IN => Err(Refusal::NotBuiltIn.to_string()),
            Algorithm::Xgboost => {
                let is_shipped = loaded.origin == Origin::Shipped;
                let name = if loaded.origin == Origin::Configured {
                    config.model.path.display().to_string()
                } else {
                    loaded.origin.word().to_owned()
                };
                let (xgboost, state) = classifier::from_bytes(&name, &loaded.manifest, &loaded.model, is_shipped)?;
                Ok(Models { xgboost: Some(xgboost), state, ..models })
            }
            Algorithm::IsolationForest => {
                let forest = forest::from_bytes(&loaded.model, config.windows.seconds)?;
                Ok(Models { forest: Some(Arc::new(forest)), forest_id: Some(loaded.id), ..models })
            }
        });
        made.await.unwrap_or_else(|_panicked| Err("loading it failed".to_owned())).map_err(unusable)
    }
}

/// Names of the models that judge.
fn judging(models: &Models) -> Vec<String> {
    let classes = models.xgboost.as_ref().map(|model| model.id().to_owned());
    classes.into_iter().chain(models.forest_id.clone()).collect()
}

/// The first digits of the SHA-256 of a model's file.
pub fn id_of(file: &[u8]) -> String {
    sha256(file).chars().take(12).collect()
}

/// A model as the list shows it.
fn entry(loaded: Loaded, stored: Option<StoredModel>) -> Entry {
    let Loaded { id, algorithm, origin, model, manifest } = loaded;
    let (manifest, importance) = match algorithm {
        Algorithm::Xgboost => {
            let created = serde_json::from_slice(&manifest).unwrap_or(Value::Null);
            (created, model::importance(&model).unwrap_or_default())
        }
        Algorithm::IsolationForest => match IsolationForest::known(&model) {
            Ok((forest, manifest)) => (serde_json::to_value(manifest).unwrap_or(Value::Null), forest.importance()),
            Err(_) => (Value::Null, Vec::new()),
        },
    };
    let mut report = Report::default();
    if let Some(stored) = &stored {
        report = serde_json::from_str(&stored.report).unwrap_or_default();
    }
    let created = match &stored {
        Some(stored) => Some(stored.created.to_string()),
        None => manifest["created"].as_str().map(str::to_owned),
    };
    let bytes = model.len() as u64;
    let trained_by = stored.map(|stored| (stored.job, stored.who));
    Entry { id, algorithm, origin, is_active: false, report, manifest, importance, bytes, trained_by, created }
}
