//! Compares our compact messages with the complete API, both ways: a message that the crate `envoy-types` encodes is decoded and
//! encoded again to the same message. Every field that `proto/` declares is filled, so that a wrong number or type is found.

use std::collections::HashMap;

use elastauth::envoy::wire::auth;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::service::auth::v3 as official;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Any, BoolValue, ListValue, Struct, Timestamp, Value};
use official::attribute_context as context;
use prost::Message as _;

fn pairs(prefix: &str) -> HashMap<String, String> {
    (0..3).map(|n| (format!("{prefix}-{n}"), format!("value {n}"))).collect()
}

fn structure() -> Struct {
    let value = |kind| Value { kind: Some(kind) };
    let list = ListValue { values: vec![value(Kind::NumberValue(1.5)), value(Kind::BoolValue(true))] };
    let inner = Struct { fields: HashMap::from([("s".into(), value(Kind::StringValue("t".into())))]) };
    let fields = [("list", Kind::ListValue(list)), ("inner", Kind::StructValue(inner)), ("null", Kind::NullValue(0))];
    Struct { fields: fields.map(|(name, kind)| (name.to_owned(), value(kind))).into() }
}

fn any() -> Any {
    Any { type_url: "type.googleapis.com/x".into(), value: vec![1, 2] }
}

fn metadata() -> core::Metadata {
    core::Metadata {
        filter_metadata: HashMap::from([("filter".into(), structure())]),
        typed_filter_metadata: HashMap::from([("typed".into(), any())]),
    }
}

fn socket(port: core::socket_address::PortSpecifier) -> core::address::Address {
    core::address::Address::SocketAddress(core::SocketAddress {
        protocol: core::socket_address::Protocol::Udp.into(),
        address: "10.0.0.1".into(),
        resolver_name: "r".into(),
        ipv4_compat: true,
        network_namespace_filepath: "/run/netns/x".into(),
        port_specifier: Some(port),
    })
}

fn addresses() -> [core::address::Address; 4] {
    use core::envoy_internal_address::AddressNameSpecifier::ServerListenerName;
    use core::socket_address::PortSpecifier;
    [
        socket(PortSpecifier::PortValue(4711)),
        socket(PortSpecifier::NamedPort("http".into())),
        core::address::Address::Pipe(core::Pipe { path: "/run/x".into(), mode: 0o600 }),
        core::address::Address::EnvoyInternalAddress(core::EnvoyInternalAddress {
            endpoint_id: "e".into(),
            address_name_specifier: Some(ServerListenerName("l".into())),
        }),
    ]
}

fn peer(name: &str, address: core::address::Address) -> context::Peer {
    context::Peer {
        address: Some(core::Address { address: Some(address) }),
        service: format!("{name}-service"),
        labels: pairs(name),
        principal: format!("spiffe://{name}"),
        certificate: "pem".into(),
    }
}

fn check_request(address: core::address::Address) -> official::CheckRequest {
    let raw =
        core::HeaderValue { key: "authorization".into(), value: String::new(), raw_value: b"Bearer \xff".to_vec() };
    let http = context::HttpRequest {
        id: "1".into(),
        method: "GET".into(),
        headers: pairs("x-header"),
        header_map: Some(core::HeaderMap { headers: vec![raw.clone(), raw] }),
        path: "/a?b".into(),
        host: "h:1".into(),
        scheme: "https".into(),
        query: "q".into(),
        fragment: "f".into(),
        size: -1,
        protocol: "HTTP/2".into(),
        body: "b".into(),
        raw_body: vec![0, 255],
    };
    let time = Some(Timestamp { seconds: 5, nanos: 7 });
    let attributes = official::AttributeContext {
        source: Some(peer("source", address.clone())),
        destination: Some(peer("destination", address)),
        request: Some(context::Request { time, http: Some(http) }),
        context_extensions: pairs("extension"),
        metadata_context: Some(metadata()),
        route_metadata_context: Some(metadata()),
        tls_session: Some(context::TlsSession { sni: "sni".into() }),
    };
    official::CheckRequest { attributes: Some(attributes) }
}

#[expect(deprecated, reason = "`append` is what released Envoys look at")]
fn header(name: &str, action: core::header_value_option::HeaderAppendAction) -> core::HeaderValueOption {
    let value = core::HeaderValue { key: name.into(), value: "v".into(), raw_value: vec![1] };
    core::HeaderValueOption {
        header: Some(value),
        append: Some(BoolValue { value: false }),
        append_action: action.into(),
        keep_empty_value: true,
    }
}

fn denied(code: i32) -> official::DeniedHttpResponse {
    use core::header_value_option::HeaderAppendAction::{AddIfAbsent, OverwriteIfExists};
    official::DeniedHttpResponse {
        status: Some(envoy_types::pb::envoy::r#type::v3::HttpStatus { code }),
        headers: vec![header("a", AddIfAbsent), header("b", OverwriteIfExists)],
        body: "no".into(),
    }
}

#[expect(deprecated, reason = "declared, so it is compared")]
fn replies() -> Vec<official::CheckResponse> {
    use core::header_value_option::HeaderAppendAction::{AppendIfExistsOrAdd, OverwriteIfExistsOrAdd};
    use official::check_response::HttpResponse;
    let ok = official::OkHttpResponse {
        headers: vec![header("authorization", OverwriteIfExistsOrAdd)],
        headers_to_remove: vec!["x".into(), "y".into()],
        dynamic_metadata: Some(structure()),
        response_headers_to_add: vec![header("r", AppendIfExistsOrAdd)],
        query_parameters_to_set: vec![core::QueryParameter { key: "k".into(), value: "v".into() }],
        query_parameters_to_remove: vec!["q".into()],
    };
    let status = envoy_types::pb::google::rpc::Status { code: 16, message: "m".into(), details: vec![any()] };
    [HttpResponse::OkResponse(ok), HttpResponse::DeniedResponse(denied(401)), HttpResponse::ErrorResponse(denied(503))]
        .map(|http| official::CheckResponse {
            status: Some(status.clone()),
            dynamic_metadata: Some(structure()),
            http_response: Some(http),
        })
        .into()
}

#[test]
fn a_request_of_the_complete_api_survives_our_view_field_by_field() {
    for address in addresses() {
        let sent = check_request(address);
        let ours = auth::CheckRequest::decode(sent.encode_to_vec().as_slice()).unwrap();
        // it is kept encoded; the parts that are read in place are tested in src/envoy/wire/http.rs
        let http = ours.attributes.clone().unwrap().request.unwrap().http.unwrap();
        let http = auth::attribute_context::HttpRequest::decode(http).unwrap();
        assert_eq!((&http.method[..], &http.path[..], &http.host[..]), (&b"GET"[..], &b"/a?b"[..], &b"h:1"[..]));
        assert_eq!((http.headers.len(), http.header_map.clone().unwrap().headers.len()), (3, 2));
        let back = official::CheckRequest::decode(ours.encode_to_vec().as_slice()).unwrap();
        assert_eq!(back, sent, "no field is lost or renumbered");
    }
}

#[test]
fn a_reply_of_the_complete_api_survives_our_view_field_by_field() {
    for sent in replies() {
        let ours = auth::CheckResponse::decode(sent.encode_to_vec().as_slice()).unwrap();
        let back = official::CheckResponse::decode(ours.encode_to_vec().as_slice()).unwrap();
        assert_eq!(back, sent, "no field is lost or renumbered");
    }
}

/// Field by field is what elastauth reads of an entry; all else is passed over.
#[test]
fn an_entry_of_the_complete_access_log_shows_its_metadata_and_its_status() {
    use elastauth::envoy::wire::access_log::StreamAccessLogsMessage;
    use elastauth::envoy::wire::log_data::HttpAccessLogEntry;
    use envoy_types::pb::envoy::data::accesslog::v3 as data;
    use envoy_types::pb::envoy::service::accesslog::v3 as service;
    use envoy_types::pb::google::protobuf::UInt32Value;
    use service::stream_access_logs_message::{HttpAccessLogEntries, Identifier, LogEntries, TcpAccessLogEntries};
    let common = data::AccessLogCommon {
        sample_rate: 0.5,
        metadata: Some(metadata()),
        route_name: "route".into(),
        custom_tags: pairs("tag"),
        ..data::AccessLogCommon::default()
    };
    let request = data::HttpRequestProperties { path: "/a".into(), ..data::HttpRequestProperties::default() };
    let response = data::HttpResponseProperties {
        response_code: Some(UInt32Value { value: 401 }),
        response_body_bytes: 7,
        ..data::HttpResponseProperties::default()
    };
    let entry = data::HttpAccessLogEntry {
        common_properties: Some(common.clone()),
        protocol_version: 2,
        request: Some(request),
        response: Some(response),
    };
    let http = HttpAccessLogEntries { log_entry: vec![entry.clone(), entry] };
    let identifier = Some(Identifier { node: None, log_name: "elastauth".into() });
    let sent = service::StreamAccessLogsMessage { identifier, log_entries: Some(LogEntries::HttpLogs(http)) };
    let ours = StreamAccessLogsMessage::decode(sent.encode_to_vec().as_slice()).unwrap();
    let entries = ours.http_logs.unwrap().log_entry;
    assert_eq!(entries.len(), 2);
    for entry in entries {
        let entry = HttpAccessLogEntry::decode(entry).unwrap();
        assert_eq!(entry.response.unwrap().response_code, Some(401));
        let ours = entry.common_properties.unwrap().metadata.unwrap();
        assert_eq!(core::Metadata::decode(ours.encode_to_vec().as_slice()).unwrap(), metadata());
    }
    let tcp = data::TcpAccessLogEntry { common_properties: Some(common), ..data::TcpAccessLogEntry::default() };
    let tcp = Some(LogEntries::TcpLogs(TcpAccessLogEntries { log_entry: vec![tcp] }));
    let sent = service::StreamAccessLogsMessage { identifier: None, log_entries: tcp };
    assert_eq!(StreamAccessLogsMessage::decode(sent.encode_to_vec().as_slice()).unwrap().http_logs, None);
}

#[test]
fn every_http_status_of_the_complete_api_has_the_same_number() {
    use elastauth::envoy::wire::status::StatusCode as Ours;
    use envoy_types::pb::envoy::r#type::v3::StatusCode as Official;
    for code in 0..600 {
        let (ours, official) = (Ours::try_from(code).ok(), Official::try_from(code).ok());
        assert_eq!(ours.map(|c| c.as_str_name()), official.map(|c| c.as_str_name()), "{code}");
    }
}

#[test]
fn unknown_fields_are_passed_over() {
    let [address, ..] = addresses();
    let mut bytes = check_request(address).encode_to_vec();
    // field 999, length-delimited, three bytes
    bytes.extend([0xba, 0x3e, 0x03, 1, 2, 3]);
    assert!(auth::CheckRequest::decode(bytes.as_slice()).unwrap().attributes.is_some());
}
