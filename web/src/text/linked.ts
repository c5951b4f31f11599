// Which stretches of a text are files, by the list that came with it (FR-8). Nothing is guessed and nobody is asked.

export interface Piece {
  readonly text: string;
  /** The file that this stretch names. */
  readonly file: string | null;
}

/** `text` from left to right, with every occurrence of a vouched token marked, the longest where several begin. */
export function linked(text: string, vouched: readonly string[]): readonly Piece[] {
  const tokens = vouched.filter((token) => token !== "").sort((a, b) => b.length - a.length);
  const heads = new Set(tokens.map((token) => token[0]));
  const found: Piece[] = [];
  let from = 0;
  let at = 0;
  while (tokens.length > 0 && at < text.length) {
    const here = at;
    const token = heads.has(text[here]) ? tokens.find((each) => text.startsWith(each, here)) : undefined;
    if (token === undefined) {
      at += 1;
      continue;
    }
    if (at > from) found.push({ text: text.slice(from, at), file: null });
    found.push({ text: token, file: token });
    at += token.length;
    from = at;
  }
  if (from < text.length) found.push({ text: text.slice(from), file: null });
  return found;
}
