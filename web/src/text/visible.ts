// Foreign text made safe to look at, by the same rule as melipona/text.py: what cannot be seen is shown as a mark.

const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Cn}\p{Zl}\p{Zp}⟦⟧]/u;
const EVERY_UNSEEN = new RegExp(UNSEEN.source, "gu");
const NAMED: Record<string, string> = {
  "\x1b": "␛",
  "\x7f": "␡",
  "\r": "␍",
  "\b": "␈",
  "\x07": "␇",
  "\0": "␀",
};

function shown(ch: string, lines: boolean): string {
  if (ch === "\n") return lines ? ch : "␊";
  if (ch === "\t") return lines ? ch : "␉";
  const named = NAMED[ch];
  if (named) return named;
  const code = ch.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  return `⟦U+${code.toString(16).toUpperCase().padStart(4, "0")}⟧`;
}

/** `text` with control, bidirectional, invisible and unassigned characters shown. With `lines` false it is one line. */
export function visible(text: string, lines = true): string {
  return text.replace(EVERY_UNSEEN, (ch) => shown(ch, lines));
}
