import type { ReactNode } from "react";
import { Dialog } from "~/ui/dialog";
import { Kbd } from "~/ui/text";

const GROUPS: readonly { name: string; keys: readonly (readonly [string, string])[] }[] = [
  {
    name: "Everywhere",
    keys: [
      ["ctrl K or /", "search or run"],
      ["g s", "swarm"],
      ["g m", "messages"],
      ["g c", "costs"],
      ["g a", "audit"],
      ["g h", "health"],
      ["g ,", "settings"],
      ["?", "these keys"],
    ],
  },
  {
    name: "Swarm",
    keys: [
      ["j, k or ↓, ↑", "next, previous agent"],
      ["enter", "open it"],
      ["p", "pause or resume it"],
      ["i", "interrupt its turn"],
      ["w", "why does it not move"],
      ["n", "make an agent"],
      ["f", "filter"],
      ["esc", "let go of it"],
    ],
  },
  {
    name: "Agent",
    keys: [
      ["c", "write to it"],
      ["enter", "send"],
      ["shift enter", "a new line"],
      ["esc", "leave the text"],
      ["p, i, w", "as above"],
      ["[ ]", "previous, next tab"],
      ["u", "back to the swarm"],
    ],
  },
];

export function KeysHelp({ open, onClose }: { open: boolean; onClose: () => void }): ReactNode {
  return (
    <Dialog open={open} onClose={onClose} title="Keys">
      <div className="grid gap-5 sm:grid-cols-2">
        {GROUPS.map((group) => (
          <section key={group.name}>
            <h3 className="mb-1.5 text-sm font-medium text-muted">{group.name}</h3>
            <dl className="space-y-1">
              {group.keys.map(([key, what]) => (
                <div key={key} className="flex items-baseline justify-between gap-3">
                  <dt>{what}</dt>
                  <dd>
                    <Kbd>{key}</Kbd>
                  </dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
