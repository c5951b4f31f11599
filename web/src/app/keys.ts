// Keys that work anywhere on a view. Two strokes are written with a blank: `g m`.
import { useEffect, useRef } from "react";

export type Keys = Record<string, (() => void) | undefined>;
const SECOND_STROKE_MS = 1000;

export function typing(event: KeyboardEvent): boolean {
  const at = event.target;
  return (
    at instanceof HTMLElement &&
    (at.isContentEditable ||
      ["INPUT", "TEXTAREA", "SELECT"].includes(at.tagName) ||
      at.closest("[role=dialog],[role=menu]") !== null)
  );
}

/** Binds `keys` while the component is there. By default nothing fires while somebody types or a dialog is open. */
export function useKeys(
  keys: Keys,
  heard: (event: KeyboardEvent) => boolean = (event) => !typing(event),
): void {
  const latest = useRef({ keys, heard });
  latest.current = { keys, heard };
  useEffect(() => {
    let first = "";
    let timer: ReturnType<typeof setTimeout> | undefined;
    const press = (event: KeyboardEvent) => {
      const { keys: bound, heard: hears } = latest.current;
      if (event.defaultPrevented || event.altKey || !hears(event)) return;
      const mod = event.ctrlKey || event.metaKey;
      const name = mod ? `mod+${event.key.toLowerCase()}` : event.key;
      const act = bound[first ? `${first} ${name}` : name];
      clearTimeout(timer);
      const leads = !first && !mod && Object.keys(bound).some((key) => key.startsWith(`${name} `));
      first = leads ? name : "";
      if (leads) timer = setTimeout(() => (first = ""), SECOND_STROKE_MS);
      if (act) {
        event.preventDefault();
        act();
      }
    };
    addEventListener("keydown", press);
    return () => {
      clearTimeout(timer);
      removeEventListener("keydown", press);
    };
  }, []);
}
