// Output of programs as a terminal would have left it: colours (SGR) become names of classes, and of a line that was
// written over (`12 %\r13 %`) what stood there last is kept. Nothing else is obeyed: every other sequence stays in the
// text, to be shown as a mark. What a terminal would hide (concealed, black on black) is readable here.

export interface Run {
  readonly text: string;
  /** Classes of `app.css`, empty for plain text. */
  readonly look: string;
}

interface Cell {
  readonly letter: string;
  readonly look: string;
}

const HUES = ["grey", "red", "green", "yellow", "blue", "magenta", "cyan", "grey"] as const;
type Hue = (typeof HUES)[number];
const SGR = /\x1b\[([0-9;:]*)m/;
const PARTS = /(\x1b\[[0-9;:]*m|\x1b\[[02]?K|\r)/;

/** Colours of a 256 table beyond the sixteen: a cube of six levels, then greys. */
const LEVELS = [0, 95, 135, 175, 215, 255] as const;
const CUBE_FROM = 16;
const GREYS_FROM = 232;

interface Style {
  ink: Hue | null;
  on: Hue | null;
  readonly flags: Set<Flag>;
}
const FLAGS = {
  1: "bold",
  2: "dim",
  3: "italic",
  4: "underline",
  7: "inverse",
  9: "struck",
  21: "underline",
} as const;
type Flag = (typeof FLAGS)[keyof typeof FLAGS];
const ENDS: Readonly<Record<number, readonly Flag[]>> = {
  22: ["bold", "dim"],
  23: ["italic"],
  24: ["underline"],
  27: ["inverse"],
  29: ["struck"],
};

/** The runs of equal look in `text`, in order; their texts are still to be drawn by `Foreign`. */
export function terminalRuns(text: string): readonly Run[] {
  const whole = text.replace(/\r+\n/g, "\n");
  if (!PARTS.test(whole)) return whole === "" ? [] : [{ text: whole, look: "" }];
  const style: Style = { ink: null, on: null, flags: new Set() };
  const found: { text: string; look: string }[] = [];
  const add = (part: string, look: string): void => {
    const last = found.at(-1);
    if (last?.look === look) last.text += part;
    else if (part !== "") found.push({ text: part, look });
  };
  whole.split("\n").forEach((line, at) => {
    if (at > 0) add("\n", found.at(-1)?.look ?? "");
    for (const cell of cellsOf(line, style)) add(cell.letter, cell.look);
  });
  return found;
}

/** What a line shows at its end; `style` goes on in the next. */
function cellsOf(line: string, style: Style): readonly Cell[] {
  const cells: Cell[] = [];
  let at = 0;
  let look = lookOf(style);
  line.split(PARTS).forEach((part, index) => {
    if (index % 2 === 0 || !obeyed(part, at, cells.length)) {
      for (const letter of part) {
        cells[at] = { letter, look };
        at += 1;
      }
    } else if (part === "\r") at = 0;
    else if (part.endsWith("K")) cells.length = at;
    else {
      apply(style, SGR.exec(part)?.[1] ?? "");
      look = lookOf(style);
    }
  });
  return cells;
}

/** A line is only ever erased from its start, and behind its end where nothing is: elsewhere the sequence is shown. */
function obeyed(part: string, at: number, length: number): boolean {
  return !part.endsWith("K") || at === 0 || (at === length && !part.endsWith("2K"));
}

function apply(style: Style, parameters: string): void {
  const codes = parameters.split(";");
  for (let at = 0; at < codes.length; at += 1) {
    const [first = "", ...more] = (codes[at] ?? "").split(":");
    const code = Number(first);
    if (code === 38 || code === 48 || code === 58) {
      const [hue, used] = more.length > 0 ? [colour(more, true)[0], 0] : colour(codes.slice(at + 1), false);
      if (code === 38) style.ink = hue;
      if (code === 48) style.on = hue;
      at += used;
    } else if (code === 4 && more[0] === "0") style.flags.delete("underline");
    else one(style, code);
  }
}

function one(style: Style, code: number): void {
  if (code === 0) {
    style.ink = style.on = null;
    style.flags.clear();
  } else if (code in FLAGS) style.flags.add(FLAGS[code as keyof typeof FLAGS]);
  else if (code in ENDS) for (const flag of ENDS[code] ?? []) style.flags.delete(flag);
  else if (code >= 30 && code <= 37) style.ink = named(code - 30);
  else if (code >= 90 && code <= 97) style.ink = named(code - 82);
  else if (code === 39) style.ink = null;
  else if (code >= 40 && code <= 47) style.on = HUES[code - 40] ?? null;
  else if (code >= 100 && code <= 107) style.on = HUES[code - 100] ?? null;
  else if (code === 49) style.on = null;
}

/** Of the sixteen; black and white are what the theme says, so that they are never unreadable. */
function named(index: number): Hue | null {
  return index % 8 === 0 || index % 8 === 7 ? (index === 8 ? "grey" : null) : (HUES[index % 8] ?? null);
}

/** The colour after 38 or 48, and how many parameters it took. With colons an empty one may stand for the colour space. */
function colour(given: readonly string[], colons: boolean): readonly [Hue | null, number] {
  const [kind, ...rest] = given;
  if (kind === "5") return [indexed(Number(rest[0])), 2];
  if (kind !== "2") return [null, given.length];
  const [r, g, b] = (colons && rest.length > 3 ? rest.slice(1) : rest).map(Number);
  return [nearest(r ?? 0, g ?? 0, b ?? 0), 4];
}

function indexed(index: number): Hue | null {
  if (!(index >= CUBE_FROM)) return named(index >= 0 ? index : 7);
  if (index >= GREYS_FROM) {
    const grey = 8 + 10 * (index - GREYS_FROM);
    return nearest(grey, grey, grey);
  }
  const at = index - CUBE_FROM;
  const level = (step: number): number => LEVELS[Math.floor(at / step) % 6] ?? 0;
  return nearest(level(36), level(6), level(1));
}

/** Which of the few colours that are readable here comes next to this one; null for black, white and nonsense. */
function nearest(r: number, g: number, b: number): Hue | null {
  const most = Math.max(r, g, b);
  const span = most - Math.min(r, g, b);
  if (!(most > 40)) return null;
  if (!(span > 0.15 * most)) return most > 70 && most < 200 ? "grey" : null;
  const sixth = most === r ? ((g - b) / span + 6) % 6 : most === g ? (b - r) / span + 2 : (r - g) / span + 4;
  return (["red", "yellow", "green", "cyan", "blue", "magenta"] as const)[Math.round(sixth) % 6] ?? null;
}

function lookOf({ ink, on, flags }: Style): string {
  const names = [...flags]
    .filter((flag) => flag !== "dim")
    .sort()
    .map((flag) => `sgr-${flag}`);
  const shown = ink ?? (flags.has("dim") ? "grey" : null);
  if (shown !== null) names.unshift(`sgr-${shown}`);
  if (on !== null && !flags.has("inverse")) names.unshift(`sgr-on-${on}`);
  return names.join(" ");
}
