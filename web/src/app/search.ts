// What an address may say after `?`: read leniently, because anybody can type one (LE-15), and written sparsely.

/** Words that an address may have: how the swarm is sorted and grouped, and the tabs of an agent. */
export const SORTS = ["need", "name", "model", "context", "cost", "since"] as const;
export const GROUPS = ["state", "engine", "role", "model"] as const;
export const TABS = ["conversation", "turns", "mail", "files", "terminal", "settings"] as const;
export type Tab = (typeof TABS)[number];

export type Raw = Record<string, unknown>;

export function text(raw: Raw, key: string): string | undefined {
  const value = raw[key];
  if (typeof value === "number") return String(value);
  return typeof value === "string" && value !== "" ? value.slice(0, 500) : undefined;
}

export function number(raw: Raw, key: string): number | undefined {
  const value = Number(raw[key]);
  return Number.isSafeInteger(value) && value > 0 ? value : undefined;
}

export function oneOf<const T extends string>(raw: Raw, key: string, allowed: readonly T[]): T | undefined {
  return allowed.find((each) => each === raw[key]);
}

/** `embed=1`: the view without what stands around it, for a frame in somebody's own page. */
export function embed(raw: Raw): 1 | undefined {
  return Number(raw.embed) === 1 ? 1 : undefined;
}

/** Without what is undefined, so that it does not stand in the address. */
export function sparse<T extends Record<string, unknown>>(
  search: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(search).filter(([, value]) => value !== undefined)) as never;
}
