//! A TLS client: rustls, unchanged, over a stream of Freeway's.
//!
//! ```sh
//! cd /tmp && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
//!     -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
//! unshare -n sh -c 'ip link set lo up; openssl s_server -quiet -accept 8443 -cert cert.pem -key key.pem -www & sleep 1;
//!     target/debug/tls-client --connect 198.18.0.1:8443 --name localhost --ca cert.pem; kill $!'
//! ```

#![forbid(unsafe_code)]

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use anyhow::{Context as _, Result};
use clap::Parser;
use freeway::Duration;
use freeway_async::{TcpStream, timeout};
use freeway_examples::{Options, run_async};
use futures_rustls::TlsConnector;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

/// Asks for a page over TLS and prints it.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    options: Options,
    /// The server.
    #[arg(long, value_name = "ADDR:PORT")]
    connect: SocketAddr,
    /// The name that its certificate must have.
    #[arg(long)]
    name: String,
    /// Whose certificates are trusted, in PEM.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
}

/// All that a handshake needs of the one who connects.
fn client(ca: &[u8]) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca) {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Asks `server`, which must prove to be `name`, for its first page.
async fn fetch(connector: TlsConnector, server: SocketAddr, name: ServerName<'static>) -> Result<Vec<u8>> {
    let stream =
        timeout(Duration::from_secs(5), TcpStream::connect(server)).await?.context("no connection")?;
    let mut stream = connector.connect(name, stream).await.context("no trust")?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page).await?;
    Ok(page)
}

fn main() -> Result<()> {
    let Args { options, connect, name, ca } = Args::parse();
    let connector = client(&fs::read(&ca).with_context(|| format!("--ca {}", ca.display()))?)?;
    let name = ServerName::try_from(name).context("--name")?;
    let (tell, told) = mpsc::channel();
    run_async(&options, move || async move {
        // The receiver outlives the core.
        let _ = tell.send(fetch(connector, connect, name).await);
    })?;
    std::io::stdout().write_all(&told.recv().context("interrupted")??)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use freeway_async::TcpListener;
    use freeway_examples::lab::{at, check, tasks};
    use futures_rustls::TlsAcceptor;
    use rcgen::CertifiedKey;
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;

    use super::*;

    /// A server with a certificate of its own, for two connections.
    async fn serve(acceptor: TlsAcceptor) {
        let listener = TcpListener::bind(443).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust it says so and leaves.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 18];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(&request, b"GET / HTTP/1.0\r\n\r\n");
            stream.write_all(&vec![b'x'; 100_000]).await.unwrap();
            stream.close().await.unwrap();
        }
    }

    #[test]
    fn a_page_comes_over_tls_from_the_server_that_is_trusted_alone() {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["server.test".into()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let connector = client(cert.pem().as_bytes()).unwrap();
        let ask = move || async move {
            let error =
                fetch(connector.clone(), at(443), "other.test".try_into().unwrap()).await.unwrap_err();
            assert_eq!(error.to_string(), "no trust");
            let page = fetch(connector, at(443), "server.test".try_into().unwrap()).await.unwrap();
            assert!(page.len() == 100_000 && page.iter().all(|&byte| byte == b'x'));
        };
        check(tasks(move || serve(acceptor)), ask).unwrap();
    }
}
