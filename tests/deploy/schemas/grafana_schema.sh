#!/usr/bin/env bash
# JSON schemas of Grafana's dashboard types, for the tests: grafana-VERSION.json. Needs npm (node 18 or newer) and a network.
# One schema a TypeScript type, as `ts-json-schema-generator` writes it; all in one file, by name. Then Ajv holds the dashboards in
# deploy/grafana/dashboards against it; tests do the same in Python (tests/deploy/test_grafana_dashboards.py). Ends with 1 where one differs.
set -euo pipefail
version="${1:-12.4.11}"
here="$(cd "$(dirname "$0")" && pwd)"
command -v npx >/dev/null || { echo "grafana-schema: no npx here, expected npm with node 18 or newer; nothing was written" >&2; exit 1; }
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
echo "grafana-schema: fetching @grafana/schema $version"
npm install --no-audit --no-fund --silent "@grafana/schema@$version" ts-json-schema-generator@2.4.0 ajv@8
echo '{"compilerOptions": {"module": "esnext", "moduleResolution": "bundler", "skipLibCheck": true}, "files": []}' >tsconfig.json
types=node_modules/@grafana/schema/dist/types

# NAME FILE TYPE: definitions are put in place where they are used, as two of one name would clash
schema() {
    echo "grafana-schema: $1"
    npx --no-install ts-json-schema-generator --path "$types/$2" --type "$3" --tsconfig tsconfig.json --no-type-check --expose none \
        --out "$1.json"
}
schema dashboard veneer/dashboard.types.d.ts Dashboard
for panel in stat statetimeline table timeseries; do
    schema "$panel.options" "raw/composable/$panel/panelcfg/x/types.gen.d.ts" Options
    [ "$panel" = stat ] || schema "$panel.custom" "raw/composable/$panel/panelcfg/x/types.gen.d.ts" FieldConfig
done
node - "$here/grafana-$version.json" <<'JS'
const fs = require("fs");
const found = {};
for (const file of fs.readdirSync(".").filter((name) => /^(dashboard|\w+\.(options|custom))\.json$/.test(name))) {
    found[file.replace(/\.json$/, "")] = JSON.parse(fs.readFileSync(file));
}
const marks = found.dashboard.definitions.Dashboard.properties.annotations.properties.list.items;
marks.properties.target.additionalProperties = true;
const sorted = Object.fromEntries(Object.entries(found).sort());
fs.writeFileSync(process.argv[2], JSON.stringify(sorted, null, 1) + "\n");
JS
echo "grafana-schema: $here/grafana-$version.json written"
node - "$here/grafana-$version.json" "$here/../../../deploy/grafana/dashboards" <<'JS'
const fs = require("fs"), path = require("path");
const Ajv = require("ajv");
const schemas = JSON.parse(fs.readFileSync(process.argv[2]));
const checks = Object.fromEntries(Object.entries(schemas).map(([name, one]) => [name, new Ajv({strict: false, allErrors: true}).compile(one)]));
let wrong = 0;
const check = (name, found, where) => {
    if (!checks[name](found)) wrong++, checks[name].errors.forEach((e) => console.error(`grafana-schema: ${where}: ${e.instancePath} ${e.message}`));
};
const files = fs.readdirSync(process.argv[3]).filter((name) => name.endsWith(".json"));
for (const file of files) {
    const dashboard = JSON.parse(fs.readFileSync(path.join(process.argv[3], file)));
    check("dashboard", dashboard, file);
    for (const panel of dashboard.panels.filter((one) => one.type !== "row")) {
        const kind = panel.type.replace("-", ""), custom = panel.fieldConfig.defaults.custom;
        check(`${kind}.options`, panel.options ?? {}, `${file}: ${panel.title}`);
        if (custom) check(`${kind}.custom`, custom, `${file}: ${panel.title}`);
    }
}
console.log(`grafana-schema: Ajv: ${files.length} dashboards, ${wrong} differ`);
process.exit(wrong || !files.length ? 1 : 0);
JS
