// Brings package-lock.json up to date, without addresses of a registry (.npmrc), and makes it whole.
//
// A registry may lack builds for other systems. npm then leaves them out of the lock, and `npm ci` refuses a lock in which
// an optional dependency of a package is missing. Each gets an entry that no Linux installs; a system that Melipona does
// not run on loses nothing by it.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

execFileSync("npm", ["install", "--package-lock-only", "--no-audit", "--no-fund", "--loglevel=error"], {
  stdio: "inherit",
});
const file = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(file, "utf8"));
const missing = [];
for (const entry of Object.values(lock.packages))
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {}))
    if (!lock.packages[`node_modules/${name}`]) missing.push([name, version]);
for (const [name, version] of missing)
  lock.packages[`node_modules/${name}`] = {
    version: version.replace(/^[~^]/, ""),
    ...(lock.packages[""].devDependencies[name.split("/")[0]] ? { dev: true } : {}),
    optional: true,
    os: ["!linux"],
  };
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
