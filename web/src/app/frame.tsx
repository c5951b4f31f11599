import { Link, Outlet, useLocation, useNavigate, useSearch } from "@tanstack/react-router";
import { lazy, type ReactNode, Suspense, useEffect, useState } from "react";
import { NewAgent } from "~/features/agents/new-agent";
import { WhyDialog } from "~/features/agents/why";
import { loadMe, useMe } from "~/live/may";
import { goLive, useHive, useLink, useLive } from "~/live/store";
import { limit, money, span } from "~/text/format";
import { Button, buttonClass } from "~/ui/button";
import { useNow } from "~/ui/clock";
import { Icon } from "~/ui/icons";
import { Menu } from "~/ui/menu";
import { Meter } from "~/ui/meter";
import { Empty } from "~/ui/notice";
import { StateShape } from "~/ui/state";
import { Foreign, Kbd } from "~/ui/text";
import { Tip } from "~/ui/tip";
import { typing, useKeys } from "./keys";
import { KeysHelp } from "./keys-help";
import { PLACES, type Place } from "./places";
import { useTitle } from "./title";

const HiveDialogs = lazy(() =>
  import("~/features/hive/hive-dialogs").then((it) => ({ default: it.HiveDialogs })),
);
const Palette = lazy(() => import("~/features/palette/palette").then((it) => ({ default: it.Palette })));

const THUMB = PLACES.slice(0, 4);
const REST = PLACES.slice(4);

export function Frame(): ReactNode {
  const [palette, setPalette] = useState(false);
  const [help, setHelp] = useState(false);
  const [narrow, setNarrow] = useState(() => kept("melipona.rail") === "narrow");
  const navigate = useNavigate();
  const { why, new: making, hive: hiveAsked, embed } = useSearch({ from: "/frame" });
  const link = useLink();
  useEffect(goLive, []);
  useMe();
  useEffect(() => {
    if (link === "live") void loadMe();
  }, [link]);
  useTitle();
  useKeys(
    {
      "mod+k": () => setPalette(true),
      "/": () => setPalette(true),
      "?": () => setHelp(true),
      ...Object.fromEntries(PLACES.map((place) => [`g ${place.key}`, () => void navigate({ to: place.to })])),
    },
    (event) => !typing(event) || event.ctrlKey || event.metaKey,
  );
  if (link === "logged_out") return <LoggedOut />;

  const toggle = (next: boolean) => {
    keep("melipona.rail", next ? "narrow" : "wide");
    setNarrow(next);
  };
  const close = (key: "why" | "new" | "hive") =>
    void navigate({ to: ".", search: (before: object) => ({ ...before, [key]: undefined }), replace: true });
  return (
    <div className="flex h-dvh">
      <a
        href="#content"
        className="sr-only focus:not-sr-only focus:absolute focus:z-50 focus:bg-raised focus:p-2"
      >
        To the content
      </a>
      {!embed && <Rail narrow={narrow} onToggle={() => toggle(!narrow)} />}
      <div className="flex min-w-0 flex-1 flex-col">
        {embed ? <EmbeddedLine /> : <TopLine onSearch={() => setPalette(true)} />}
        <Trouble />
        <main
          id="content"
          tabIndex={-1}
          className={`min-h-0 flex-1 overflow-y-auto outline-none transition-opacity duration-120 ${link === "away" ? "opacity-60" : ""}`}
        >
          <Outlet />
        </main>
        {!embed && <BottomBar />}
      </div>
      <Suspense fallback={null}>
        {hiveAsked && <HiveDialogs asked={hiveAsked} onClose={() => close("hive")} />}
        {palette && <Palette onClose={() => setPalette(false)} onHelp={() => setHelp(true)} />}
      </Suspense>
      <KeysHelp open={help} onClose={() => setHelp(false)} />
      <WhyDialog subject={why ?? null} onClose={() => close("why")} />
      <NewAgent open={making === "agent"} onClose={() => close("new")} />
    </div>
  );
}

function Rail({ narrow, onToggle }: { narrow: boolean; onToggle: () => void }): ReactNode {
  return (
    <nav
      aria-label="Views"
      className={`flex shrink-0 flex-col border-r border-line bg-ground px-2 py-2 max-md:hidden ${narrow ? "w-[53px]" : "w-44"}`}
    >
      <Link
        to="/"
        className="mb-2 flex h-8 items-center gap-2 rounded-md px-2 font-semibold"
        aria-label="Melipona, to the swarm"
      >
        <img src="/assets/mark.svg" alt="" width="20" height="20" />
        {!narrow && <span>Melipona</span>}
      </Link>
      {PLACES.map((place) => (
        <RailLink key={place.to} place={place} narrow={narrow} />
      ))}
      <div className="mt-auto">
        <Button
          look="quiet"
          icon="collapse"
          onClick={onToggle}
          aria-label={narrow ? "Widen the rail" : "Narrow the rail"}
          aria-expanded={!narrow}
        />
      </div>
    </nav>
  );
}

function RailLink({ place, narrow }: { place: Place; narrow: boolean }): ReactNode {
  const waits = useWaits(place.to);
  const link = (
    <Link
      to={place.to}
      activeOptions={{ exact: place.to === "/", includeSearch: false }}
      activeProps={{ className: "bg-hover text-text font-medium" }}
      inactiveProps={{ className: "text-muted hover:bg-hover hover:text-text" }}
      aria-label={
        narrow ? [place.name, waits > 0 ? `${waits} for you` : ""].filter(Boolean).join(", ") : undefined
      }
      className="relative mb-0.5 flex h-8 items-center gap-2.5 rounded-md px-2.5"
    >
      <Icon name={place.icon} />
      {!narrow && <span>{place.name}</span>}
      {waits > 0 && <Count narrow={narrow}>{waits}</Count>}
    </Link>
  );
  return narrow ? (
    <Tip text={place.name} side="right">
      {link}
    </Tip>
  ) : (
    link
  );
}

function Count({ children, narrow }: { children: number; narrow: boolean }): ReactNode {
  return narrow ? (
    <span className="absolute top-1.5 right-1.5 size-2 rounded-full bg-accent" title={String(children)} />
  ) : (
    <span className="ml-auto text-sm font-medium text-accent">{children}</span>
  );
}

/** How much of what a view shows waits for a person. */
function useWaits(to: Place["to"]): number {
  const hive = useHive();
  if (hive === null) return 0;
  if (to === "/messages") return hive.mail.unread + hive.mail.parked;
  if (to !== "/") return 0;
  return [...hive.agents.values()].filter((agent) => agent.state === "needs_you").length;
}

function TopLine({ onSearch }: { onSearch: () => void }): ReactNode {
  const hive = useHive();
  return (
    <header className="flex h-12 shrink-0 items-center gap-4 border-b border-line px-4">
      <img src="/assets/mark.svg" alt="" width="20" height="20" className="md:hidden" />
      <span className="min-w-0 truncate font-semibold">{hive && <Foreign text={hive.name} />}</span>
      <button
        type="button"
        onClick={onSearch}
        className="flex h-8 max-w-96 flex-1 items-center gap-2 rounded-md border border-line bg-surface px-2.5 text-muted hover:border-line-strong max-md:h-10 max-md:flex-none max-md:px-3"
      >
        <Icon name="search" />
        <span className="max-md:sr-only">Search or run</span>
        <span className="ml-auto max-md:hidden">
          <Kbd>{MOD} K</Kbd>
        </span>
      </button>
      <div className="ml-auto flex items-center gap-4">
        {hive && <Spent usd={hive.spent.usd} budget={hive.spent.budget_usd} />}
        <LinkState />
      </div>
    </header>
  );
}

/** All that stands above an embedded view: whether it is of now, and the way out of the frame. */
function EmbeddedLine(): ReactNode {
  const href = useLocation({ select: (at) => at.href });
  return (
    <header className="flex h-8 shrink-0 items-center justify-end gap-3 border-b border-line px-3 text-sm">
      <LinkState />
      <a
        href={href.replace(/[?&]embed=1\b/, "").replace(/^([^?]*)&/, "$1?")}
        target="_blank"
        rel="noopener noreferrer"
        className={buttonClass("quiet", true)}
      >
        Open in Melipona
        <Icon name="link" />
      </a>
    </header>
  );
}

const MOD = /Mac|iPhone|iPad/.test(navigator.userAgent) ? "⌘" : "ctrl";

function Spent({ usd, budget }: { usd: number; budget: number | null }): ReactNode {
  const words = budget === null ? `${money(usd)} today` : `${money(usd)} of ${limit(budget)} today`;
  return (
    <Link to="/costs" className="flex items-center gap-2 whitespace-nowrap hover:text-accent">
      <span className="max-sm:hidden">{words}</span>
      <span className="sm:hidden">{money(usd)}</span>
      {budget !== null && <Meter value={usd} most={budget} label={words} className="w-14 max-lg:hidden" />}
    </Link>
  );
}

/** Whether what the page shows is of now. Shown at once when it is not. */
function LinkState(): ReactNode {
  const { link, since } = useLive();
  const now = useNow(Date.now());
  const away = performance.now() - since;
  void now; // the age grows while nothing else changes
  return (
    <span role="status" className="flex items-center gap-1.5 whitespace-nowrap">
      {link === "live" && (
        <>
          <span className="size-2 rounded-full bg-live" />
          <span className="text-muted max-sm:sr-only">live</span>
        </>
      )}
      {link === "connecting" && <span className="text-muted">connecting</span>}
      {link === "away" && (
        <>
          <StateShape state="stuck" />
          <span className="font-medium text-warn">
            not connected<span className="max-sm:hidden">, {span(away)}; this may be old</span>
          </span>
        </>
      )}
    </span>
  );
}

/** What is wrong with the hive itself, on every view. */
function Trouble(): ReactNode {
  const hive = useHive();
  const disk = hive?.disk;
  const damaged = hive?.checked?.result === "damaged" ? hive.checked : null;
  const full = disk?.level === "full";
  return (
    <>
      {disk && disk.level !== "ok" && (
        <p role="alert" className={`border-b border-line px-4 py-2 ${full ? "text-danger" : "text-warn"}`}>
          <span className="font-medium">{full ? "The disk is full." : "The disk is nearly full."}</span>{" "}
          {disk.detail !== null && <Foreign text={disk.detail} />}
        </p>
      )}
      {damaged && (
        <p role="alert" className="border-b border-line px-4 py-2 text-danger">
          <span className="font-medium">The database is damaged.</span>{" "}
          {damaged.problem !== null && <Foreign text={damaged.problem} />} Stop the hive and restore a backup.
        </p>
      )}
    </>
  );
}

function BottomBar(): ReactNode {
  const navigate = useNavigate();
  const path = useLocation({ select: (at) => at.pathname });
  const elsewhere = REST.some((place) => path === place.to);
  return (
    <nav
      aria-label="Views"
      className="flex shrink-0 border-t border-line bg-surface pb-[env(safe-area-inset-bottom)] md:hidden"
    >
      {THUMB.map((place) => (
        <ThumbLink key={place.to} place={place} />
      ))}
      <Menu
        trigger={
          <button
            type="button"
            className={`flex h-14 flex-1 flex-col items-center justify-center gap-0.5 text-xs ${elsewhere ? "text-text" : "text-muted"}`}
          >
            <Icon name="more" />
            More
          </button>
        }
        items={REST.map((place) => ({
          label: place.name,
          icon: place.icon,
          act: () => void navigate({ to: place.to }),
        }))}
      />
    </nav>
  );
}

function ThumbLink({ place }: { place: Place }): ReactNode {
  const waits = useWaits(place.to);
  return (
    <Link
      to={place.to}
      activeOptions={{ exact: place.to === "/", includeSearch: false }}
      activeProps={{ className: "text-text font-medium" }}
      inactiveProps={{ className: "text-muted" }}
      className="relative flex h-14 flex-1 flex-col items-center justify-center gap-0.5 text-xs"
    >
      <Icon name={place.icon} />
      {place.name}
      {waits > 0 && (
        <span
          className="absolute top-2 left-[calc(50%+8px)] size-2 rounded-full bg-accent"
          title={String(waits)}
        />
      )}
    </Link>
  );
}

function LoggedOut(): ReactNode {
  return (
    <Empty title="You are logged out">
      <p>
        {window.top !== window.self &&
          "A browser sends no login into a frame of another site: the page around this one must be of the same site as the hive. "}
        Your agents go on.
      </p>
      <a
        href={`/login?next=${encodeURIComponent(location.pathname + location.search)}`}
        className={buttonClass("plain")}
      >
        Log in
      </a>
    </Empty>
  );
}

function kept(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
function keep(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // it lasts as long as this page
  }
}
