import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { api, body, type Message } from "~/api/client";
import { FilePreview } from "~/features/files/file";
import { bytes } from "~/text/format";
import { Button } from "~/ui/button";
import { Linked, WithFiles } from "~/ui/file-links";
import { Markdown } from "~/ui/markdown";
import { ProblemNotice } from "~/ui/notice";

/** A message's words; of a long one its first lines, and the rest when it is asked for. */
export function WholeBody({ message }: { message: Message }): ReactNode {
  const [wanted, setWanted] = useState(false);
  const whole = useQuery({
    queryKey: ["body", message.id],
    queryFn: () =>
      body(api.GET("/api/v1/messages/{message}/body", { params: { path: { message: String(message.id) } } })),
    enabled: wanted,
  });
  const shown = whole.data ?? message;
  return (
    <>
      <Body {...shown}>
        <Markdown text={shown.body} />
      </Body>
      {message.body_path !== null && whole.data === undefined && (
        <Button
          small
          look="quiet"
          className="mt-1 -ml-2"
          busy={whole.isFetching}
          onClick={() => setWanted(true)}
        >
          Show all, {bytes(message.body_bytes)}
        </Button>
      )}
      {whole.error !== null && <ProblemNotice error={whole.error} />}
    </>
  );
}

/** Words as they were written, with the files that they name. */
export function PlainBody({ message }: { message: Message }): ReactNode {
  return (
    <Body {...message}>
      <Linked text={message.body} />
    </Body>
  );
}

function Body({
  files,
  files_cut,
  children,
}: {
  files: readonly string[];
  files_cut: boolean;
  children: ReactNode;
}): ReactNode {
  return (
    <>
      <WithFiles files={files} preview={(file, close) => <FilePreview path={file} onClose={close} />}>
        {children}
      </WithFiles>
      {files_cut && (
        <p className="mt-1 text-xs text-muted">
          More files are named here than are looked up: the rest is not linked.
        </p>
      )}
    </>
  );
}
