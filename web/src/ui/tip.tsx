import { Tooltip as Base } from "@base-ui/react/tooltip";
import type { ReactElement, ReactNode } from "react";

/** A word for what has only a picture. The trigger carries the same as its label. */
export function Tip({
  text,
  children,
  side = "bottom",
}: {
  text: ReactNode;
  children: ReactElement;
  side?: "bottom" | "right";
}): ReactNode {
  return (
    <Base.Root>
      <Base.Trigger render={children} />
      <Base.Portal>
        <Base.Positioner sideOffset={6} side={side} className="z-50">
          <Base.Popup className="rounded-sm border border-line-strong bg-raised px-2 py-1 text-sm shadow-float">
            {text}
          </Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  );
}

export const TipGroup = Base.Provider;
