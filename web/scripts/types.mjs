// Writes src/api/schema.ts from docs/reference/openapi.json. With --check it writes nothing and fails on drift.
import { readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

const target = new URL("../src/api/schema.ts", import.meta.url);
const source = new URL("../../docs/reference/openapi.json", import.meta.url);
const head = "// Made by `npm run types` from docs/reference/openapi.json. Do not edit.\n";
const text = head + astToString(await openapiTS(source, { alphabetize: true, defaultNonNullable: false }));

if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== text) {
    console.error("src/api/schema.ts does not match docs/reference/openapi.json: run `npm run types`");
    process.exit(1);
  }
} else {
  writeFileSync(target, text);
}
