import { Menu as Base } from "@base-ui/react/menu";
import type { ReactElement, ReactNode } from "react";
import { type Authority, useMe, whyNot } from "~/live/may";
import { Icon, type IconName } from "./icons";

export interface MenuItem {
  label: string;
  icon?: IconName;
  danger?: boolean;
  disabled?: boolean;
  /** What somebody needs to choose it; the menu says why they may not. */
  needs?: Authority;
  act: () => void;
}

/** A button with what it opens. A null item is a line between groups. */
export function Menu({
  trigger,
  items,
  defaultOpen = false,
}: {
  trigger: ReactElement;
  items: readonly (MenuItem | null)[];
  defaultOpen?: boolean;
}): ReactNode {
  useMe();
  const refusals = items.map((item) => (item?.needs === undefined ? null : whyNot(item.needs)));
  const refusal = refusals.find((each) => each !== null);
  return (
    <Base.Root defaultOpen={defaultOpen}>
      <Base.Trigger render={trigger} />
      <Base.Portal>
        <Base.Positioner sideOffset={4} align="end" className="z-50">
          <Base.Popup className="min-w-44 rounded-md border border-line-strong bg-raised p-1 shadow-float outline-none transition-opacity duration-100 data-[ending-style]:opacity-0 data-[starting-style]:opacity-0">
            {items.map((item, at) =>
              item === null ? (
                <Base.Separator key={at} className="mx-1 my-1 border-t border-line" />
              ) : (
                <Base.Item
                  key={item.label}
                  disabled={(item.disabled ?? false) || refusals[at] !== null}
                  onClick={item.act}
                  className={`flex min-h-8 cursor-default items-center gap-2 rounded-sm px-2 outline-none select-none data-[disabled]:opacity-45 data-[highlighted]:bg-hover max-md:min-h-11 ${item.danger ? "text-danger" : ""}`}
                >
                  {item.icon && <Icon name={item.icon} />}
                  {item.label}
                </Base.Item>
              ),
            )}
            {refusal && <p className="max-w-60 px-2 py-1.5 text-sm text-muted">{refusal}.</p>}
          </Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  );
}
