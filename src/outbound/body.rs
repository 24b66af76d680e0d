//! Reads the whole body of an answer: decoded, and never longer than a limit of the caller's.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use super::chain;

/// Why the body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The body is longer than the limit.
    #[error("{0}")]
    Oversize(String),
    /// The connection broke, or the bytes cannot be decoded.
    #[error("{0}")]
    Broken(String),
}

/// The whole body, unless it has more than `limit` bytes, before decoding or after. Requests ask for no encoding, but some
/// servers and proxies compress all the same: gzip is decoded (RFC 9110 §8.4.1.3), any other encoding is an error.
pub(crate) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut decoder = Decoder::of(response.headers(), limit)?;
    let mut read = 0;
    while let Some(chunk) = response.chunk().await.map_err(|error| BodyError::Broken(chain(error)))? {
        read += chunk.len();
        if read > limit {
            return Err(oversize(limit));
        }
        decoder.take(&chunk)?;
    }
    decoder.finish(read)
}

fn oversize(limit: usize) -> BodyError {
    BodyError::Oversize(format!("answered more than {limit} bytes"))
}

enum Decoder {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl Decoder {
    fn of(headers: &HeaderMap, limit: usize) -> Result<Self, BodyError> {
        let bounded = Bounded { bytes: Vec::new(), limit, full: false };
        let named = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?"));
        let named: Vec<String> =
            named.flat_map(|value| value.split(',')).map(|one| one.trim().to_lowercase()).collect();
        let applied: Vec<&str> =
            named.iter().map(String::as_str).filter(|one| !["", "identity"].contains(one)).collect();
        match applied.as_slice() {
            [] => Ok(Self::Plain(bounded)),
            ["gzip" | "x-gzip"] => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(bounded)))),
            others => {
                let others: String = others.join(", ").chars().filter(|c| !c.is_control()).take(40).collect();
                Err(BodyError::Broken(format!("answered with content-encoding {others}, which was not asked for")))
            }
        }
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), BodyError> {
        match self {
            Self::Plain(bounded) => bounded.write_all(chunk).map_err(|_| oversize(bounded.limit)),
            Self::Gzip(decoder) => decoder.write_all(chunk).map_err(|error| undecoded(decoder.get_ref(), &error)),
        }
    }

    /// The body after the last bytes. Some servers send the header of gzip with an empty body, too.
    fn finish(self, read: usize) -> Result<Vec<u8>, BodyError> {
        match self {
            Self::Plain(bounded) => Ok(bounded.bytes),
            Self::Gzip(_) if read == 0 => Ok(Vec::new()),
            Self::Gzip(mut decoder) => {
                let finished = decoder.try_finish();
                finished.map_err(|error| undecoded(decoder.get_ref(), &error))?;
                Ok(std::mem::take(&mut decoder.get_mut().bytes))
            }
        }
    }
}

fn undecoded(bounded: &Bounded, error: &io::Error) -> BodyError {
    if bounded.full {
        return oversize(bounded.limit);
    }
    BodyError::Broken(format!("answered gzip that cannot be decoded: {error}"))
}

/// A buffer that takes no more than `limit` bytes: a megabyte of gzip can become a gigabyte.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + piece.len() > self.limit {
            self.full = true;
            return Err(io::Error::other("too long"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
