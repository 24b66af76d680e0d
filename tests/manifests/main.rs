//! Checks the shipped files, read as YAML, for settings without which access is open or a deployment does not work.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod account;
mod envoys;

use std::collections::BTreeSet;
use std::fs;

use elastauth_support::servers::root;
use elastauth_support::yaml::{all, documents};
use serde_json::{Value, json};

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn objects(path: &str) -> Vec<Value> {
    documents(&read(path))
}

/// The objects of one kind, by their name.
fn of_kind<'o>(objects: &'o [Value], kind: &'o str) -> impl Iterator<Item = (&'o str, &'o Value)> {
    let named = |object: &'o Value| (object["metadata"]["name"].as_str().unwrap(), object);
    objects.iter().filter(move |object| object["kind"] == kind).map(named)
}

/// A duration such as `4s` or `0.01s`, in milliseconds.
fn milliseconds(duration: &Value) -> u32 {
    let text = duration.as_str().unwrap();
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap());
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    assert!(part.len() <= 3, "{text}");
    let number = whole.parse::<u32>().unwrap() * 1000 + format!("{part:0<3}").parse::<u32>().unwrap();
    match unit {
        "s" => number,
        "ms" => number / 1000,
        "m" => number * 60,
        other => panic!("{text}: {other}"),
    }
}

/// The default of `grpc.deadline`, within which elastauth answers.
fn deadline() -> u32 {
    let page = read("docs/configuration.md");
    let row = page.lines().find(|line| line.starts_with("| `grpc.deadline` |")).unwrap();
    milliseconds(&row.split('`').nth(3).unwrap().into())
}

#[test]
fn compose_opens_its_port_on_this_machine_only() {
    let compose = objects("envoy/compose/compose.yaml").remove(0);
    let ports: Vec<_> = all(&compose, "ports").into_iter().flat_map(|ports| ports.as_array().unwrap()).collect();
    assert!(!ports.is_empty());
    for port in ports {
        assert!(port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:")), "{port}");
    }
    assert!(all(&compose, "network_mode").is_empty());
}

#[test]
fn in_compose_only_elasticsearch_and_the_setup_know_the_administrators_password() {
    let compose = objects("envoy/compose/compose.yaml").remove(0);
    let knows = |service: &Value| service.to_string().contains("ELASTIC_PASSWORD");
    let services = compose["services"].as_object().unwrap();
    let knowing: Vec<_> = services.iter().filter(|(_, service)| knows(service)).map(|(name, _)| name).collect();
    assert_eq!(knowing, ["elasticsearch", "setup"]);
    let config = objects("envoy/compose/config.yml").remove(0);
    assert_eq!(config["elasticsearch"]["username"], "elastauth");
    for service in ["elastauth-1", "elastauth-2", "kibana"] {
        let awaited = &services[service]["depends_on"]["setup"]["condition"];
        assert_eq!(awaited, "service_completed_successfully", "{service} waits for its account");
    }
}

#[test]
fn each_variable_that_compose_demands_is_in_the_example() {
    let (compose, example) = (read("envoy/compose/compose.yaml"), read("envoy/compose/.env.example"));
    let demanded: BTreeSet<_> = compose
        .split("${")
        .skip(1)
        .filter_map(|rest| rest.split('}').next()?.split_once(":?"))
        .map(|(name, _)| name)
        .collect();
    let offered: BTreeSet<_> = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(demanded, offered);
    assert!(
        !example.contains("docker compose run") && !example.contains("docker compose exec"),
        "neither runs before the file is filled in"
    );
}

#[test]
fn kubernetes_puts_no_service_of_the_namespace_into_our_settings() {
    let objects = objects("envoy/kubernetes/elastauth.yaml");
    let (_, deployment) = of_kind(&objects, "Deployment").next().unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["enableServiceLinks"], false);
    assert_eq!(pod["automountServiceAccountToken"], false);
    let mounts = all(pod, "volumeMounts")[0].as_array().unwrap();
    let (_, config) = of_kind(&objects, "ConfigMap").next().unwrap();
    let config = &documents(config["data"]["config.yml"].as_str().unwrap())[0];
    let files = all(config, "ca_file").into_iter().chain(all(config, "tls_cert_file"));
    let mut found = 0;
    for file in files {
        let is_mounted = |mount: &Value| file.as_str().unwrap().starts_with(mount["mountPath"].as_str().unwrap());
        assert!(mounts.iter().any(is_mounted), "{file} is not mounted");
        found += 1;
    }
    assert_eq!(found, 2, "the authority of Elasticsearch and our own certificate");
}

/// The namespace and the name of each Service to which a reference under `backendRefs` leads.
fn backends(objects: &[Value]) -> BTreeSet<(String, String)> {
    let of = |object: &Value| -> Vec<_> {
        let home = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let references = all(object, "backendRefs").into_iter().flat_map(|list| list.as_array().unwrap());
        let name = |reference: &Value| {
            let namespace = reference["namespace"].as_str().unwrap_or(home);
            (namespace.to_owned(), reference["name"].as_str().unwrap().to_owned())
        };
        references.map(name).collect()
    };
    objects.iter().flat_map(of).collect()
}

#[test]
fn the_gateway_speaks_tls_to_everything_that_gets_or_sends_passwords() {
    let objects = objects("envoy/gateway/elastauth.yaml");
    let mut covered = BTreeSet::new();
    for (name, policy) in of_kind(&objects, "BackendTLSPolicy") {
        let validation = &policy["spec"]["validation"];
        assert!(
            validation["hostname"].is_string() && !validation["caCertificateRefs"].as_array().unwrap().is_empty(),
            "{name}"
        );
        let namespace = policy["metadata"]["namespace"].as_str().unwrap();
        for target in policy["spec"]["targetRefs"].as_array().unwrap() {
            covered.insert((namespace.to_owned(), target["name"].as_str().unwrap().to_owned()));
        }
    }
    let expected =
        [("elastauth", "elastauth"), ("elastic", "kibana-kb-http")].map(|(at, name)| (at.to_owned(), name.to_owned()));
    assert_eq!(backends(&objects), BTreeSet::from(expected));
    assert_eq!(backends(&objects), covered);
}

#[test]
fn the_gateway_waits_longer_than_elastauth_takes_and_gives_no_try_up_before() {
    let objects = objects("envoy/gateway/elastauth.yaml");
    let (_, policy) = of_kind(&objects, "SecurityPolicy").next().unwrap();
    let check = &policy["spec"]["extAuth"];
    assert_eq!((&check["failOpen"], &check["statusOnError"]), (&json!(false), &json!(503)));
    assert!(milliseconds(&check["timeout"]) >= deadline() + 500);
    let retry = &check["grpc"]["backendSettings"]["retry"];
    assert!(retry["numRetries"].is_i64() && retry["perRetry"].is_null(), "a back-off would be a time-out: {retry}");
    assert!(read("envoy/gateway/elastauth.yaml").contains("A SecurityPolicy of a route replaces this one"));
    for (name, route) in of_kind(&objects, "HTTPRoute") {
        assert!(!route["spec"]["hostnames"].as_array().unwrap().is_empty(), "{name} names its hosts");
    }
}

#[test]
fn istio_asks_about_every_request_to_kibana_that_could_do_harm() {
    let objects = objects("envoy/istio/elastauth.yaml");
    let (_, asks) =
        of_kind(&objects, "AuthorizationPolicy").find(|(_, policy)| policy["spec"]["action"] == "CUSTOM").unwrap();
    let rules = asks["spec"]["rules"].as_array().unwrap();
    assert_eq!(rules[0], json!({ "to": [{ "operation": { "notPaths": ["/api/status"] } }] }));
    let headers: BTreeSet<_> = rules[1..]
        .iter()
        .map(|rule| {
            assert_eq!(rule.as_object().unwrap().keys().collect::<Vec<_>>(), ["when"], "no path is left out: {rule}");
            let [condition] = &rule["when"].as_array().unwrap()[..] else { panic!("{rule}") };
            assert_eq!(condition["values"], json!(["*"]));
            condition["key"].as_str().unwrap().to_owned()
        })
        .collect();
    // the headers that an allow replaces or removes, see src/envoy/response.rs
    let touched = ["authorization", "es-security-runas-user", "es-secondary-authorization", "proxy-authorization"];
    assert_eq!(headers, touched.iter().map(|name| format!("request.headers[{name}]")).collect());
    // the comment at the top names what the selector matches
    let kibana = json!({ "common.k8s.elastic.co/type": "kibana" });
    let (_, hosts) =
        of_kind(&objects, "AuthorizationPolicy").find(|(_, policy)| policy["spec"]["action"] == "DENY").unwrap();
    for policy in [asks, hosts] {
        assert_eq!(policy["spec"]["selector"]["matchLabels"], kibana);
    }
    let first = read("envoy/istio/elastauth.yaml").lines().next().unwrap().to_owned();
    assert!(first.ends_with("decides about every request to Kibana. Goes with values.yaml, and with ../kubernetes/elastauth.yaml changed"), "{first}");
    let named = hosts["spec"]["rules"][0]["to"][0]["operation"]["notHosts"].as_array().unwrap();
    assert!(named.iter().all(|host| !host.as_str().unwrap().contains('*')), "{named:?}");
}

#[test]
fn istio_finds_elastauth_by_a_service_with_a_cluster_address_and_waits_longer_than_it_takes() {
    let values = documents(&read("envoy/istio/values.yaml")).remove(0);
    let provider = &values["meshConfig"]["extensionProviders"][0]["envoyExtAuthzGrpc"];
    assert_eq!((&provider["failOpen"], &provider["statusOnError"]), (&json!(false), &json!("503")));
    assert!(milliseconds(&provider["timeout"]) >= deadline() + 500);
    let objects = objects("envoy/istio/elastauth.yaml");
    let (name, service) = of_kind(&objects, "Service").next().unwrap();
    assert_eq!(provider["service"], format!("{name}.elastauth.svc.cluster.local"));
    assert!(service["spec"]["clusterIP"].is_null(), "without one sidecars have no endpoints");
    assert_eq!(service["spec"]["ports"][0]["port"], provider["port"]);
}
