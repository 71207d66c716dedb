//! `cargo xtask deps`: what the privileged tests call, by the Debian package that holds it.

/// Packages, each with what it is for.
const PACKAGES: [(&str, &str); 20] = [
    ("iproute2", "network namespaces, veth pairs, addresses"),
    ("iputils-ping", "echo requests"),
    ("ethtool", "switching offloads off"),
    ("curl", "an HTTP client that is not ours"),
    ("apache2-utils", "ab, an HTTP load that is not ours"),
    ("wrk", "another"),
    ("nghttp2-client", "h2load, one that pipelines"),
    ("slowhttptest", "clients that are slow on purpose"),
    ("openssl", "certificates for tests, and a client of TLS"),
    ("python3-websockets", "a WebSocket client that is not ours"),
    ("memcached", "a memcached that is not ours"),
    ("libmemcached-tools", "memccapable, which asks a cache what it can"),
    ("python3-pymemcache", "a client of a cache, with its tests"),
    ("python3-pytest", "which runs these"),
    ("tshark", "a second opinion on captures"),
    ("tcpdump", "a second opinion on filters"),
    ("clang", "compiling the XDP program"),
    ("llvm", "taking its debugging information off"),
    ("libbpf-dev", "its headers"),
    ("dpdk-dev", "testpmd, a memif peer that is not ours"),
];

/// Prints the packages' names, one a line, for `apt-get install $(cargo xtask deps)`.
pub fn list() {
    for (package, _) in PACKAGES {
        println!("{package}");
    }
}
