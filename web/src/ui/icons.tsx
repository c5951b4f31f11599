import type { ReactNode, SVGProps } from "react";

const PATHS = {
  swarm: "M8 1.8 13.4 5v6L8 14.2 2.6 11V5z M8 6.4a1.6 1.6 0 1 0 0 3.2 1.6 1.6 0 0 0 0-3.2",
  mail: "M2 4h12v8.5H2z m0 .5 6 4.5 6-4.5",
  costs: "M2.5 13.5v-4 M6.2 13.5V6 M9.8 13.5V8.5 M13.5 13.5V2.5",
  audit: "M3 3h10 M3 6.3h10 M3 9.6h10 M3 13h6",
  health: "M1.5 8.5h3l1.8-5 3 9 1.7-4h3.5",
  settings: "M2 4.5h6 M11.5 4.5H14 M2 11.5h2.5 M8 11.5h6 M9.8 2.8v3.4 M6.2 9.8v3.4",
  more: "M3.5 8h.01 M8 8h.01 M12.5 8h.01",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9 M10.3 10.3 14 14",
  plus: "M8 3v10 M3 8h10",
  pause: "M5.5 3.5v9 M10.5 3.5v9",
  play: "M5 3.2v9.6L12.5 8z",
  stop: "M4 4h8v8H4z",
  restart: "M13 8a5 5 0 1 1-1.6-3.7 M13 2.5v3h-3",
  hand: "M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2 M6 6l4 4 M10 6l-4 4",
  why: "M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2 M6.3 6.4c.2-2.2 3.5-2 3.4 0 0 1.2-1.7 1.3-1.7 2.6 M8 11.3h.01",
  close: "M4 4l8 8 M12 4l-8 8",
  chevron: "M6 4l4 4-4 4",
  down: "M4 6l4 4 4-4",
  back: "M10 4 6 8l4 4",
  send: "M2.5 8h10 M8.5 4l4 4-4 4",
  out: "M6 3H3v10h3 M7 8h6.5 M10.5 5l3 3-3 3",
  link: "M9 3h4v4 M13 3 7.5 8.5 M11 9.5V13H3V5h3.5",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6 M8 1.5v1.3 M8 13.2v1.3 M1.5 8h1.3 M13.2 8h1.3 M3.4 3.4l.9.9 M11.7 11.7l.9.9 M12.6 3.4l-.9.9 M4.3 11.7l-.9.9",
  collapse: "M2.5 3h11v10h-11z M6.2 3v10",
  list: "M5.5 4H14 M5.5 8H14 M5.5 12H14 M2.5 4h.01 M2.5 8h.01 M2.5 12h.01",
  sequence: "M4 2v12 M12 2v12 M4 5.5h8 M9.8 3.5l2.2 2-2.2 2 M12 11H4 M6.2 9 4 11l2.2 2",
  retry: "M13 8a5 5 0 1 1-1.6-3.7 M13 2.5v3h-3",
  copy: "M5.5 5.5h8v8h-8z M10.5 5.5v-3h-8v8h3",
  check: "M3 8.5l3.2 3.2L13 5",
  terminal: "M2 3h12v10H2z M4.5 6l2.2 2-2.2 2 M8.5 10.5h3",
  folder: "M1.8 4h4.4l1.5 1.7h6.5v7H1.8z",
  files: "M3 2h6.5L13 5.5V14H3z M9 2v4h4",
  compact: "M8 1.5v4 M5.8 3.5 8 5.7l2.2-2.2 M8 14.5v-4 M5.8 12.5 8 10.3l2.2 2.2 M2.5 8h11",
  fresh: "M8 3v10 M3 8h10 M4.5 4.5l7 7 M11.5 4.5l-7 7",
  model:
    "M4.5 4.5h7v7h-7z M6.5 1.5v3 M9.5 1.5v3 M6.5 11.5v3 M9.5 11.5v3 M1.5 6.5h3 M1.5 9.5h3 M11.5 6.5h3 M11.5 9.5h3",
  download: "M8 2v8 M4.8 7 8 10.2 11.2 7 M3 13.5h10",
} as const;

export type IconName = keyof typeof PATHS;

/** An outline icon of 16 px. It says nothing to a screen reader: the word beside it, or the button's label, does. */
export function Icon({ name, ...rest }: { name: IconName } & SVGProps<SVGSVGElement>): ReactNode {
  return (
    <svg
      viewBox="0 0 16 16"
      width="16"
      height="16"
      fill="none"
      stroke="currentColor"
      strokeWidth={name === "more" || name === "list" ? 1.6 : 1.3}
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      {...rest}
      className={`shrink-0 ${rest.className ?? ""}`}
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
