// @vitest-environment happy-dom
import { act } from "react";
import { createRoot } from "react-dom/client";
import { expect, test } from "vitest";
import { Name } from "~/ui/text";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

test("long names that begin alike end differently on a phone, and are heard and shown whole", () => {
  const shown = ["reviewer-of-the-importer-one", "reviewer-of-the-importer-two"].map((name) => {
    const host = document.createElement("div");
    act(() => createRoot(host).render(<Name>{name}</Name>));
    const [heard, cut, end] = [...(host.firstElementChild?.children ?? [])];
    expect(host.firstElementChild?.getAttribute("title")).toBe(name);
    expect([heard?.textContent, `${cut?.textContent}${end?.textContent}`]).toEqual([name, name]);
    expect([cut?.className, cut?.getAttribute("aria-hidden"), end?.getAttribute("aria-hidden")]).toEqual([
      "truncate",
      "true",
      "true",
    ]);
    return end?.textContent;
  });
  expect(shown[0]).not.toBe(shown[1]);
});
