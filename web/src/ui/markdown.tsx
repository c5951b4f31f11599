import { lazy, memo, type ReactNode, Suspense } from "react";
import { Linked } from "./file-links";

const Rendered = lazy(() => import("./markdown-rendered"));

/** Text with nothing that markdown would change is shown as it is, and costs no parser. */
const PLAIN = /^[^*_`#>|[\]~<\-+\\&!]*$/;

/** Markdown that an agent wrote: no raw HTML, no images from elsewhere, links marked. */
export const Markdown = memo(function Markdown({
  text,
  streaming = false,
}: {
  text: string;
  streaming?: boolean;
}): ReactNode {
  const plain = (
    <div className="whitespace-pre-wrap">
      <Linked text={text} />
    </div>
  );
  if (PLAIN.test(text) && !/:\/\/|www\.|^\s*\d+[.)]\s/m.test(text)) return plain;
  return (
    <Suspense fallback={plain}>
      <Rendered text={text} streaming={streaming} />
    </Suspense>
  );
});
