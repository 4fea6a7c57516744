//! What models are and where they come from, in words.

use serde::{Deserialize, Serialize};

/// What a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Gradient-boosted trees that distinguish classes of attacks.
    Xgboost,
    /// How unlike normal traffic a host is.
    IsolationForest,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Xgboost, Self::IsolationForest];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Xgboost => "xgboost",
            Self::IsolationForest => "isolation_forest",
        }
    }

    /// The one that this word names.
    pub(super) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.word() == word)
    }
}

/// Where a model comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is compiled in.
    Shipped,
    /// The configuration names its file.
    Configured,
    /// It was trained by this daemon.
    Trained,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Shipped, Self::Configured, Self::Trained];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Shipped => "shipped",
            Self::Configured => "configured",
            Self::Trained => "trained",
        }
    }
}
