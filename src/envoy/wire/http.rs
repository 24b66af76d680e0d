//! `AttributeContext.HttpRequest`, read where it lies: one pass over the encoded message, and only what is wanted becomes a
//! slice of it. Decoded in full, each header would cost two counted slices and a place in a list, wanted or not.

use bytes::Bytes;
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::identity::presented::Header;

/// The numbers of the fields that are read.
mod field {
    pub const ID: u32 = 1;
    pub const METHOD: u32 = 2;
    pub const HEADERS: u32 = 3;
    pub const PATH: u32 = 4;
    pub const HOST: u32 = 5;
    pub const HEADER_MAP: u32 = 13;
    /// Of an entry of `headers` and of a `HeaderValue`.
    pub const KEY: u32 = 1;
    pub const VALUE: u32 = 2;
    pub const RAW_VALUE: u32 = 3;
    /// Of a `HeaderMap`.
    pub const ALL: u32 = 1;
}

/// The bytes are no `HttpRequest`.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// By the rules of the encoding.
    #[error(transparent)]
    Encoding(#[from] DecodeError),
    /// A field that is longer than what it stands in.
    #[error("a field ends beyond its message")]
    Length,
}

/// What was wanted of it.
#[derive(Clone, Debug, Default)]
pub struct Http {
    /// Envoy's stream id.
    pub id: Bytes,
    /// The method.
    pub method: Bytes,
    /// With the query.
    pub path: Bytes,
    /// With the port, if the client named one.
    pub host: Bytes,
    /// What stands under each of the names, in their order. Out of `headers` and `header_map`: Envoy fills one of the two, and
    /// reading both lets neither hide a second value.
    pub headers: Vec<Header>,
    /// Every `cookie` header, if they are wanted: a client may send several (RFC 9113 §8.2.3).
    pub cookies: Vec<Bytes>,
}

/// Reads the encoded message. Names of headers are compared without regard to case.
pub fn read<T: AsRef<str>>(message: &Bytes, names: &[T], cookies: bool) -> Result<Http, Malformed> {
    let see = |http: &mut Http, entry| -> Result<(), Malformed> {
        let (key, value) = header(entry)?;
        // slice_ref knows no empty slice of another place
        let value = || if value.is_empty() { Bytes::new() } else { message.slice_ref(value) };
        for (name, header) in names.iter().zip(&mut http.headers) {
            if key.eq_ignore_ascii_case(name.as_ref().as_bytes()) {
                *header = if *header == Header::Absent { Header::One(value()) } else { Header::Several };
            }
        }
        if cookies && key.eq_ignore_ascii_case(b"cookie") {
            http.cookies.push(value());
        }
        Ok(())
    };
    let mut http = Http { headers: vec![Header::Absent; names.len()], ..Http::default() };
    let mut rest = &message[..];
    while let Some((number, value)) = next(&mut rest)? {
        match number {
            field::ID => http.id = message.slice_ref(value),
            field::METHOD => http.method = message.slice_ref(value),
            field::PATH => http.path = message.slice_ref(value),
            field::HOST => http.host = message.slice_ref(value),
            field::HEADERS => see(&mut http, value)?,
            field::HEADER_MAP => {
                let mut map = value;
                while let Some((number, value)) = next(&mut map)? {
                    if number == field::ALL {
                        see(&mut http, value)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(http)
}

/// Name and value of a header. `raw_value` stands for `value` where it is set.
fn header(entry: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut key, mut text, mut raw): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let mut rest = entry;
    while let Some((number, value)) = next(&mut rest)? {
        match number {
            field::KEY => key = value,
            field::VALUE => text = value,
            field::RAW_VALUE => raw = value,
            _ => {}
        }
    }
    Ok((key, if raw.is_empty() { text } else { raw }))
}

/// The next length-delimited field; others are passed over, as unknown ones are.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<(u32, &'a [u8])>, Malformed> {
    while !rest.is_empty() {
        let (number, kind) = decode_key(rest)?;
        if kind != WireType::LengthDelimited {
            skip_field(kind, number, rest, DecodeContext::default())?;
            continue;
        }
        let length = usize::try_from(decode_varint(rest)?).unwrap_or(usize::MAX);
        let (value, after) = rest.split_at_checked(length).ok_or(Malformed::Length)?;
        *rest = after;
        return Ok(Some((number, value)));
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
