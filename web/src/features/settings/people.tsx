import { queryOptions, useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { api, body } from "~/api/client";
import { useAct } from "~/features/agents/actions";
import { Button } from "~/ui/button";
import { Input, Select } from "~/ui/field";
import { ProblemNotice } from "~/ui/notice";
import { Ago, Badge, Foreign } from "~/ui/text";

const ROLES = ["viewer", "operator", "admin"] as const;
type Role = (typeof ROLES)[number];
const CHOICES = ROLES.map((role) => ({ value: role, label: role }));

const people = queryOptions({
  queryKey: ["people"],
  queryFn: async () => (await body(api.GET("/api/v1/people"))).items,
});

/** Who may come in, for admins. */
export function People(): ReactNode {
  const query = useQuery(people);
  const { busy, error, run } = useAct();
  const [name, setName] = useState("");
  const [link, setLink] = useState<{ person: string; url: string } | null>(null);
  function add(event: FormEvent): void {
    event.preventDefault();
    void run("add", async () => {
      await api.POST("/api/v1/people", { body: { name: name.trim(), role: "viewer" } });
      setName("");
    });
  }
  const change = (person: string, changes: { role?: Role; disabled?: boolean }) =>
    void run(person, () =>
      api.PATCH("/api/v1/people/{name}", { params: { path: { name: person } }, body: changes }),
    );
  const invite = (person: string) =>
    void run(person, async () => {
      const made = await body(api.POST("/api/v1/login-links", { body: { person, outside: true } }));
      setLink({ person, url: made.url });
    });
  return (
    <section id="people" aria-label="People" className="space-y-2">
      <h2 className="font-semibold">People</h2>
      <p className="text-sm text-muted">
        A viewer reads, an operator acts, an admin also decides who may come in.
      </p>
      {(error ?? query.error) !== null && <ProblemNotice error={error ?? query.error} />}
      <ul className="rounded-md border border-line bg-surface empty:hidden">
        {query.data?.map((person) => (
          <li
            key={person.name}
            className="flex min-h-11 flex-wrap items-center gap-3 border-b border-line px-3 py-1 last:border-b-0"
          >
            <span className="min-w-0 flex-1">
              <Foreign text={person.name} /> {person.owner && <Badge tone="accent">owner</Badge>}
              {person.disabled_at !== null && (
                <span className="block text-sm text-muted">
                  shut out <Ago at={person.disabled_at} /> ago
                </span>
              )}
            </span>
            {person.owner ? (
              <span className="text-muted">{person.role}</span>
            ) : (
              <>
                <Select
                  aria-label={`Role of ${person.name}`}
                  value={person.role}
                  onPick={(role) => change(person.name, { role: role as Role })}
                  choices={CHOICES}
                />
                {person.disabled_at === null && (
                  <Button
                    small
                    aria-label={`Make a link for ${person.name}`}
                    busy={busy === person.name}
                    onClick={() => invite(person.name)}
                  >
                    Make a link
                  </Button>
                )}
                <Button
                  small
                  aria-label={`${person.disabled_at === null ? "Shut out" : "Let in again"}: ${person.name}`}
                  busy={busy === person.name}
                  onClick={() => change(person.name, { disabled: person.disabled_at === null })}
                >
                  {person.disabled_at === null ? "Shut out" : "Let in again"}
                </Button>
              </>
            )}
          </li>
        ))}
      </ul>
      {link !== null && (
        <div role="status" className="space-y-1 rounded-md border border-line-strong p-3">
          <p>For {link.person}: it works once, within ten minutes.</p>
          <code className="block break-all font-mono text-sm">{link.url}</code>
          <Button small look="quiet" onClick={() => setLink(null)}>
            Done
          </Button>
        </div>
      )}
      <form onSubmit={add} className="flex flex-wrap items-center gap-3">
        <Input
          aria-label="Name of somebody new"
          placeholder="Name"
          value={name}
          maxLength={32}
          onChange={(event) => setName(event.target.value)}
          className="max-w-64"
        />
        <Button type="submit" busy={busy === "add"} disabled={name.trim() === ""}>
          Let in as a viewer
        </Button>
      </form>
    </section>
  );
}
