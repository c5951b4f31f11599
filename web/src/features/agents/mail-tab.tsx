import type { ReactNode } from "react";
import type { Agent } from "~/api/client";
import { MessageList } from "~/features/messages/list";

/** The agent's mail in both directions, with its states. */
export function MailTab({ agent }: { agent: Agent }): ReactNode {
  return (
    <div className="px-4 py-3 max-md:px-0">
      <MessageList asked={{ agent: agent.name }} />
    </div>
  );
}
