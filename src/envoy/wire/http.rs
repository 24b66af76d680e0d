//! Reads `AttributeContext.HttpRequest` in one pass over the encoded message. Only wanted values become slices of it. A complete
//! decoding would cost two reference-counted slices and a place in a list for each header, wanted or not.

use bytes::Bytes;
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::identity::attributes::Header;

/// The numbers of the fields that are read.
mod field {
    pub(super) const ID: u32 = 1;
    pub(super) const METHOD: u32 = 2;
    pub(super) const HEADERS: u32 = 3;
    pub(super) const PATH: u32 = 4;
    pub(super) const HOST: u32 = 5;
    pub(super) const BODY: u32 = 11;
    pub(super) const RAW_BODY: u32 = 12;
    pub(super) const HEADER_MAP: u32 = 13;
    /// These three are fields of an entry of `headers` and of a `HeaderValue`.
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    pub(super) const RAW_VALUE: u32 = 3;
    /// The field of a `HeaderMap`, its list of entries.
    pub(super) const ALL: u32 = 1;

    /// The fields that are read of an `HttpRequest`, an entry and a `HeaderMap`: all of them are bytes or messages.
    pub(super) const OF_REQUEST: &[u32] = &[ID, METHOD, HEADERS, PATH, HOST, BODY, RAW_BODY, HEADER_MAP];
    pub(super) const OF_ENTRY: &[u32] = &[KEY, VALUE, RAW_VALUE];
    pub(super) const OF_MAP: &[u32] = &[ALL];
}

/// Why the bytes are no `HttpRequest`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    /// They break the rules of protobuf's encoding.
    #[error(transparent)]
    Encoding(#[from] DecodeError),
    /// A field that is read has another wire type than bytes.
    #[error("field {0} is of another type")]
    Type(u32),
    /// A field is longer than the message that contains it.
    #[error("a field ends beyond its message")]
    Length,
}

/// The wanted parts of an `HttpRequest`.
#[derive(Clone, Debug)]
pub(crate) struct Http<const N: usize> {
    /// Envoy's id of the stream, unique within one Envoy.
    pub(crate) id: Bytes,
    /// The method of the request, such as `GET`.
    pub(crate) method: Bytes,
    /// The path with its query.
    pub(crate) path: Bytes,
    /// The host, with the port if the client named one.
    pub(crate) host: Bytes,
    /// The headers with the given names, in their order. They are read from `headers` and `header_map`: Envoy fills one of the
    /// two, and reading both ensures that neither hides a second value.
    pub(crate) headers: [Header; N],
    /// The headers with the configured names: a list, which takes no memory when there are none.
    pub(crate) more: Vec<Header>,
    /// Every `cookie` header, if they are wanted: a client may send several (RFC 9113 §8.2.3).
    pub(crate) cookies: Vec<Bytes>,
    /// What Envoy has buffered of the body, if it is to pass it on.
    pub(crate) body: Bytes,
}

/// Reads the encoded message. Names of headers are compared without regard to case.
pub(crate) fn read<const N: usize>(
    message: &Bytes,
    names: [&str; N],
    more: &[String],
    cookies: bool,
) -> Result<Http<N>, Malformed> {
    let see = |http: &mut Http<N>, entry| -> Result<(), Malformed> {
        let (key, value) = header(entry)?;
        let note = |name: &str, header: &mut Header| {
            if key.eq_ignore_ascii_case(name.as_bytes()) {
                *header =
                    if *header == Header::Absent { Header::One(message.slice_ref(value)) } else { Header::Several };
            }
        };
        names.iter().zip(&mut http.headers).for_each(|(name, header)| note(name, header));
        more.iter().zip(&mut http.more).for_each(|(name, header)| note(name, header));
        if cookies && key.eq_ignore_ascii_case(b"cookie") {
            http.cookies.push(message.slice_ref(value));
        }
        Ok(())
    };
    let mut http = Http {
        id: Bytes::new(),
        method: Bytes::new(),
        path: Bytes::new(),
        host: Bytes::new(),
        headers: [const { Header::Absent }; N],
        more: vec![Header::Absent; more.len()],
        cookies: Vec::new(),
        body: Bytes::new(),
    };
    let mut rest = &message[..];
    while let Some((number, value)) = next(&mut rest, field::OF_REQUEST)? {
        match number {
            field::ID => http.id = message.slice_ref(value),
            field::METHOD => http.method = message.slice_ref(value),
            field::PATH => http.path = message.slice_ref(value),
            field::HOST => http.host = message.slice_ref(value),
            field::BODY | field::RAW_BODY => http.body = message.slice_ref(value),
            field::HEADERS => see(&mut http, value)?,
            field::HEADER_MAP => {
                let mut map = value;
                while let Some((number, value)) = next(&mut map, field::OF_MAP)? {
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

/// Name and value of a header. A `raw_value` that is set comes before `value`.
fn header(entry: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut key, mut text, mut raw): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let mut rest = entry;
    while let Some((number, value)) = next(&mut rest, field::OF_ENTRY)? {
        match number {
            field::KEY => key = value,
            field::VALUE => text = value,
            field::RAW_VALUE => raw = value,
            _ => {}
        }
    }
    Ok((key, if raw.is_empty() { text } else { raw }))
}

/// The next length-delimited field. A field of another type is skipped, as an unknown one is, unless it is among `read`: then it
/// is an error.
fn next<'a>(rest: &mut &'a [u8], read: &[u32]) -> Result<Option<(u32, &'a [u8])>, Malformed> {
    while let [first, ..] = *rest {
        // Number and length nearly always have a byte each. Without prost, as here, reading such a field costs a quarter of the
        // instructions, and a request has four of them for each header.
        if let [_, length @ ..=0x7f, after @ ..] = *rest
            && first & 0x87 == WireType::LengthDelimited as u8
            && *first > 0x07
        {
            return cut(rest, after, usize::from(*length)).map(|value| Some((u32::from(first >> 3), value)));
        }
        let (number, kind) = decode_key(rest)?;
        if kind != WireType::LengthDelimited {
            if read.contains(&number) {
                return Err(Malformed::Type(number));
            }
            skip_field(kind, number, rest, DecodeContext::default())?;
            continue;
        }
        let length = usize::try_from(decode_varint(rest)?).unwrap_or(usize::MAX);
        return cut(rest, rest, length).map(|value| Some((number, value)));
    }
    Ok(None)
}

/// The first `length` bytes of `after`; `rest` becomes what follows them.
fn cut<'a>(rest: &mut &'a [u8], after: &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (value, behind) = after.split_at_checked(length).ok_or(Malformed::Length)?;
    *rest = behind;
    Ok(value)
}

#[cfg(test)]
mod tests;
