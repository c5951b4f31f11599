// The nouns of the rail, in their order.
import type { IconName } from "~/ui/icons";

export interface Place {
  to: "/" | "/messages" | "/costs" | "/audit" | "/health" | "/settings";
  name: string;
  icon: IconName;
  key: string;
}

export const PLACES: readonly Place[] = [
  { to: "/", name: "Swarm", icon: "swarm", key: "s" },
  { to: "/messages", name: "Messages", icon: "mail", key: "m" },
  { to: "/costs", name: "Costs", icon: "costs", key: "c" },
  { to: "/audit", name: "Audit", icon: "audit", key: "a" },
  { to: "/health", name: "Health", icon: "health", key: "h" },
  { to: "/settings", name: "Settings", icon: "settings", key: "," },
];
