// A terminal on the page. What it shows is written by an agent's box, so it may move text and colour about inside its own
// frame and do nothing else: no title, no link, no clipboard, no colours of the page, no size of the window (T4).
import { FitAddon } from "@xterm/addon-fit";
import { type ITheme, Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import { withoutInlineStyle } from "./inline-style";

/**
 * Operating system commands that xterm.js would act on, or an addon of it could: titles and icon names (0, 1, 2), the
 * palette and the colours (4, 10 to 12, 104, 110 to 112), folders (7), links (8), notifications (9, 777), the clipboard
 * (52), marks (133, 633), pictures (1337). Each is taken for done, and nothing is done.
 */
export const IGNORED = [
  0, 1, 2, 4, 7, 8, 9, 10, 11, 12, 52, 104, 110, 111, 112, 133, 633, 777, 1337,
] as const;
const SCROLLBACK = 5_000;

export interface Screen {
  readonly terminal: Terminal;
  fit(): void;
  /** Shows bytes; done when they are shown, so that a flood waits in the box. */
  show(data: Uint8Array | string): Promise<void>;
  end(): void;
}

export function openScreen(host: HTMLElement, label: string): Screen {
  const sheets = withoutInlineStyle();
  const terminal = new Terminal({
    allowProposedApi: false,
    allowTransparency: false,
    convertEol: false,
    cursorBlink: false,
    fontFamily: 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, "DejaVu Sans Mono", monospace',
    fontSize: 13,
    linkHandler: { activate: () => {}, allowNonHttpProtocols: false },
    minimumContrastRatio: 4.5,
    screenReaderMode: false,
    scrollback: SCROLLBACK,
    theme: theme(host),
    windowOptions: {},
  });
  for (const number of IGNORED) terminal.parser.registerOscHandler(number, () => true);
  const fitting = new FitAddon();
  terminal.loadAddon(fitting);
  sheets.during(() => terminal.open(host));
  terminal.textarea?.setAttribute("aria-label", label);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const recolour = () => {
    terminal.options.theme = theme(host);
  };
  const themed = new MutationObserver(recolour);
  themed.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  dark.addEventListener("change", recolour);
  return {
    terminal,
    fit: () => fitting.fit(),
    show: (data) => new Promise((shown) => terminal.write(data, shown)),
    end: () => {
      themed.disconnect();
      dark.removeEventListener("change", recolour);
      terminal.dispose();
      sheets.end();
    },
  };
}

/** The page's own colours, as the browser has worked them out: xterm.js reads no custom properties. */
function theme(host: HTMLElement): ITheme {
  const colour = (token: string): string => {
    const probe = document.createElement("span");
    probe.style.color = `var(--${token})`;
    host.append(probe);
    const found = rgb(getComputedStyle(probe).color);
    probe.remove();
    return found;
  };
  return {
    background: colour("sunken"),
    foreground: colour("text"),
    cursor: colour("accent"),
    cursorAccent: colour("sunken"),
    selectionBackground: colour("line-strong"),
    black: colour("muted"),
    brightBlack: colour("muted"),
    red: colour("danger"),
    brightRed: colour("danger"),
    green: colour("series-4"),
    brightGreen: colour("series-4"),
    yellow: colour("warn"),
    brightYellow: colour("warn"),
    blue: colour("series-3"),
    brightBlue: colour("series-3"),
    magenta: colour("series-5"),
    brightMagenta: colour("series-5"),
    cyan: colour("live"),
    brightCyan: colour("live"),
    white: colour("text"),
    brightWhite: colour("text"),
  };
}

/** `oklch(…)` as `#rrggbb`: a canvas knows. */
function rgb(colour: string): string {
  const pixel = new OffscreenCanvas(1, 1).getContext("2d");
  if (pixel === null) return "#888888";
  pixel.fillStyle = colour;
  pixel.fillRect(0, 0, 1, 1);
  const [red = 0, green = 0, blue = 0] = pixel.getImageData(0, 0, 1, 1).data;
  return `#${[red, green, blue].map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}
