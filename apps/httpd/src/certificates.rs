//! Certificates and the keys of tickets: read, changed and handed to the cores by threads of their own.
//!
//! A core has all of it in one immutable value, which it looks for anew in every turn; nothing that it reads is locked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use freeway::ring::{Consumer, Producer, spsc};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tracing::warn;

use crate::tickets::Keys;

/// A site's certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The names it is for; none for the one that clients get that name none of the others.
    pub names: Vec<String>,
    /// The chain, in PEM, the site's own first.
    pub chain: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}

/// Certificates that cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file that cannot be read, or is no PEM.
    #[error("{path}: {source}", path = .path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A key that is not its certificate's, or of a kind that is not known.
    #[error("{path}: {source}", path = .path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// There is no certificate.
    #[error("TLS needs a certificate")]
    None,
    /// The system gives no random numbers.
    #[error("no random numbers for a ticket's key")]
    Random,
}

/// How long tickets are made with one key; they are taken for as long again.
const KEY_TIME: Duration = Duration::from_secs(6 * 3_600);

/// All certificates, the keys of tickets, and the cores that use them. While cores do, a thread of its own makes a new key
/// every six hours; what was recorded of a session stays secret when its ticket's key is gone, twelve hours at most.
pub struct Tls {
    shared: Arc<Mutex<Shared>>,
    // Dropping the sender ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread has, too.
struct Shared {
    keys: Keys,
    resolver: Arc<Resolver>,
    current: Arc<ServerConfig>,
    /// Those before, which cores may still have: freed here when they do not.
    old: Vec<Arc<ServerConfig>>,
    cores: Vec<Producer<Arc<ServerConfig>>>,
}

/// What one core learns of the certificates.
pub struct TlsFeed {
    config: Arc<ServerConfig>,
    updates: Consumer<Arc<ServerConfig>>,
}

impl TlsFeed {
    pub(crate) const fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// Takes what is new.
    #[inline]
    pub(crate) fn turn(&mut self) {
        while let Some(config) = self.updates.pop() {
            // The one before is freed where it was made.
            self.config = config;
        }
    }
}

impl Tls {
    /// Reads all certificates.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn open(certificates: &[Certificate]) -> Result<Self, TlsError> {
        let keys = Keys::new()?;
        let resolver = Arc::new(resolve(certificates)?);
        let current = configure(&resolver, &keys)?;
        let shared = Shared { keys, resolver, current, old: Vec::new(), cores: Vec::new() };
        Ok(Self { shared: Arc::new(Mutex::new(shared)), stop: None, thread: None })
    }

    /// What one core needs.
    pub fn feed(&mut self) -> TlsFeed {
        if self.thread.is_none() {
            self.change_keys();
        }
        let mut shared = lock(&self.shared);
        let (producer, updates) = spsc(4);
        shared.cores.push(producer);
        TlsFeed { config: Arc::clone(&shared.current), updates }
    }

    /// Has a thread make a new key every now and then.
    fn change_keys(&mut self) {
        let (stop, ends) = channel();
        let shared = Arc::clone(&self.shared);
        let change = move || {
            while ends.recv_timeout(KEY_TIME) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = lock(&shared).rotate() {
                    warn!(%error, "tickets keep their key");
                }
            }
        };
        match thread::Builder::new().name("ticket keys".into()).spawn(change) {
            Ok(thread) => (self.stop, self.thread) = (Some(stop), Some(thread)),
            Err(error) => warn!(%error, "no thread to change the keys of tickets"),
        }
    }

    /// Reads other certificates, or the same ones again, and changes nothing yet.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn prepare(certificates: &[Certificate]) -> Result<TlsChange, TlsError> {
        Ok(TlsChange { resolver: Arc::new(resolve(certificates)?) })
    }

    /// Uses what was prepared, for connections that are opened from now on.
    pub fn change(&mut self, change: TlsChange) {
        lock(&self.shared).change(change);
    }

    /// Makes tickets with a new key from now on, as happens every six hours. Those made with the one before are still
    /// taken; older ones lead to a full handshake.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]; the old key stays.
    pub fn rotate(&mut self) -> Result<(), TlsError> {
        lock(&self.shared).rotate()
    }
}

/// Certificates that were read and are not used yet.
pub struct TlsChange {
    resolver: Arc<Resolver>,
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a thread has left half-done by a panic is whole: its fields change one by one.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn change(&mut self, TlsChange { resolver }: TlsChange) {
        // The protocols are the same as before, so this cannot fail.
        if let Ok(config) = configure(&resolver, &self.keys) {
            self.resolver = resolver;
            self.publish(config);
        }
    }

    fn rotate(&mut self) -> Result<(), TlsError> {
        let keys = self.keys.next()?;
        let config = configure(&self.resolver, &keys)?;
        self.keys = keys;
        self.publish(config);
        Ok(())
    }

    fn publish(&mut self, new: Arc<ServerConfig>) {
        for core in &mut self.cores {
            // Cores look in every turn: one that has not four times over is gone.
            let _ = core.push(Arc::clone(&new));
        }
        self.old.push(std::mem::replace(&mut self.current, new));
        self.old.retain(|config| Arc::strong_count(config) > 1);
    }
}

/// Reads certificates.
fn resolve(certificates: &[Certificate]) -> Result<Resolver, TlsError> {
    let provider = rustls::crypto::ring::default_provider();
    let mut resolver = Resolver { by_name: HashMap::new(), default: None };
    for certificate in certificates {
        let key = Arc::new(load(certificate, &provider)?);
        if certificate.names.is_empty() || resolver.default.is_none() {
            resolver.default = Some(Arc::clone(&key));
        }
        for name in &certificate.names {
            resolver.by_name.insert(name.to_ascii_lowercase(), Arc::clone(&key));
        }
    }
    if resolver.default.is_none() {
        return Err(TlsError::None);
    }
    Ok(resolver)
}

fn configure(resolver: &Arc<Resolver>, keys: &Keys) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let broken = |source| TlsError::Key { path: PathBuf::new(), source };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(broken)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::<Resolver>::clone(resolver));
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    // Sessions are the client's to keep: a store of them would sit behind a lock.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(keys.clone());
    Ok(Arc::new(config))
}

fn load(
    certificate: &Certificate,
    provider: &rustls::crypto::CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let pem = |path: &Path| {
        let path = path.to_path_buf();
        move |source| TlsError::Pem { path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&certificate.chain)
        .map_err(pem(&certificate.chain))?
        .collect::<Result<_, _>>()
        .map_err(pem(&certificate.chain))?;
    let key = PrivateKeyDer::from_pem_file(&certificate.key).map_err(pem(&certificate.key))?;
    let bad_key = |source| TlsError::Key { path: certificate.key.clone(), source };
    CertifiedKey::from_der(chain, key, provider).map_err(bad_key)
}

/// Certificates by the name that a client asks for (RFC 6066, section 3).
#[derive(Debug)]
struct Resolver {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has the name in lower case.
        let named = hello.server_name().and_then(|name| self.by_name.get(name));
        named.or(self.default.as_ref()).cloned()
    }
}
