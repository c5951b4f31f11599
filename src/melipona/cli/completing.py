"""What the shell completes of people and their logins: names, ids, labels. Silent when no daemon answers at once."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from melipona.cli.env import Env
from melipona.client import Json, segment

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def completing(path: str, key: str, shown: str) -> Complete:
    """Completes the field `key` of a list at `path`, with the field `shown` beside it. `{name}` in the path is the
    command's NAME."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        name = str(ctx.params.get("name") or next(iter(ctx.args), ""))  # after an option it is not read yet
        items = _asked(ctx, path.replace("{name}", segment(name)))
        found = ((str(item.get(key) or ""), str(item.get(shown) or "")) for item in items)
        return [CompletionItem(word, help=words) for word, words in found if word and word.startswith(incomplete)]

    return complete


def _asked(ctx: click.Context, path: str) -> list[Json]:
    from melipona.client import ClientError

    env = ctx.find_root().ensure_object(Env)
    try:
        return list(env.client_within(1.0).get(path)["items"])
    except (ClientError, KeyError, TypeError):
        return []


PERSON = click.argument("name", shell_complete=completing("/people", "name", "role"))
"""The argument of commands about one person."""
complete_people = completing("/people", "name", "role")
complete_tokens = completing("/tokens", "id", "name")
complete_sessions = completing("/sessions", "id", "person")
complete_passkeys = completing("/people/{name}/passkeys", "label", "site")
complete_accounts = completing("/people/{name}/identities", "id", "email")
