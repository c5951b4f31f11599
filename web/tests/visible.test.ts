import fc from "fast-check";
import { expect, test } from "vitest";
import { visible } from "~/text/visible";

test("what could deceive is shown (T26, section 7 line 22)", () => {
  expect(visible("safe\u202Etxt.exe")).toBe("safe⟦U+202E⟧txt.exe");
  expect(visible("a\u200Bb\u2066c\uFEFF")).toBe("a⟦U+200B⟧b⟦U+2066⟧c⟦U+FEFF⟧");
  expect(visible("\x1b]0;title\x07")).toBe("␛]0;title␇");
  expect(visible("one\ntwo\tthree")).toBe("one\ntwo\tthree");
  expect(visible("one\ntwo", false)).toBe("one␊two");
  expect(visible("⟦U+202E⟧")).toBe("⟦U+27E6⟧U+202E⟦U+27E7⟧");
  expect(visible("Grüße 你好 🐝")).toBe("Grüße 你好 🐝");
});

test("no text leaves a character that cannot be seen", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(visible(text)).not.toMatch(/[\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|(?![\n\t])\p{Cc}/u);
      expect(visible(text, false)).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    }),
  );
});

test("plain text stays as it is", () => {
  fc.assert(fc.property(fc.string({ unit: "grapheme-ascii" }), (text) => visible(text) === text));
});
