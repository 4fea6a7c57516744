//! TLS of the listener. Certificate and key are files; they are read again when the daemon is asked to (SIGHUP), and connections that are
//! open go on with what they have.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("{key} {}: {source}", path.display())]
    File {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: pem::Error,
    },
    /// There is no certificate in the file.
    #[error("api.tls_cert {}: there is no certificate in it (`-----BEGIN CERTIFICATE-----`)", .0.display())]
    NoCertificate(PathBuf),
    /// Certificate and key do not belong together, or the key is of a kind that is not known.
    #[error("api.tls_cert and api.tls_key: {0}")]
    Unusable(#[from] rustls::Error),
}

impl TlsError {
    /// The setting to be looked at.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::File { key, .. } => key,
            Self::NoCertificate(_) | Self::Unusable(_) => "api.tls_cert",
        }
    }
}

/// What the listener speaks TLS with.
#[derive(Debug)]
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    now: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads a chain of certificates, the server's own first, and its key, both PEM.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let now = RwLock::new(Arc::new(read(cert, key)?));
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), now })
    }

    /// Reads them again: new connections get what is there now.
    ///
    /// # Errors
    /// Names the file that cannot be used; what was read before goes on.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(read(&self.cert, &self.key)?);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// What a new connection gets.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let unreadable = |key: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { key, path, source }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let chain = chain.map_err(unreadable("api.tls_cert", cert))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(cert.to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable("api.tls_key", key))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = config.with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
