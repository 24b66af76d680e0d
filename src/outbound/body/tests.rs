use std::io::Write as _;

use axum::Router;
use axum::http::HeaderMap as Headers;
use axum::response::Response as Answer;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::net::TcpListener;

use super::*;
use crate::outbound::client;

const LIMIT: usize = 64 * 1024;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Requests an answer with these bytes and encodings; returns what was read of it and the `Accept-Encoding` of the request.
async fn answered(encodings: &[&'static str], sent: Vec<u8>) -> (Result<Vec<u8>, BodyError>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: url::Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (asked, asking) = tokio::sync::oneshot::channel();
    let asked = std::sync::Arc::new(parking_lot::Mutex::new(Some(asked)));
    let encodings = encodings.to_vec();
    let answer = move |headers: Headers| async move {
        let accepted = headers.get_all("accept-encoding").iter().map(|value| value.to_str().unwrap().to_owned());
        let _ = asked.lock().take().unwrap().send(accepted.collect());
        let answer = Answer::builder();
        let answer = encodings.iter().fold(answer, |answer, encoding| answer.header("content-encoding", *encoding));
        answer.body(axum::body::Body::from(sent)).unwrap()
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let client = client(None, [&url]).unwrap().build().unwrap();
    (body(client.get(url).send().await.unwrap(), LIMIT).await, asking.await.unwrap())
}

#[tokio::test]
async fn no_encoding_is_asked_for_and_gzip_is_read_all_the_same() {
    let plain = br#"{"created":true}"#.to_vec();
    let twice = [gzip(&plain[..5]), gzip(&plain[5..])].concat();
    for (encodings, sent) in [
        (&[][..], plain.clone()),
        (&["identity"], plain.clone()),
        (&["gzip"], gzip(&plain)),
        (&["GZip"], gzip(&plain)),
        (&["x-gzip"], gzip(&plain)),
        (&["identity, gzip"], gzip(&plain)),
        (&["identity", "gzip"], gzip(&plain)),
        (&["gzip"], twice),
    ] {
        let (found, asked) = answered(encodings, sent).await;
        assert_eq!(found.unwrap(), plain, "{encodings:?}");
        assert_eq!(asked, ["identity"]);
    }
    assert_eq!(answered(&["gzip"], Vec::new()).await.0.unwrap(), b"", "an empty body with the header");
}

#[tokio::test]
async fn another_encoding_and_broken_gzip_are_errors_that_say_so() {
    let plain = vec![b'x'; 1000];
    let whole = gzip(&plain);
    for (encodings, sent, part) in [
        (&["br"][..], plain.clone(), "content-encoding br, which was not asked for"),
        (&["deflate"], plain.clone(), "deflate"),
        (&["zstd"], plain.clone(), "zstd"),
        (&["gzip, gzip"], whole.clone(), "gzip, gzip"),
        (&["gzip", "br"], whole.clone(), "gzip, br"),
        (&["gzip"], plain, "cannot be decoded"),
        (&["gzip"], whole[..whole.len() - 9].to_vec(), "cannot be decoded"),
        (&["gzip"], whole[..5].to_vec(), "cannot be decoded"),
    ] {
        let (found, _) = answered(encodings, sent).await;
        assert!(matches!(&found, Err(BodyError::Broken(why)) if why.contains(part)), "{encodings:?} {found:?}");
    }
}

#[tokio::test]
async fn the_bound_counts_what_is_decoded_and_stops_there() {
    let full = vec![b'x'; LIMIT];
    assert_eq!(answered(&["gzip"], gzip(&full)).await.0.unwrap(), full);
    // some 64 kB that would become 64 MB
    let bomb = gzip(&vec![0; 1000 * LIMIT]);
    for (encodings, sent) in [
        (&["gzip"][..], gzip(&vec![b'x'; LIMIT + 1])),
        (&["gzip"], bomb.clone()),
        (&[], vec![b'x'; LIMIT + 1]),
        // nothing but the headers of empty members
        (&["gzip"], gzip(b"").repeat(LIMIT)),
    ] {
        let (found, _) = answered(encodings, sent).await;
        assert!(matches!(&found, Err(BodyError::Oversize(why)) if why.contains("65536 bytes")), "{encodings:?}");
    }
    let mut decoder = MultiGzDecoder::new(Bounded { bytes: Vec::new(), limit: LIMIT, full: false });
    assert!(decoder.write_all(&bomb).is_err());
    assert!(decoder.get_ref().full && decoder.get_ref().bytes.capacity() <= 2 * LIMIT, "what is kept");
}
