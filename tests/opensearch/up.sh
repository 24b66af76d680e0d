#!/usr/bin/env bash
# up.sh FOLDER PORT TRANSPORT_PORT: becomes a node of OpenSearch with its security plugin, all of it in FOLDER. The artifacts
# come from .tools (tests/tools.sh opensearch). A FOLDER that has a node already is started again with its data.
#
# The node lives as long as this script's standard input is open, however its holder ends. A line `stop` on it ends the
# node and leaves FOLDER; its end removes FOLDER too.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
artifacts=$here/../../.tools/opensearch
folder=$(cd "$1" && pwd)
port=$2
transport_port=$3
exec 3<&0 </dev/null
cd "$folder"

# The node refuses to run as root; it runs as the user that runs the tests, or as `nobody` if that is root.
as=()
if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=nobody --regid=nogroup --clear-groups); fi

certificate() { # NAME EXTENSIONS
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout "config/$1.key" -out "config/$1.csr" 2>/dev/null
  openssl x509 -req -in "config/$1.csr" -CA config/ca.pem -CAkey config/ca.key -CAcreateserial \
    -days 30 -extfile <(printf '%b' "$2") -out "config/$1.pem" 2>/dev/null
}

if [ ! -d config ]; then
  mkdir -p config data logs tmp
  # a copy, as the user `nobody` may not be able to read the repository
  cp -r "$artifacts/lib" "$artifacts/plugins" "$artifacts/modules" .
  cp -r plugins/opensearch-security/config config/opensearch-security
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=tests -keyout config/ca.key -out config/ca.pem 2>/dev/null
  certificate node 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n'
  certificate super 'extendedKeyUsage=clientAuth\n'
  sed -e "s/{port}/$port/" -e "s/{transport}/$transport_port/" "$here/opensearch.yml" > config/opensearch.yml
  cp "$here/log4j2.properties" config/
  cp "$here/internal_users.yml" config/opensearch-security/
  cat "$here/roles.yml" >> config/opensearch-security/roles.yml
  cat "$here/roles_mapping.yml" >> config/opensearch-security/roles_mapping.yml
  if [ ${#as[@]} -gt 0 ]; then chown -R nobody .; fi
fi

# Ends the node by its process id, as long as that is still this node's.
(
  if read -r word <&3 && [ "$word" = stop ]; then leave=yes; else leave=no; fi
  ours() { tr '\0' ' ' < "/proc/$$/cmdline" 2>/dev/null | grep -qF "path.home=$folder"; }
  if ours; then kill -TERM $$ 2>/dev/null || true; fi
  for _ in $(seq 1 100); do
    if ! ours; then break; fi
    sleep 0.1
  done
  if ours; then kill -KILL $$ 2>/dev/null || true; fi
  if [ $leave = no ]; then rm -rf "$folder"; fi
) >/dev/null 2>&1 &
exec 3<&-

exec "${as[@]}" java -Xms512m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.security.manager=allow \
  -Djava.io.tmpdir="$folder/tmp" -Dopensearch.path.home="$folder" -Dopensearch.path.conf="$folder/config" \
  -Dopensearch.distribution.type=tar -Dopensearch.bundled_jdk=false -Dlog4j2.disable.jmx=true \
  -cp "$folder/lib/*" org.opensearch.bootstrap.OpenSearch >> logs/out 2>&1
