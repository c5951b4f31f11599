import { queryOptions, useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type ReactNode, useState } from "react";
import { api, body, type Setting } from "~/api/client";
import { setTheme, THEMES, useTheme } from "~/app/theme";
import { Passkeys } from "~/features/access/passkeys";
import { useAct } from "~/features/agents/actions";
import { useMay } from "~/live/may";
import { Button } from "~/ui/button";
import { Confirm } from "~/ui/dialog";
import { Search } from "~/ui/field";
import { ProblemNotice } from "~/ui/notice";
import { Ago, Badge, Foreign } from "~/ui/text";
import { People } from "./people";
import { Tokens } from "./tokens";

interface Session {
  readonly id: string;
  readonly person: string;
  readonly address: string | null;
  readonly method: string;
  readonly user_agent: string;
  readonly created_at: string;
  readonly seen_at: string;
  readonly ends_at: string;
  readonly current: boolean;
}

const sessions = queryOptions({
  queryKey: ["sessions"],
  queryFn: async () => ((await body(api.GET("/api/v1/sessions"))) as unknown as { items: Session[] }).items,
});
const settings = queryOptions({
  queryKey: ["settings"],
  queryFn: async () => (await body(api.GET("/api/v1/settings"))).items,
});

export function SettingsPage(): ReactNode {
  const admin = useMay("admin");
  return (
    <div className="mx-auto max-w-3xl space-y-10 px-4 py-4">
      <h1 className="text-lg font-semibold">Settings</h1>
      <Look />
      <Passkeys />
      <Sessions />
      <Tokens />
      {admin && <People />}
      <InForce />
    </div>
  );
}

function Look(): ReactNode {
  const theme = useTheme();
  return (
    <fieldset className="space-y-2">
      <legend className="mb-1 font-semibold">Look of this browser</legend>
      <div className="flex gap-5">
        {THEMES.map((each) => (
          <label key={each} className="flex items-center gap-2 max-md:min-h-11">
            <input
              type="radio"
              name="theme"
              checked={theme === each}
              onChange={() => setTheme(each)}
              className="size-4 accent-[var(--accent)]"
            />
            {each === "system" ? "as the system" : each}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

/** `Firefox on Linux`: enough to know one's own browsers apart. */
export function browser(agent: string): string {
  const name = /Edg\//.test(agent)
    ? "Edge"
    : /Firefox\//.test(agent)
      ? "Firefox"
      : /Chrom(e|ium)\//.test(agent)
        ? "Chrome"
        : /Safari\//.test(agent)
          ? "Safari"
          : "";
  const system = /Android/.test(agent)
    ? "Android"
    : /iPhone|iPad/.test(agent)
      ? "iOS"
      : /Mac OS X/.test(agent)
        ? "macOS"
        : /Windows/.test(agent)
          ? "Windows"
          : /Linux/.test(agent)
            ? "Linux"
            : "";
  return name ? `${name}${system ? ` on ${system}` : ""}` : agent.slice(0, 60) || "unknown";
}

function Sessions(): ReactNode {
  const query = useQuery(sessions);
  const { busy, error, run } = useAct();
  const [leaving, setLeaving] = useState(false);
  const revoke = (id: string) =>
    run(id, () => api.DELETE("/api/v1/sessions/{session}", { params: { path: { session: id } } }));
  async function leave(): Promise<void> {
    await api.POST("/api/v1/logout");
    location.replace("/login");
  }
  return (
    <section id="sessions" className="space-y-2">
      <div className="flex items-center gap-3">
        <h2 className="font-semibold">Sessions</h2>
        <Button icon="out" className="ml-auto" onClick={() => setLeaving(true)}>
          Log out
        </Button>
      </div>
      {(error ?? query.error) !== null && <ProblemNotice error={error ?? query.error} />}
      <ul className="rounded-md border border-line bg-surface empty:hidden">
        {query.data?.map((session) => (
          <li
            key={session.id}
            className="flex min-h-11 items-center gap-3 border-b border-line px-3 py-1.5 last:border-b-0"
          >
            <span className="min-w-0 flex-1">
              <Foreign text={browser(session.user_agent)} />{" "}
              {session.current && <Badge tone="accent">this one</Badge>}
              <span className="block text-sm text-muted">
                <Foreign text={session.person} />, opened <Ago at={session.created_at} /> ago by{" "}
                {session.method}, seen <Ago at={session.seen_at} /> ago
                {session.address === null ? "" : `, from ${session.address}`}
              </span>
            </span>
            {!session.current && (
              <Button small busy={busy === session.id} onClick={() => void revoke(session.id)}>
                Revoke
              </Button>
            )}
          </li>
        ))}
      </ul>
      <p className="text-sm text-muted">
        Another browser gets in by a link: <code className="font-mono">mel login</code> on the hive's machine
        prints one.
      </p>
      <Confirm open={leaving} onClose={() => setLeaving(false)} title="Log out" verb="Log out" act={leave}>
        <p>This browser has to log in again to come back. Your agents go on.</p>
      </Confirm>
    </section>
  );
}

function InForce(): ReactNode {
  const query = useQuery(settings);
  const { q = "" } = useSearch({ from: "/frame/settings" });
  const navigate = useNavigate({ from: "/settings" });
  const fits = (item: Setting) => `${item.key} ${item.description}`.toLowerCase().includes(q.toLowerCase());
  const shown = query.data?.filter(fits) ?? [];
  return (
    <section id="mel-toml" className="space-y-2">
      <div className="flex flex-wrap items-center gap-3">
        <h2 className="mr-auto font-semibold">mel.toml</h2>
        <Search
          placeholder="Filter"
          aria-label="Filter settings"
          value={q}
          onChange={(event) =>
            void navigate({ search: { q: (event.target.value || undefined) as never }, replace: true })
          }
        />
      </div>
      <p className="text-sm text-muted">
        What is in force. It is read when the hive starts; change the file and run `mel up` again.
      </p>
      {query.error !== null && <ProblemNotice error={query.error} />}
      <dl className="rounded-md border border-line bg-surface empty:hidden">
        {shown.map((item) => (
          <div key={item.key} className="border-b border-line px-3 py-2 last:border-b-0">
            <dt className="flex items-baseline gap-3">
              <code className="font-mono text-sm">{item.key}</code>
              <span className="ml-auto text-right font-medium">
                <Foreign text={shownValue(item.value)} />
              </span>
              {JSON.stringify(item.value) !== JSON.stringify(item.default) && (
                <Badge tone="accent">set</Badge>
              )}
            </dt>
            <dd className="text-sm text-muted">{item.description}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

export function shownValue(value: unknown): string {
  if (value === "") return "empty";
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.join(", ");
  return String(value);
}
