//! TLS: curl with an authority of the test's own, and openssl's client.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use freeway_interop::netns::Namespace;

use super::site::{Plan, Site, path_text};

/// An authority, and certificates by it.
struct Authority<'a> {
    plan: &'a Plan,
    tools: Namespace,
}

impl<'a> Authority<'a> {
    fn new(plan: &'a Plan) -> Result<Self> {
        let authority = Self { plan, tools: Namespace::new("ca")? };
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=Authority",
            "-keyout",
            &plan.beside("ca.key")?,
            "-out",
            &plan.beside("ca.pem")?,
        ])?;
        Ok(authority)
    }

    fn openssl(&self, words: &[&str]) -> Result<()> {
        super::site::run(self.tools.command("openssl").args(words).stdin(Stdio::null())).map(drop)
    }

    /// A certificate for `name` in `file`.pem, with its key in `file`.key.
    fn sign(&self, file: &str, name: &str) -> Result<()> {
        let [key, request, chain, extension] =
            ["key", "csr", "pem", "ext"].map(|ending| self.plan.beside(&format!("{file}.{ending}")));
        let (key, request, chain, extension) = (key?, request?, chain?, extension?);
        fs::write(&extension, format!("subjectAltName=DNS:{name}\n"))?;
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &key,
            "-out",
            &request,
        ])?;
        let (ca, ca_key) = (self.plan.beside("ca.pem")?, self.plan.beside("ca.key")?);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-days",
            "1",
            "-extfile",
            &extension,
            "-out",
            &chain,
        ])
    }
}

/// curl to a name, with no other authority than the test's.
fn curl(site: &Site, name: &str, path: &str, more: &[&str]) -> Result<String> {
    let ca = path_text(&site.beside("ca.pem"))?;
    let (resolve, url) = (format!("{name}:443:198.18.0.2"), format!("https://{name}{path}"));
    site.curl(&[&["-v", "--cacert", &ca, "--resolve", &resolve], more, &[&url]].concat())
}

/// What openssl's client says of a connection that it closes at once.
fn s_client(site: &Site, name: &str, more: &[&str]) -> Result<String> {
    let ca = path_text(&site.beside("ca.pem"))?;
    let words = ["openssl", "s_client", "-connect", "198.18.0.2:443", "-CAfile", &ca, "-servername", name];
    site.run_with(&[&words, more].concat(), Path::new("/dev/null"))
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn versions_names_and_reload() -> Result<()> {
    let Some(plan) = Plan::new("http_tls", &["openssl", "curl"])? else { return Ok(()) };
    let authority = Authority::new(&plan)?;
    for (file, name) in [("first", "first.example"), ("second", "second.example"), ("third", "first.example")]
    {
        authority.sign(file, name)?;
    }
    let (one, two) = (plan.beside("first")?, plan.beside("second")?);
    let (one, two) = (format!("{one}.pem:{one}.key"), format!("second.example={two}.pem:{two}.key"));
    let large: Vec<u8> = (0..3_000_000_u32).map(|place| (place % 251) as u8).collect();
    let plan = plan.document("large", &large)?.document("small", b"hello, world\n")?;
    let flags =
        ["--https", "443", "--certificate", &one, "--certificate", &two, "--handlers", "echo,ws-echo"];
    let site = plan.flags(&flags).start()?;

    for (version, said_version) in [(&["--tls-max", "1.2"][..], "TLSv1.2"), (&["--tlsv1.3"], "TLSv1.3")] {
        for name in ["first.example", "second.example"] {
            let said = curl(&site, name, "/small", version)?;
            ensure!(
                said.contains("hello, world\n")
                    && said.contains(&format!("SSL connection using {said_version} "))
                    && said.contains(&format!("subject: CN={name}"))
                    && said.contains("ALPN: server accepted http/1.1"),
                "{said}"
            );
        }
        let copy = path_text(&site.beside("copy"))?;
        curl(&site, "first.example", "/large", &[version, &["-o", &copy]].concat())?;
        let got = fs::read(&copy)?;
        ensure!(got.ends_with(&large), "{} bytes", got.len());
        // A body that goes both ways.
        let data = format!("@{}", path_text(&site.document("large"))?);
        let body_max = ["--data-binary", &data, "-o", &copy];
        curl(&site, "first.example", "/echo", &[version, &body_max].concat())?;
        ensure!(fs::read(&copy)?.starts_with(b"HTTP/1.1 413 "), "a body beyond --body-max was taken");
        fs::write(site.beside("part"), &large[..900_000])?;
        let data = format!("@{}", path_text(&site.beside("part"))?);
        curl(&site, "first.example", "/echo", &[version, &["--data-binary", &data, "-o", &copy]].concat())?;
        ensure!(fs::read(&copy)?.ends_with(&large[..900_000]), "an echo over TLS differs");
    }
    // Several requests on a connection.
    let ca = path_text(&site.beside("ca.pem"))?;
    let urls = "https://first.example/small?[1-5]";
    let resolve = ["--resolve", "first.example:443:198.18.0.2"];
    let connects = site.run(
        &[
            &["curl", "-sS", "--cacert", &ca, "-o", "/dev/null", "-w", "%{num_connects} "][..],
            &resolve,
            &[urls],
        ]
        .concat(),
    )?;
    ensure!(connects == "1 0 0 0 0 ", "{connects}");
    // Nothing older, no protocol that is not there, and no plain HTTP.
    ensure!(s_client(&site, "first.example", &["-tls1_1"]).is_err(), "TLS 1.1 was accepted");
    ensure!(s_client(&site, "first.example", &["-alpn", "h2"]).is_err(), "ALPN h2 was accepted");
    ensure!(site.curl(&["http://198.18.0.2:443/"]).is_err(), "plain HTTP was answered");

    // Reload: files changed under the server are used from its SIGHUP on.
    let serial = |site: &Site| -> Result<String> {
        let said = s_client(site, "first.example", &["-showcerts"])?;
        Ok(said.split("-----BEGIN CERTIFICATE-----").nth(1).unwrap_or("").chars().take(400).collect())
    };
    let before = serial(&site)?;
    for ending in ["pem", "key"] {
        fs::copy(site.beside(&format!("third.{ending}")), site.beside(&format!("first.{ending}")))?;
    }
    ensure!(serial(&site)? == before, "a certificate changed before it was told to");
    site.server.hang_up()?;
    for _ in 0..100 {
        if serial(&site)? != before {
            let said = curl(&site, "first.example", "/small", &[])?;
            ensure!(said.contains("hello, world\n"), "{said}");
            // A certificate that does not fit its key changes nothing.
            fs::copy(site.beside("second.pem"), site.beside("first.pem"))?;
            site.server.hang_up()?;
            std::thread::sleep(Duration::from_millis(200));
            curl(&site, "first.example", "/small", &[])?;
            return site.server.stop();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("the new certificate is not used")
}
