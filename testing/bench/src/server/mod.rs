//! The servers under test, each with nothing beside it.

mod cache;
mod echo;
mod http;

pub use cache::CacheServer;
pub use echo::EchoServer;
pub use http::HttpServer;
