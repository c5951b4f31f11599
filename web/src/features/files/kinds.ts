// What a file's name says about how to show it. Its content never decides: agents write both, and a name is seen.

const SHOWN_MOST = 100_000;
const LINES_MOST = 2_000;

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function ending(name: string): string {
  const at = name.lastIndexOf(".");
  return at <= 0 ? "" : name.slice(at + 1).toLowerCase();
}

export function isMarkdown(path: string): boolean {
  return ["md", "markdown", "mdown"].includes(ending(nameOf(path)));
}

const LANGUAGES: Record<string, string> = {
  bash: "bash",
  c: "c",
  cc: "cpp",
  cfg: "ini",
  conf: "ini",
  cpp: "cpp",
  css: "css",
  diff: "diff",
  go: "go",
  h: "c",
  hpp: "cpp",
  htm: "xml",
  html: "xml",
  ini: "ini",
  java: "java",
  js: "javascript",
  json: "json",
  jsonl: "json",
  jsx: "javascript",
  kt: "kotlin",
  lua: "lua",
  md: "markdown",
  mjs: "javascript",
  patch: "diff",
  php: "php",
  pl: "perl",
  py: "python",
  pyi: "python",
  rb: "ruby",
  rs: "rust",
  scss: "scss",
  sh: "bash",
  sql: "sql",
  svg: "xml",
  swift: "swift",
  toml: "ini",
  ts: "typescript",
  tsx: "typescript",
  xml: "xml",
  yaml: "yaml",
  yml: "yaml",
};

/** The language of a file by its name; null where colours would not help. */
export function languageOf(name: string): string | null {
  if (/^makefile$/i.test(name)) return "makefile";
  const found = ending(name);
  return Object.hasOwn(LANGUAGES, found) ? (LANGUAGES[found] ?? null) : null;
}

/** The beginning of a text, at whole lines: a page stays quick whatever is in a file. */
export function cutText(text: string): { shown: string; cut: boolean } {
  let end = 0;
  for (let line = 0; line < LINES_MOST; line += 1) {
    const next = text.indexOf("\n", end);
    if (next < 0) {
      end = text.length;
      break;
    }
    end = next + 1;
  }
  end = Math.min(end, SHOWN_MOST);
  return { shown: text.slice(0, end), cut: end < text.length };
}
