//! Linux as the peer, in network namespaces of the test's own.
