// What makes the page installable is made from the mark and the tokens, and agrees with what index.html says.
import { readFileSync } from "node:fs";
import { inflateSync } from "node:zlib";
import { expect, test } from "vitest";
import { hex, icon, manifest, token } from "../scripts/manifest.mjs";

const index = readFileSync(new URL("../index.html", import.meta.url), "utf8");

/** Width, height and the pixel in the middle of a PNG of eight bits with an alpha channel; enough of a reader for ours. */
function read(png: Uint8Array): { size: number[]; middle: number[]; corner: number[] } {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  expect([png[24], png[25]]).toEqual([8, 6]);
  const data: Uint8Array[] = [];
  for (let at = 8; at < png.length; ) {
    const length = view.getUint32(at);
    if (new TextDecoder().decode(png.subarray(at + 4, at + 8)) === "IDAT")
      data.push(png.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  const raw = inflateSync(Buffer.concat(data));
  const stride = width * 4;
  const rows = Buffer.alloc(stride * height);
  const paeth = (a: number, b: number, c: number) => {
    const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
  };
  for (let y = 0; y < height; y += 1) {
    const filter = raw[y * (stride + 1)] ?? 0;
    for (let x = 0; x < stride; x += 1) {
      const left = x < 4 ? 0 : (rows[y * stride + x - 4] ?? 0);
      const up = y === 0 ? 0 : (rows[(y - 1) * stride + x] ?? 0);
      const corner = x < 4 || y === 0 ? 0 : (rows[(y - 1) * stride + x - 4] ?? 0);
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter] ?? 0;
      rows[y * stride + x] = ((raw[y * (stride + 1) + 1 + x] ?? 0) + guess) & 255;
    }
  }
  const pixel = (x: number, y: number) => [...rows.subarray(y * stride + x * 4, y * stride + x * 4 + 4)];
  return { size: [width, height], middle: pixel(width >> 1, height >> 1), corner: pixel(0, 0) };
}

test("icons show the mark: its colour in the middle, nothing or the ground at the corner", async () => {
  const plain = read(await icon(192));
  expect(plain).toEqual({ size: [192, 192], middle: [0xb0, 0x7a, 0x1e, 255], corner: [0, 0, 0, 0] });
  const cut = read(await icon(64, "#102030"));
  expect(cut).toEqual({ size: [64, 64], middle: [0xb0, 0x7a, 0x1e, 255], corner: [0x10, 0x20, 0x30, 255] });
});

test("the manifest names icons that are made, and the page names it and the tokens' colours", () => {
  const made = manifest();
  expect(made.icons.map((each) => each.sizes)).toEqual(["any", "192x192", "512x512", "512x512"]);
  expect(made.icons.some((each) => each.purpose === "maskable")).toBe(true);
  const [light, dark] = token("ground");
  expect(made.theme_color).toBe(light);
  expect(index).toContain('href="/assets/manifest.webmanifest"');
  expect(index).toContain(`(prefers-color-scheme: light)" content="${light}"`);
  expect(index).toContain(`(prefers-color-scheme: dark)" content="${dark}"`);
});

test("a colour of the tokens is the one that browsers draw", () => {
  expect(hex([1, 0, 0])).toBe("#ffffff");
  expect(hex([0, 0, 0])).toBe("#000000");
  expect(hex([0.6279553606, 0.2576833077, 29.2338806])).toBe("#ff0000");
});
