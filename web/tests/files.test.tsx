// Files that texts name (FR-8): every occurrence of a vouched token, the longest first, and nothing else.
// @vitest-environment happy-dom
import fc from "fast-check";
import { act } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, expect, test } from "vitest";
import { cutText, isMarkdown, languageOf, nameOf } from "~/features/files/kinds";
import Source from "~/features/files/source";
import { linked } from "~/text/linked";
import { Linked, WithFiles } from "~/ui/file-links";
import Rendered from "~/ui/markdown-rendered";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;
const hosts: HTMLElement[] = [];
afterEach(() => {
  for (const host of hosts.splice(0)) host.remove();
});

function shown(element: React.ReactNode): HTMLElement {
  const host = document.createElement("div");
  hosts.push(host);
  document.body.append(host);
  act(() => createRoot(host).render(element));
  return host;
}

const TOKENS = ["/shared/a", "/shared/a.md", "/shared/a.md.bak", "/agents/ana/state/größe.md", "/x"];
const token = fc.constantFrom(...TOKENS, "/shared", "/agents/ana/state/none", "");
const text = fc
  .array(fc.oneof(token, fc.string({ unit: "binary", maxLength: 4 }), fc.constantFrom(" ", "/", "(", ".")))
  .map((parts) => parts.join(""));

test("the pieces are the text, and each file is a vouched token at its place", () => {
  fc.assert(
    fc.property(text, fc.uniqueArray(token), (text, vouched) => {
      const pieces = linked(text, vouched);
      expect(pieces.map((piece) => piece.text).join("")).toBe(text);
      for (const { text, file } of pieces) {
        expect(text).not.toBe("");
        if (file !== null) expect([text, vouched.includes(file)]).toEqual([file, true]);
      }
    }),
  );
});

test("nothing that is vouched is left unlinked, and the longest wins", () => {
  fc.assert(
    fc.property(text, fc.uniqueArray(token), (text, vouched) => {
      let at = 0;
      for (const piece of linked(text, vouched)) {
        for (const each of vouched.filter((each) => each !== "")) {
          if (piece.file === null)
            for (let from = 0; from < piece.text.length; from += 1)
              expect(text.startsWith(each, at + from)).toBe(false);
          else if (text.startsWith(each, at)) expect(each.length).toBeLessThanOrEqual(piece.file.length);
        }
        at += piece.text.length;
      }
    }),
  );
});

test("without a list a text is plain", () => {
  fc.assert(
    fc.property(text, (text) => {
      expect(linked(text, [])).toEqual(text === "" ? [] : [{ text, file: null }]);
    }),
  );
});

test("a long text with many tokens is walked once", () => {
  const long = "/shared/a.m ".repeat(90_000);
  const begun = performance.now();
  linked(
    long,
    Array.from({ length: 32 }, (_, at) => `/shared/a.md${at}`),
  );
  expect(performance.now() - begun).toBeLessThan(15_000);
});

const FILES = ["/shared/a_b_c.md", "/shared/a.md"];
const preview = (file: string) => <p data-preview={file} />;

test("markdown links its files in words, code and tables, and not inside of a link", () => {
  const markdown = [
    "See /shared/a.md, `/shared/a_b_c.md` and **/shared/a.md**; not /shared/none.",
    "```\ncat /shared/a.md\n```",
    "| f |\n|---|\n| /shared/a.md |",
    "[/shared/a.md](https://host.example/x)",
  ].join("\n\n");
  const host = shown(
    <WithFiles files={FILES} preview={preview}>
      <Rendered text={markdown} streaming={false} />
    </WithFiles>,
  );
  const buttons = [...host.querySelectorAll("button")];
  expect(buttons.map((button) => button.textContent)).toEqual([
    "/shared/a.md",
    "/shared/a_b_c.md",
    "/shared/a.md",
    "/shared/a.md",
    "/shared/a.md",
  ]);
  expect(host.querySelectorAll("a button")).toHaveLength(0);
  expect(host.textContent).toContain("not /shared/none.");
});

test("a file opens below its text and closes again", () => {
  const host = shown(
    <WithFiles files={FILES} preview={preview}>
      <Linked text={"first /shared/a.md then /shared/a_b_c.md"} />
    </WithFiles>,
  );
  const [first, second] = [...host.querySelectorAll("button")];
  act(() => second?.click());
  act(() => first?.click());
  const previews = () =>
    [...host.querySelectorAll("[data-preview]")].map((each) => each.getAttribute("data-preview"));
  expect(previews()).toEqual(["/shared/a_b_c.md", "/shared/a.md"]);
  expect(first?.getAttribute("aria-expanded")).toBe("true");
  act(() => second?.click());
  expect(previews()).toEqual(["/shared/a.md"]);
});

test("a button in markdown's HTML is text, and no button of ours", () => {
  const host = shown(
    <WithFiles files={FILES} preview={preview}>
      <Rendered text={'<button value="/etc/passwd">x</button>'} streaming={false} />
    </WithFiles>,
  );
  expect(host.querySelectorAll("button")).toHaveLength(0);
});

test("source has colours, and whatever is in it stays text", () => {
  const hostile = 'def f(): return "<img src=x onerror=alert(1)>\u202E" # <script>';
  const host = shown(<Source name="a.py" text={hostile} />);
  expect(host.querySelector(".hljs-keyword")?.textContent).toBe("def");
  expect(host.querySelectorAll(":not(pre, span, div)")).toHaveLength(0);
  expect(host.textContent).toContain("<img src=x onerror=alert(1)>⟦U+202E⟧");
  for (const name of ["a.html", "a.svg", "constructor", "a.__proto__", "a.toString", "Makefile"])
    expect(shown(<Source name={name} text={"<script>alert(1)</script>"} />).textContent).toBe(
      "<script>alert(1)</script>",
    );
});

test("names say how a file is shown", () => {
  expect(isMarkdown("/shared/x/Plan.MD")).toBe(true);
  expect(isMarkdown("/shared/x.md/plan")).toBe(false);
  expect(languageOf("a.test.ts")).toBe("typescript");
  expect(languageOf(".json")).toBeNull();
  expect(languageOf("README")).toBeNull();
  expect(nameOf("/agents/ana/state/notes.md")).toBe("notes.md");
});

test("of a long file the beginning is shown, at whole lines", () => {
  expect(cutText("a\nb")).toEqual({ shown: "a\nb", cut: false });
  const many = cutText("line\n".repeat(5_000));
  expect([many.shown.split("\n").length, many.cut]).toEqual([2_001, true]);
  expect(cutText("x".repeat(500_000)).shown).toHaveLength(100_000);
});
