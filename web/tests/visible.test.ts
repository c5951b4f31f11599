import fc from "fast-check";
import { expect, test } from "vitest";
import { asOnTerminal, visible, withoutColours } from "~/text/visible";

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

test("colours of a terminal go, everything else that it would obey is left to be shown", () => {
  expect(withoutColours("\x1b[31;1mred\x1b[0m")).toBe("red");
  for (const hostile of ["\x1b]52;c;aGk=\x07", "\x1b]8;;http://evil\x1b\\x", "\x1b[2J", "\x1bc"])
    expect(visible(withoutColours(hostile))).toContain("␛");
});

test("what was written over stands as a terminal leaves it, and hides no escape", () => {
  expect(asOnTerminal("1 %\r50 %\r100 %\ndone\r\n")).toBe("100 %\ndone\n");
  expect(asOnTerminal("loading\rok")).toBe("okading");
  expect(asOnTerminal("loading\r\x1b[Kok")).toBe("ok");
  expect(visible(asOnTerminal("a\r\x1b]52;c;aGk=\x07"))).toContain("␛]52");
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), (text) => !asOnTerminal(text).includes("\r")));
});
