//! Methods (RFC 9110, section 9).

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// A representation of the target.
    Get,
    /// The same without its content.
    Head,
    /// That the target process the content.
    Post,
    /// That the content replace the target.
    Put,
    /// That the target be removed.
    Delete,
    /// That the target be changed in part (RFC 5789).
    Patch,
    /// What may be asked of the target.
    Options,
    /// The request back.
    Trace,
    /// A tunnel.
    Connect,
    /// Something that RFC 9110 does not know.
    Other,
}

impl Method {
    /// The method of that name; names are case-sensitive.
    pub fn of(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "PATCH" => Self::Patch,
            "OPTIONS" => Self::Options,
            "TRACE" => Self::Trace,
            "CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// Its name; `-` for one that is not known.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
            Self::Other => "-",
        }
    }

    /// Whether a document can be had by it: GET or HEAD.
    pub const fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_written() {
        for name in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"] {
            assert_eq!(Method::of(name).name(), name);
        }
        assert_eq!(Method::of("get"), Method::Other);
    }
}
