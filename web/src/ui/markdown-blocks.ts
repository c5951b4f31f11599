/**
 * Markdown cut at blank lines outside of fences. Joining the pieces gives the text again; a piece before the last does not
 * change while more is written.
 */
export function blocksOf(text: string): string[] {
  const found: string[] = [];
  let from = 0;
  let at = 0;
  let fence = "";
  let blank = false;
  for (const line of text.split(/(?<=\n)/)) {
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1] ?? "";
    const starts = blank && fence === "" && !/^\s/.test(line);
    if (starts) {
      found.push(text.slice(from, at));
      from = at;
    }
    if (fence === "") fence = mark;
    else if (mark.startsWith(fence) && line.trim() === mark) fence = "";
    blank = fence === "" && line.trim() === "";
    at += line.length;
  }
  if (from < text.length) found.push(text.slice(from));
  return found;
}
