// Output of programs in a turn: colours as classes, lines that were written over, and nothing else obeyed (T25, T26).
// @vitest-environment happy-dom
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { act } from "react";
import { createRoot } from "react-dom/client";
import { expect, test } from "vitest";
import { terminalRuns } from "~/text/terminal";
import { visible } from "~/text/visible";
import { TerminalText } from "~/ui/terminal-text";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;
const css = readFileSync(`${import.meta.dirname}/../src/app/app.css`, "utf8");
const words = (text: string): string =>
  terminalRuns(text)
    .map((run) => run.text)
    .join("");
const looks = (text: string): string[] => terminalRuns(text).map((run) => `${run.text}|${run.look}`);

test("colours become classes, and end where the program ends them", () => {
  expect(looks("a \x1b[31;1mred\x1b[0m b")).toEqual(["a |", "red|sgr-red sgr-bold", " b|"]);
  expect(looks("\x1b[32mok\nstill\x1b[39m no")).toEqual(["ok\nstill|sgr-green", " no|"]);
  expect(looks("\x1b[31;0mplain\x1b[m")).toEqual(["plain|"]);
  expect(looks("\x1b[92;44mon\x1b[49moff")).toEqual(["on|sgr-on-blue sgr-green", "off|sgr-green"]);
  expect(looks("\x1b[3;4;9mx\x1b[23;24;29my")).toEqual(["x|sgr-italic sgr-struck sgr-underline", "y|"]);
  expect(looks("\x1b[4:3mcurly\x1b[4:0mnot")).toEqual(["curly|sgr-underline", "not|"]);
  expect(looks("\x1b[2mquiet\x1b[22mloud")).toEqual(["quiet|sgr-grey", "loud|"]);
});

test("the many colours of a terminal become the few that are readable here", () => {
  const of = (codes: string): string | undefined => terminalRuns(`\x1b[${codes}mx`)[0]?.look;
  expect(of("38;5;196")).toBe("sgr-red");
  expect(of("38;5;46")).toBe("sgr-green");
  expect(of("38;5;9")).toBe("sgr-red");
  expect(of("38;5;244")).toBe("sgr-grey");
  expect(of("38;5;255")).toBe("");
  expect(of("38;2;0;120;255")).toBe("sgr-blue");
  expect(of("38:2::255:0:255")).toBe("sgr-magenta");
  expect(of("38:2:0:255:255")).toBe("sgr-cyan");
  expect(of("38;2;250;240;10;1")).toBe("sgr-yellow sgr-bold");
  expect(of("48;2;255;0;0;38;5;2")).toBe("sgr-on-red sgr-green");
  expect(of("38;2;9")).toBe("");
  expect(of("38;7;1;31")).toBe("");
  expect(of("58;5;1;31")).toBe("sgr-red");
});

test("what a terminal would hide is readable here", () => {
  expect(looks("\x1b[8mhidden\x1b[28m")).toEqual(["hidden|"]);
  expect(looks("\x1b[30mblack")).toEqual(["black|"]);
  expect(looks("\x1b[31;41mred on red")).toEqual(["red on red|sgr-on-red sgr-red"]);
  expect(looks("\x1b[7;33;43mturned")).toEqual(["turned|sgr-yellow sgr-inverse"]);
});

test("what was written over stands as a terminal leaves it, with its colours", () => {
  expect(words("1 %\r50 %\r100 %\ndone\r\n")).toBe("100 %\ndone\n");
  expect(words("loading\rok")).toBe("okading");
  expect(words("loading\r\x1b[Kok")).toBe("ok");
  expect(words("loading\r\x1b[0m\x1b[2Kok")).toBe("ok");
  expect(looks("\x1b[31mbad\x1b[0m\r\x1b[32mo")).toEqual(["o|sgr-green", "ad|sgr-red"]);
  expect(looks("\x1b[01;31m\x1b[Kmatch\x1b[m\x1b[K rest")).toEqual(["match|sgr-red sgr-bold", " rest|"]);
});

const HOSTILE = [
  "\x1b]52;c;aGk=\x07",
  "\x1b]8;;http://evil\x1b\\x",
  "\x1b]0;title\x07",
  "\x1b[2J",
  "\x1bc",
  "\x1b[1A",
  "\x1b[10D",
  "\x1b[?1049h",
  "\x1b[6n",
  "\x1b[31",
  "\x1b[31;41 m",
  "\x1b[>4m",
  "\x1b[?25m",
  "\x1b[31\x1b[2Jm",
  "\x1bP$q\x1b\\",
  "text\x1b[2K behind",
  "ab\rc\x1b[Kd",
  "\x1b[31mred\x1b]52;c;aGk=\x07",
  "a\r\x1b]52;c;aGk=\x07",
];
test.each(HOSTILE)("any other sequence is shown, not obeyed: %j", (text) => {
  expect(visible(words(text))).toContain("␛");
});

test("no text loses a letter to a sequence that is not a colour, and no class is made of what an agent wrote", () => {
  const piece = fc.oneof(
    fc.string({ unit: "grapheme" }),
    fc.constantFrom(
      "\x1b[",
      "m",
      ";",
      ":",
      "\r",
      "\n",
      "38",
      "48",
      "2",
      "5",
      "\x1b[K",
      "\x1b]0;",
      "\x07",
      "\x9b31m",
    ),
    fc.nat(300).map((code) => `\x1b[${code}m`),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const text = pieces.join("");
      const runs = terminalRuns(text);
      for (const { look } of runs)
        for (const name of look.split(" ").filter(Boolean)) expect(css).toContain(`.${name} {`);
      expect(runs.every((run) => run.text !== "")).toBe(true);
      if (!/[\r]|\x1b\[[02]?K/.test(text))
        expect(runs.map((run) => run.text).join("")).toBe(text.replace(/\x1b\[[0-9;:]*m/g, ""));
      expect(words(text)).not.toContain("\r");
    }),
  );
});

test("it is drawn as text in spans, without a style of its own, and what cannot be seen is marked in colour too", () => {
  const host = document.createElement("div");
  const text = "\x1b[31m<img src=x onerror=alert(1)>\x1b[0m \x1b[32ma\u202Eb\x1b]0;t\x07\x1b[0m";
  act(() => createRoot(host).render(<TerminalText text={text} />));
  expect(host.querySelectorAll("img,[style]")).toHaveLength(0);
  expect(host.querySelector(".sgr-red")?.textContent).toBe("<img src=x onerror=alert(1)>");
  expect([...host.querySelectorAll(".sgr-green .mark")].map((each) => each.textContent)).toEqual([
    "⟦U+202E⟧",
    "␛",
    "␇",
  ]);
});
