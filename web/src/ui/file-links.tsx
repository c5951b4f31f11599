// Words that are files. Whoever draws a text says which they are; a link opens below the text that it stands in.
import { createContext, type ReactNode, useContext, useId, useMemo, useState } from "react";
import { linked } from "~/text/linked";
import { Foreign } from "./text";

interface Links {
  readonly files: readonly string[];
  readonly open: readonly string[];
  readonly region: string;
  toggle(file: string): void;
}

const NONE: Links = { files: [], open: [], region: "", toggle: () => {} };
const Context = createContext<Links>(NONE);

/** The files that a text may link, for what is drawn inside. */
export function useFiles(): readonly string[] {
  return useContext(Context).files;
}

/** Draws a text whose words may be files, and below it those that were opened. */
export function WithFiles({
  files,
  children,
  preview,
}: {
  files: readonly string[];
  children: ReactNode;
  preview: (file: string, close: () => void) => ReactNode;
}): ReactNode {
  const [open, setOpen] = useState<readonly string[]>([]);
  const region = useId();
  const links = useMemo<Links>(() => {
    const toggle = (file: string) =>
      setOpen((before) =>
        before.includes(file) ? before.filter((each) => each !== file) : [...before, file],
      );
    return { files, open, region, toggle };
  }, [files, open, region]);
  if (files.length === 0 && open.length === 0) return children;
  return (
    <Context value={links}>
      {children}
      <div id={region}>
        {open.map((file) => (
          <div key={file} className="mt-2">
            {preview(file, () => links.toggle(file))}
          </div>
        ))}
      </div>
    </Context>
  );
}

/** A word that is a file: opens it in place, and closes it again. */
export function FileLink({ file, children }: { file: string; children: ReactNode }): ReactNode {
  const { open, region, toggle } = useContext(Context);
  return (
    <button
      type="button"
      aria-expanded={open.includes(file)}
      aria-controls={region}
      onClick={() => toggle(file)}
      className="inline text-left text-accent underline decoration-dotted underline-offset-2 wrap-anywhere hover:decoration-solid"
    >
      {children}
    </button>
  );
}

/** Text that somebody else wrote, with its files linked. */
export function Linked({ text }: { text: string }): ReactNode {
  const files = useFiles();
  if (files.length === 0) return <Foreign text={text} lines />;
  return linked(text, files).map((piece, at) =>
    piece.file === null ? (
      <Foreign key={at} text={piece.text} lines />
    ) : (
      <FileLink key={at} file={piece.file}>
        <Foreign text={piece.text} />
      </FileLink>
    ),
  );
}
