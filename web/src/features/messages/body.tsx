import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { api, body, type Message } from "~/api/client";
import { bytes } from "~/text/format";
import { Button } from "~/ui/button";
import { Markdown } from "~/ui/markdown";
import { ProblemNotice } from "~/ui/notice";

/** A message's words; of a long one its first lines, and the rest when it is asked for. */
export function WholeBody({ message }: { message: Message }): ReactNode {
  const [wanted, setWanted] = useState(false);
  const whole = useQuery({
    queryKey: ["body", message.id],
    queryFn: async () =>
      (
        await body(
          api.GET("/api/v1/messages/{message}/body", { params: { path: { message: String(message.id) } } }),
        )
      ).body,
    enabled: wanted,
  });
  return (
    <>
      <Markdown text={whole.data ?? message.body} />
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
