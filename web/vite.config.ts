import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import tailwind from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";
import { installable } from "./scripts/manifest.mjs";

const SMALLEST_GZIPPED = 1024;

/** Writes `name.gz` beside each text file, so that the daemon compresses nothing while it serves. */
function gzipped(): Plugin {
  return {
    name: "gzipped",
    apply: "build",
    // From what was written: other plugins still change the code after it was generated.
    writeBundle: ({ dir = "" }, bundle) => {
      for (const name of Object.keys(bundle)) {
        const source = readFileSync(join(dir, name));
        if (/\.(js|css)$/.test(name) && source.length >= SMALLEST_GZIPPED)
          writeFileSync(join(dir, `${name}.gz`), gzipSync(source, { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  plugins: [react(), tailwind(), gzipped(), installable() as Plugin],
  resolve: {
    alias: {
      "~": fileURLToPath(new URL("./src", import.meta.url)),
      // Its form for browsers decodes `&copy;` by innerHTML, which our policy refuses: the table instead.
      "decode-named-character-reference": fileURLToPath(
        new URL("./node_modules/decode-named-character-reference/index.js", import.meta.url),
      ),
    },
  },
  build: {
    outDir: "../src/melipona/api/page",
    emptyOutDir: true,
    assetsInlineLimit: 0, // nothing inline: the policy allows no data: fonts or styles
    modulePreload: { polyfill: false },
    target: "es2022",
    manifest: true,
    chunkSizeWarningLimit: 800,
  },
  server: { proxy: { "/api": process.env.MEL_API ?? "http://127.0.0.1:4000" } },
});
