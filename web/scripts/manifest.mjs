// What makes the page installable: icons drawn from the one mark, a manifest that names them, and the colours of a bar
// above it. All of it is made when the page is built, so no picture is kept that could differ from the mark.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { initWasm, Resvg } from "@resvg/resvg-wasm";

const here = (path) => new URL(path, import.meta.url);
const MARK = here("../../src/melipona/api/assets/mark.svg");
const TOKENS = here("../src/ui/tokens.css");
/** A mark that a system cuts to its own shape stands in the middle four fifths. */
const SAFE = 0.62;

/** `--name: light-dark(oklch(…), oklch(…))` of the tokens as two colours `#rrggbb`. */
export function token(name, css = readFileSync(TOKENS, "utf8")) {
  const found = css.match(
    new RegExp(`--${name}: light-dark\\(oklch\\(([\\d. ]+)\\), oklch\\(([\\d. ]+)\\)\\)`),
  );
  if (found === null) throw new Error(`there is no token ${name}`);
  return found.slice(1).map((parts) => hex(parts.split(" ").map(Number)));
}

/** OKLCH as sRGB (Ottosson's matrices). */
export function hex([lightness, chroma, hue]) {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const [l, m, s] = [
    lightness + 0.3963377774 * a + 0.2158037573 * b,
    lightness - 0.1055613458 * a - 0.0638541728 * b,
    lightness - 0.0894841775 * a - 1.291485548 * b,
  ].map((part) => part ** 3);
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  const parts = linear.map((part) => {
    const one = Math.min(1, Math.max(0, part));
    const curved = one <= 0.0031308 ? 12.92 * one : 1.055 * one ** (1 / 2.4) - 0.055;
    return Math.round(curved * 255)
      .toString(16)
      .padStart(2, "0");
  });
  return `#${parts.join("")}`;
}

let ready;
/** The mark as a PNG. `ground` fills what is behind it; on one, it is drawn where no system cuts it. */
export async function icon(size, ground) {
  const wasm = createRequire(import.meta.url).resolve("@resvg/resvg-wasm/index_bg.wasm");
  ready ??= initWasm(readFileSync(wasm));
  await ready;
  const mark = readFileSync(MARK, "utf8");
  const inside = mark.slice(mark.indexOf(">") + 1, mark.lastIndexOf("</svg>"));
  const share = ground === undefined ? 1 : SAFE;
  const margin = (20 * (1 - share)) / 2;
  const drawn = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20">${
    ground === undefined ? "" : `<rect width="20" height="20" fill="${ground}"/>`
  }<g transform="translate(${margin} ${margin}) scale(${share})">${inside}</g></svg>`;
  return new Resvg(drawn, { fitTo: { mode: "width", value: size } }).render().asPng();
}

export function manifest() {
  const [light] = token("ground");
  return {
    id: "/",
    name: "Melipona",
    short_name: "Melipona",
    description: "See a swarm of coding agents think, and steer it.",
    start_url: "/",
    scope: "/",
    display: "standalone",
    background_color: light,
    theme_color: light,
    icons: [
      { src: "/assets/mark.svg", type: "image/svg+xml", sizes: "any" },
      { src: "/assets/icon-192.png", type: "image/png", sizes: "192x192" },
      { src: "/assets/icon-512.png", type: "image/png", sizes: "512x512" },
      { src: "/assets/icon-maskable.png", type: "image/png", sizes: "512x512", purpose: "maskable" },
    ],
    shortcuts: [
      { name: "Messages", url: "/messages" },
      { name: "Costs", url: "/costs" },
    ],
  };
}

/** Emits icons and manifest under the names that index.html knows. */
export function installable() {
  return {
    name: "installable",
    apply: "build",
    async buildStart() {
      const [light] = token("ground");
      const emit = (name, source) => this.emitFile({ type: "asset", fileName: `assets/${name}`, source });
      emit("icon-192.png", await icon(192));
      emit("icon-512.png", await icon(512));
      emit("icon-maskable.png", await icon(512, light));
      emit("icon-touch.png", await icon(180, light));
      emit("manifest.webmanifest", JSON.stringify(manifest()));
    },
  };
}
