"""Writes the pages of docs/reference/ that are made from the code: cli.md, mel-toml.md, tools.md.

`python scripts/reference.py` writes them; `--check` only names those that are out of date and exits 1, as a test does.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from melipona.agents.tools import agent_tools
from melipona.cli.main import COMMANDS, root
from melipona.mail.tools import mail_tools
from melipona.settings import Settings
from melipona.tool import Tool

FOLDER = Path(__file__).resolve().parent.parent / "docs/reference"
MADE = "This page is made from the code by `scripts/reference.py`; a test keeps it true.\n"


def main() -> int:
    """Write or check every page."""
    pages = {"cli.md": cli_page(), "mel-toml.md": settings_page(), "tools.md": tools_page()}
    stale = [name for name, text in pages.items() if _read(FOLDER / name) != text]
    if "--check" in sys.argv[1:]:
        print(f"out of date: {', '.join(stale)}; run scripts/reference.py" if stale else "the reference is up to date")
        return 1 if stale else 0
    for name in stale:
        (FOLDER / name).write_text(pages[name], encoding="utf-8")
        print(f"wrote docs/reference/{name}")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


# ---- the command line ---------------------------------------------------------------------------------------------


CLI_HEAD = """# Command line

{made}
Every command takes `--json`, `--data DIR` and `--config FILE`, before or after its own name:

- `--json` prints one object for one thing, `{{"items": [...], "next": ...}}` for a list, an object a line with `-f`.
- `--data DIR` (or `MEL_DATA`) is the hive's data folder: as root `/var/lib/melipona`, else `$XDG_DATA_HOME/melipona`.
- `--config FILE` (or `MEL_CONFIG`) is the [`mel.toml`](mel-toml.md).

What a command's exit code means stands in [exit-codes.md](exit-codes.md).
"""


def cli_page() -> str:
    """Every command with its arguments and options, in the groups of `mel --help`."""
    parts = [CLI_HEAD.format(made=MADE)]
    context = click.Context(root, info_name="mel")
    for group in dict.fromkeys(entry[0] for entry in COMMANDS.values()):
        parts.append(f"## {group.capitalize()}\n")
        for name, (where, _) in COMMANDS.items():
            command = root.get_command(context, name)
            if where == group and command is not None and not command.hidden:
                parts += _command(command, context, name)
    return "\n".join(parts).rstrip() + "\n"


def _command(command: click.Command, parent: click.Context, name: str) -> list[str]:
    context = click.Context(command, info_name=name, parent=parent)
    usage = command.get_usage(context).removeprefix("Usage: ")
    usage = " ".join(usage.split())
    lines = [f"### `{context.command_path}`\n", _text(command.help), "", f"    {usage}", ""]
    rows = [_option(option, context) for option in command.params if not _is_common(option)]
    rows = [row for row in rows if row]
    if rows:
        lines += ["| option | meaning |", "|---|---|", *rows, ""]
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                lines += _command(found, context, child)
    return lines


def _is_common(option: click.Parameter) -> bool:
    return not isinstance(option, click.Option) or bool({"--json", "--data", "--config"} & set(option.opts))


def _option(option: click.Parameter, context: click.Context) -> str:
    if not isinstance(option, click.Option) or option.hidden:
        return ""
    record = option.get_help_record(context)
    if record is None:
        return ""
    names, meaning = record
    return f"| `{names.replace('|', chr(92) + '|')}` | {_cell(meaning)} |"


def _text(help_text: str | None) -> str:
    return inspect.cleandoc(help_text or "").replace("\b\n", "").strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# ---- mel.toml -----------------------------------------------------------------------------------------------------


TOML_HEAD = """# mel.toml

{made}
The file is named by `--config FILE` or `MEL_CONFIG`; without either, `mel.toml` in the data folder is read when it is
there. All of it is optional. An unknown key is an error that names the key you probably meant. Changes take effect when
the daemon starts. Durations are seconds, sizes are bytes, money is US dollars.

```toml
[hive]
name = "workshop"

[budgets]
hive_usd_per_day = 5.0

[boxes]
memory_bytes = 2147483648
```
"""


"""Of keys whose names nearly say it all."""
DESIGN_ID = re.compile(r"\s*\((?:[A-Z]{1,3}-\d+[^)]*|SECURITY\.md[^)]*)\)")


def settings_page() -> str:
    """Every table of `mel.toml` with its keys, types and defaults."""
    return "\n".join([TOML_HEAD.format(made=MADE), *_tables(Settings, "")]).rstrip() + "\n"


def _tables(model: type[BaseModel], path: str) -> list[str]:
    lines: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            continue
        where = f"{path}.{name}" if path else name
        keys = [row for key, one in inner.model_fields.items() if (row := _key(key, one))]
        if keys:
            about = inspect.cleandoc(inner.__doc__ or "").split(": ", 1)[-1]
            about = DESIGN_ID.sub("", about)
            about = "" if about.startswith("`[") else about[:1].upper() + about[1:]
            lines += [f"## `[{where}]`\n", *([about, ""] if about else [])]
            lines += ["| key | type | default | meaning |", "|---|---|---|---|", *keys, ""]
        lines += _tables(inner, where)
    return lines


def _key(name: str, field: FieldInfo) -> str:
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return ""
    default = _toml(field.get_default(call_default_factory=True))
    limits = ", ".join(filter(None, map(_limit, field.metadata)))
    said = DESIGN_ID.sub("", field.description or "")
    meaning = " ".join(filter(None, [said, f"({limits})" if limits else ""]))
    return f"| `{name}` | {_type(field.annotation)} | `{default}` | {_cell(meaning)} |"


def _limit(constraint: Any) -> str:
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "max_length": "at most"}
    found = [f"{text} {getattr(constraint, name)}" for name, text in words.items() if hasattr(constraint, name)]
    return ", ".join(text for text in found if text != "at least 0")


def _type(annotation: Any) -> str:
    if get_origin(annotation) is tuple:
        return f"list of {_type(get_args(annotation)[0])}s"
    if get_args(annotation) and not isinstance(annotation, type):
        first = get_args(annotation)[0]
        if isinstance(first, str):
            return "one of " + ", ".join(f"`{value}`" for value in get_args(annotation))
        return _type(first)
    return {int: "integer", float: "number", str: "text", bool: "true or false"}.get(annotation, str(annotation))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


# ---- the tools of agents ------------------------------------------------------------------------------------------


TOOLS_HEAD = """# Tools of agents

{made}
Agents have these tools three ways, with the same names and arguments: as the MCP server `melipona` (an engine calls
`mcp__melipona__send` or the like), as the command `mel` inside the box (`mel send --to ben --body hi`), and as
`POST /api/tools/NAME` on the box's loopback port 4141. Who calls is known by the socket; no argument can change it. A
call that cannot be done as asked is answered with an error that the agent can read, and nothing is done.

The texts below are the ones that agents read.
"""


def tools_page() -> str:
    """Every tool of an agent with its text and arguments."""
    nobody: Any = _Nothing()
    tools: list[Tool] = [*mail_tools(nobody), *agent_tools(nobody, nobody)]
    return "\n".join([TOOLS_HEAD.format(made=MADE), *(_tool(tool) for tool in tools)]).rstrip() + "\n"


class _Nothing:
    """Stands for services that are not called: only the descriptors are read."""

    def __getattr__(self, name: str) -> Any:
        return _Nothing()


def _tool(tool: Tool) -> str:
    lines = [f"## `{tool.name}`\n", *(f"> {line}".rstrip() for line in tool.description.splitlines()), ""]
    required = set(tool.parameters.get("required", []))
    rows = [_argument(name, schema, name in required) for name, schema in tool.parameters["properties"].items()]
    if rows:
        lines += ["| argument | type | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _argument(name: str, schema: dict[str, Any], required: bool) -> str:
    kind = schema.get("type", "any")
    shown = " or ".join(kind) if isinstance(kind, list) else kind
    return f"| `{name}`{', required' if required else ''} | {shown} | {_cell(schema.get('description', ''))} |"


if __name__ == "__main__":
    sys.exit(main())
