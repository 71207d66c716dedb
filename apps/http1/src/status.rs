//! Status codes (RFC 9110, section 15).

/// A status: its code and its reason phrase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Three digits.
    pub code: u16,
    /// What a person reads.
    pub reason: &'static str,
}

macro_rules! statuses {
    ($($(#[$meta:meta])* $name:ident = $code:literal $reason:literal;)*) => {
        impl Status {
            $($(#[$meta])* pub const $name: Self = Self { code: $code, reason: $reason };)*

            /// All that this crate knows.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

statuses! {
    /// Go on with the body.
    CONTINUE = 100 "Continue";
    /// The connection speaks another protocol from here on.
    SWITCHING_PROTOCOLS = 101 "Switching Protocols";
    /// What was asked for follows.
    OK = 200 "OK";
    /// There is something new.
    CREATED = 201 "Created";
    /// It will be done.
    ACCEPTED = 202 "Accepted";
    /// Done, and there is nothing to say.
    NO_CONTENT = 204 "No Content";
    /// The ranges that were asked for.
    PARTIAL_CONTENT = 206 "Partial Content";
    /// The target has another place.
    MOVED_PERMANENTLY = 301 "Moved Permanently";
    /// The client has it already.
    NOT_MODIFIED = 304 "Not Modified";
    /// The request is malformed.
    BAD_REQUEST = 400 "Bad Request";
    /// The client has not said who it is, or not so that it is believed.
    UNAUTHORIZED = 401 "Unauthorized";
    /// Not for this client.
    FORBIDDEN = 403 "Forbidden";
    /// There is no such thing.
    NOT_FOUND = 404 "Not Found";
    /// The target knows other methods.
    METHOD_NOT_ALLOWED = 405 "Method Not Allowed";
    /// The request did not arrive in time.
    REQUEST_TIMEOUT = 408 "Request Timeout";
    /// A condition of the request does not hold.
    PRECONDITION_FAILED = 412 "Precondition Failed";
    /// The body is larger than allowed.
    CONTENT_TOO_LARGE = 413 "Content Too Large";
    /// The target is longer than allowed.
    URI_TOO_LONG = 414 "URI Too Long";
    /// No part of the document lies in the ranges.
    RANGE_NOT_SATISFIABLE = 416 "Range Not Satisfiable";
    /// An expectation that this server does not know.
    EXPECTATION_FAILED = 417 "Expectation Failed";
    /// The name in the request is not served on this connection.
    MISDIRECTED_REQUEST = 421 "Misdirected Request";
    /// The target wants another protocol, or another version of it.
    UPGRADE_REQUIRED = 426 "Upgrade Required";
    /// More requests than allowed.
    TOO_MANY_REQUESTS = 429 "Too Many Requests";
    /// The head is larger than allowed.
    HEADERS_TOO_LARGE = 431 "Request Header Fields Too Large";
    /// A defect of the server.
    INTERNAL_SERVER_ERROR = 500 "Internal Server Error";
    /// A method that this server does not know.
    NOT_IMPLEMENTED = 501 "Not Implemented";
    /// The server is at one of its bounds.
    SERVICE_UNAVAILABLE = 503 "Service Unavailable";
    /// Not HTTP/1.
    VERSION_NOT_SUPPORTED = 505 "HTTP Version Not Supported";
}

impl Status {
    /// Whether an answer of this status has no content by its nature (RFC 9112, section 6.3).
    pub const fn is_bodiless(self) -> bool {
        self.code < 200 || self.code == 204 || self.code == 304
    }

    /// Its place in [`Status::ALL`].
    pub fn place(self) -> usize {
        Self::ALL.iter().position(|known| known.code == self.code).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_differ() {
        assert!(Status::ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert_eq!(Status::ALL[Status::NOT_FOUND.place()], Status::NOT_FOUND);
    }

    #[test]
    fn some_answers_never_have_content() {
        let bodiless: Vec<u16> =
            Status::ALL.iter().filter(|status| status.is_bodiless()).map(|s| s.code).collect();
        assert_eq!(bodiless, [100, 101, 204, 304]);
    }
}
