// Every address of the page. All that is selected, filtered or opened stands in it; views draw what it says.
import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  type RouterHistory,
  retainSearchParams,
} from "@tanstack/react-router";
import { Agent } from "~/features/agents/agent";
import { ASKED } from "~/features/agents/controls";
import { HIVE_ASKED } from "~/features/hive/actions";
import { Swarm } from "~/features/swarm/swarm";
import { Failed, Lost } from "./failed";
import { Frame } from "./frame";
import { embed, GROUPS, number, oneOf, type Raw, SORTS, sparse, TABS, text } from "./search";

const root = createRootRoute({ component: Outlet, notFoundComponent: Lost });

const login = createRoute({
  getParentRoute: () => root,
  path: "/login",
  component: lazyRouteComponent(() => import("~/features/login/login"), "Login"),
});

const back = createRoute({
  getParentRoute: () => root,
  path: "/login/oidc",
  component: lazyRouteComponent(() => import("~/features/login/login"), "ComeBack"),
});

const frame = createRoute({
  getParentRoute: () => root,
  id: "frame",
  component: Frame,
  notFoundComponent: Lost,
  validateSearch: (raw: Raw) =>
    sparse({
      why: text(raw, "why"),
      new: oneOf(raw, "new", ["agent"]),
      hive: oneOf(raw, "hive", HIVE_ASKED),
      embed: embed(raw),
    }),
  search: { middlewares: [retainSearchParams(["embed"])] }, // an embedded view stays one, wherever it goes
});

const swarm = createRoute({
  getParentRoute: () => frame,
  path: "/",
  component: Swarm,
  validateSearch: (raw: Raw) =>
    sparse({
      q: text(raw, "q"),
      state: text(raw, "state"),
      sort: oneOf(raw, "sort", SORTS),
      group: oneOf(raw, "group", GROUPS),
      at: text(raw, "at"),
    }),
});

const agent = createRoute({
  getParentRoute: () => frame,
  path: "/agents/$name",
  component: Agent,
  validateSearch: (raw: Raw) =>
    sparse({
      tab: oneOf(raw, "tab", TABS),
      turn: number(raw, "turn"),
      terminal: text(raw, "terminal"),
      file: text(raw, "file"),
      ask: oneOf(raw, "ask", ASKED),
    }),
});

const messages = createRoute({
  getParentRoute: () => frame,
  path: "/messages",
  component: lazyRouteComponent(() => import("~/features/messages/messages"), "Messages"),
  validateSearch: (raw: Raw) =>
    sparse({
      q: text(raw, "q"),
      agent: text(raw, "agent"),
      state: oneOf(raw, "state", ["waiting", "leased", "handled", "parked"]),
      thread: number(raw, "thread"),
      as: oneOf(raw, "as", ["sequence"]),
      m: number(raw, "m"),
    }),
});

const costs = createRoute({
  getParentRoute: () => frame,
  path: "/costs",
  component: lazyRouteComponent(() => import("~/features/costs/costs"), "CostsView"),
  validateSearch: (raw: Raw) => sparse({ days: number(raw, "days"), by: oneOf(raw, "by", ["agent", "day"]) }),
});

const audit = createRoute({
  getParentRoute: () => frame,
  path: "/audit",
  component: lazyRouteComponent(() => import("~/features/audit/audit"), "Audit"),
  validateSearch: (raw: Raw) =>
    sparse({ agent: text(raw, "agent"), kind: text(raw, "kind"), e: number(raw, "e") }),
});

const health = createRoute({
  getParentRoute: () => frame,
  path: "/health",
  component: lazyRouteComponent(() => import("~/features/health/health"), "HealthView"),
});

const settings = createRoute({
  getParentRoute: () => frame,
  path: "/settings",
  component: lazyRouteComponent(() => import("~/features/settings/settings"), "SettingsPage"),
  validateSearch: (raw: Raw) => sparse({ q: text(raw, "q") }),
});

const parts = createRoute({
  getParentRoute: () => frame,
  path: "/ui",
  component: lazyRouteComponent(() => import("~/ui/parts"), "Parts"),
});

const routeTree = root.addChildren([
  login,
  back,
  frame.addChildren([swarm, agent, messages, costs, audit, health, settings, parts]),
]);
/** The page's router, over the browser's history or one of its own. */
export const makeRouter = (history?: RouterHistory) =>
  createRouter({
    routeTree,
    ...(history ? { history } : {}),
    defaultErrorComponent: Failed,
    defaultPreload: "intent",
    scrollRestoration: false, // it would write an inline script
  });
export const router = makeRouter();

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
