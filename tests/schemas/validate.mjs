// validate.mjs SCHEMAS FILE…: checks what users deploy against published schemas, which `tests/tools.sh schemas` puts into the
// folder SCHEMAS: objects of Kubernetes and Istio, of Gateway API and Envoy Gateway, Compose files (compose*.yaml), and Istio's
// mesh settings (values.yaml). A line for each object; fails when one is wrong.
//
// An API server drops fields that it does not know, so a misspelt `failOpen` would do nothing: here they are errors.
import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [schemas, ...files] = process.argv.slice(2);
const modules = resolve(schemas, "node_modules");
const require = createRequire(join(modules, "x.js"));
const yaml = require("yaml");
const Ajv = require("ajv/dist/2020").default;
const formats = require("ajv-formats").default;

function parsed(text) {
  const all = yaml.parseAllDocuments(text, { merge: true });
  const broken = all.flatMap((document) => document.errors);
  if (broken.length) throw broken[0];
  return all.map((document) => document.toJS()).filter((object) => object !== null);
}

function check(schema, object) {
  const ajv = new Ajv({ strict: false, allErrors: true, logger: false });
  formats(ajv);
  const good = ajv.compile(schema);
  if (!good(object)) throw new Error(ajv.errorsText(good.errors));
}

// The schemas of custom resources, by group, version and kind: Gateway API and Envoy Gateway.
function customResources() {
  const known = new Map();
  for (const file of readdirSync(join(schemas, "crds"))) {
    for (const crd of parsed(readFileSync(join(schemas, "crds", file), "utf8"))) {
      for (const version of crd?.spec?.versions ?? []) {
        known.set(`${crd.spec.group}/${version.name}/${crd.spec.names.kind}`, closed(version.schema.openAPIV3Schema, true));
      }
    }
  }
  return known;
}

// The same schema, without room for fields that it does not name.
function closed(schema, top = false) {
  if (Array.isArray(schema)) return schema.map((part) => closed(part));
  if (schema === null || typeof schema !== "object") return schema;
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, key === "properties" ? mapped(value) : closed(value)]));
  if (schema.type === "object" && schema.properties && !schema["x-kubernetes-preserve-unknown-fields"]) copy.additionalProperties = false;
  // what every object has, and a custom resource's schema does not describe
  if (top) copy.properties.metadata = {};
  return copy;
}

const mapped = (properties) => Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, closed(value)]));

// Kubernetes' own objects and Istio's: a class with a check of values, and a type that knows no other fields.
const literals = [];

async function published(object) {
  const [version, group] = object.apiVersion.split("/").reverse();
  const owner = /\.istio\.io$/.test(group ?? "") ? "@kubernetes-models/istio" : "kubernetes-models";
  const path = [owner, group, version, object.kind].filter(Boolean).join("/");
  const { [object.kind]: Model } = await import(pathToFileURL(join(modules, `${path}.js`)));
  new Model(object).validate();
  const n = literals.length;
  literals.push(`import type { I${object.kind} as T${n} } from "${path}";\nconst o${n}: T${n} = ${JSON.stringify(object, null, 1)};`);
}

function unknownFields() {
  const ts = require("typescript");
  const folder = mkdtempSync(join(tmpdir(), "schemas-"));
  try {
    symlinkSync(modules, join(folder, "node_modules"));
    const file = join(folder, "objects.mts");
    writeFileSync(file, `${literals.join("\n")}\nexport {};\n`);
    const options = { noEmit: true, strict: true, skipLibCheck: true, types: [], module: ts.ModuleKind.NodeNext };
    const found = ts.getPreEmitDiagnostics(ts.createProgram([file], options));
    return found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, " "));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// Istio has no schema of its mesh settings: the fields of a provider are read off the definition of its message.
function meshConfig(values) {
  const proto = readFileSync(join(schemas, "config.proto"), "utf8");
  const [, message] = proto.match(/message EnvoyExternalAuthorizationGrpcProvider \{([^]*?)\n {4}\}/);
  const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  const fields = [...message.matchAll(/^ +[\w.]+ (\w+) = \d+;/gm)].map(([, name]) => camel(name));
  for (const provider of values.meshConfig.extensionProviders) {
    for (const field of Object.keys(provider.envoyExtAuthzGrpc)) {
      if (!fields.includes(field)) throw new Error(`${field} is none of ${fields}`);
    }
  }
}

let wrong = 0;
const fail = (what) => {
  wrong += 1;
  console.error(`wrong: ${what}`);
};
const custom = customResources();
const composeSchema = JSON.parse(readFileSync(join(schemas, "compose-spec.json"), "utf8"));
for (const file of files) {
  try {
    for (const object of parsed(readFileSync(file, "utf8"))) {
      if (basename(file) === "values.yaml") {
        meshConfig(object);
        console.log(`ok: ${file}: MeshConfig`);
        continue;
      }
      const composed = basename(file).startsWith("compose");
      const schema = composed ? composeSchema : custom.get(`${object.apiVersion}/${object.kind}`);
      if (schema) check(schema, object);
      else await published(object);
      console.log(`ok: ${file}: ${composed ? "Compose file" : `${object.kind} ${object.metadata.name}`}`);
    }
  } catch (error) {
    fail(`${file}: ${error.message}`);
  }
}
if (literals.length) unknownFields().forEach(fail);
process.exit(wrong ? 1 : 0);
