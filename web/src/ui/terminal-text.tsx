import { memo, type ReactNode, useMemo } from "react";
import { terminalRuns } from "~/text/terminal";
import { Foreign } from "./text";

/** Output of a program in its colours; what else a terminal would obey is shown as marks. */
export const TerminalText = memo(function TerminalText({ text }: { text: string }): ReactNode {
  const runs = useMemo(() => terminalRuns(text), [text]);
  return runs.map((run, at) =>
    run.look === "" ? (
      <Foreign key={at} text={run.text} lines />
    ) : (
      <span key={at} className={run.look}>
        <Foreign text={run.text} lines />
      </span>
    ),
  );
});
