#!/usr/bin/env bash
# Makes the accounts of compose.yaml in Elasticsearch: a role with the permissions that docs/elasticsearch.md describes, the user
# `elastauth` with that role and no other, and the password of Kibana's own account. It may run any number of times.
set -euo pipefail

# A text as JSON has it.
quoted() {
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

# The administrator's password goes to curl by a file descriptor: arguments are seen by every process.
send() { # METHOD PATH BODY
  curl --fail-with-body --silent --show-error --max-time 30 \
    --config <(printf 'user = %s\n' "$(quoted "elastic:$ELASTIC_PASSWORD")") \
    --request "$1" --header 'content-type: application/json' --data @- "$ELASTICSEARCH$2" <<<"$3"
}

send PUT /_security/role/elastauth \
  '{ "cluster": ["cluster:admin/xpack/security/user/put", "read_security", "cluster:monitor/main"] }'
send PUT /_security/user/elastauth \
  "{ \"password\": $(quoted "$ELASTAUTH_PASSWORD"), \"roles\": [\"elastauth\"], \"full_name\": \"elastauth\" }"
send POST /_security/user/kibana_system/_password "{ \"password\": $(quoted "$KIBANA_PASSWORD") }"
