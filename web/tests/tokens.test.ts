// AA for every pair that text is drawn in, in both themes, computed from the tokens themselves.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

type Rgb = readonly [number, number, number];
const css = readFileSync(new URL("../src/ui/tokens.css", import.meta.url), "utf8");

function tokens(theme: 0 | 1): Map<string, Rgb> {
  const found = new Map<string, Rgb>();
  for (const [, name, light, dark] of css.matchAll(
    /--([a-z0-9-]+): light-dark\((oklch\([^)]*\)), (oklch\([^)]*\))\)/g,
  ))
    found.set(name ?? "", luminous((theme === 0 ? light : dark) ?? ""));
  return found;
}

/** oklch() as linear sRGB, by the matrices of CSS Color 4. */
function luminous(colour: string): Rgb {
  const [l = 0, c = 0, h = 0] = (/oklch\(([^)]*)\)/.exec(colour)?.[1] ?? "").split(/\s+/).map(Number);
  const a = c * Math.cos((h * Math.PI) / 180);
  const b = c * Math.sin((h * Math.PI) / 180);
  const L = (l + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const M = (l - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const S = (l - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const clip = (value: number) => Math.min(1, Math.max(0, value));
  return [
    clip(4.0767416621 * L - 3.3077115913 * M + 0.2309699292 * S),
    clip(-1.2684380046 * L + 2.6097574011 * M - 0.3413193965 * S),
    clip(-0.0041960863 * L - 0.7034186147 * M + 1.707614701 * S),
  ];
}

function contrast(a: Rgb, b: Rgb): number {
  const light = ([r, g, bl]: Rgb) => 0.2126 * r + 0.7152 * g + 0.0722 * bl;
  const [high = 0, low = 0] = [light(a), light(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
}

const GROUNDS = ["ground", "surface", "raised", "sunken", "hover"];
const WORDS = ["text", "muted", "accent", "live", "warn", "danger"];
const HUES = ["red", "green", "yellow", "blue", "magenta", "cyan", "grey"];
/** Output of programs: any ink on any tint, and reversed. A mark of what cannot be seen brings its own ground. */
const OUTPUT: [string, string][] = HUES.flatMap((ink) => [
  ...HUES.map((tint): [string, string] => [`ink-${ink}`, `tint-${tint}`]),
  [`ink-${ink}`, "sunken"],
  ["text", `tint-${ink}`],
]);
const PAIRS: [string, string][] = [
  ...OUTPUT,
  ...GROUNDS.flatMap((ground) => WORDS.map((word): [string, string] => [word, ground])),
  ["on-accent", "accent"],
  ["on-danger", "danger"],
  ["text", "accent-quiet"],
  ["muted", "accent-quiet"],
  ["accent", "accent-quiet"],
  ["text", "added"],
  ["text", "removed"],
  ["muted", "added"],
  ["muted", "removed"],
  ["danger", "removed"],
];

test.each([0, 1] as const)("every text is readable in theme %i", (theme) => {
  const all = tokens(theme);
  const low = PAIRS.map(([word, ground]) => {
    const [a, b] = [all.get(word), all.get(ground)];
    if (!a || !b) throw new Error(`no token ${word} or ${ground}`);
    return { pair: `${word} on ${ground}`, contrast: Number(contrast(a, b).toFixed(2)) };
  }).filter((each) => each.contrast < 4.5);
  expect(low).toEqual([]);
});

test.each([0, 1] as const)("what is drawn and not read stands out from its ground in theme %i", (theme) => {
  const all = tokens(theme);
  const surface = all.get("surface") ?? [0, 0, 0];
  const low = [...all].filter(
    ([name, colour]) =>
      /^(series|live|accent|warn|danger)/.test(name) && !/quiet/.test(name) && contrast(colour, surface) < 3,
  );
  expect(low.map(([name]) => name)).toEqual([]);
});
