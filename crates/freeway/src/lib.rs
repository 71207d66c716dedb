//! What an application imports.
