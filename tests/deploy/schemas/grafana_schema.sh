#!/usr/bin/env bash
# JSON schemas of Grafana's dashboard types, for the tests: grafana-VERSION.json. Needs npm (node 18 or newer) and a network.
# One schema a TypeScript type, as `ts-json-schema-generator` writes it; all in one file, by name.
set -euo pipefail
version="${1:-12.4.11}"
here="$(cd "$(dirname "$0")" && pwd)"
command -v npx >/dev/null || { echo "grafana-schema: no npx here, expected npm with node 18 or newer; nothing was written" >&2; exit 1; }
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes >/dev/null
echo "grafana-schema: fetching @grafana/schema $version"
npm install --no-audit --no-fund --silent "@grafana/schema@$version" ts-json-schema-generator@2.4.0
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
