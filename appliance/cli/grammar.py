"""What every verb has in common: `--json`, help, and how durations and times are written."""

import inspect
import re
from typing import Any

import click

from appliance.cli import places
from appliance.plan import duration
from coldcred.errors import Malformed

_ID = re.compile(r"[A-Za-z0-9_-]{22}|[A-Za-z0-9_-]{43}", re.ASCII)
"""The jti of a credential, or the thumbprint of a key."""

_MARK = "\0"
"""What no argument of a program can hold."""


def note_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's form
    """Remember, for whoever prints, that this run gives JSON."""
    context.meta["appliance.json"] = value


class Verb(click.Command):
    """A command that can give one JSON document instead of text."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:  # noqa: ANN401 - click's own, passed on unread
        super().__init__(*arguments, **attributes)
        option = click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=note_json, help="Print one JSON document."
        )
        self.params.append(option)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse a text that is not UTF-8, by the name of its argument; a path may be whatever the system takes."""
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            for text in value if isinstance(value, tuple) else (value,):
                if isinstance(text, str) and not _is_text(text):
                    raise click.BadParameter("it is not UTF-8 text", ctx=ctx, param=parameter)
        return rest

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - whatever the verb gives
        """Look at the files that the line names before anything is done with them."""
        places.check(ctx)
        return super().invoke(ctx)


def _is_text(argument: str) -> bool:
    """Whether an argument could be read as UTF-8: bytes that could not be are surrogates in it."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


class IdVerb(Verb):
    """A verb that is given ids in base64url, of which one in 64 begins with a hyphen: those are no options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Mark ids while click looks for options; it takes the value of an option as it comes."""
        options = [parameter for parameter in self.params if isinstance(parameter, click.Option)]
        takes_value = {name for option in options if not option.is_flag for name in option.opts}
        before = ["", *args]
        marked = [
            f"{_MARK}{arg}" if arg.startswith("-") and _ID.fullmatch(arg) and before[place] not in takes_value else arg
            for place, arg in enumerate(args)
        ]
        rest = super().parse_args(ctx, marked)
        ctx.params = {name: _unmarked(value) for name, value in ctx.params.items()}
        return rest


def _unmarked(value: Any) -> Any:  # noqa: ANN401 - whatever click made of an argument
    if isinstance(value, str):
        return value.removeprefix(_MARK)
    return tuple(_unmarked(one) for one in value) if isinstance(value, tuple) else value


def _first_sentence(command: click.Command) -> str:
    """Give the first sentence of a command's help on one line."""
    paragraph, _, _ = inspect.cleandoc(command.help or "").partition("\n\n")
    return re.split(r"(?<=[.])\s", " ".join(paragraph.split()), maxsplit=1)[0]


class Noun(click.Group):
    """A group of verbs, which its help lists with the first sentence of each, whole."""

    command_class = Verb

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each verb does; click would cut it off at the width of the screen."""
        below = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, _first_sentence(one)) for name, one in below.items() if one is not None])


Noun.group_class = Noun


class Duration(click.ParamType[int]):
    """A span of time as people write it; its value is in seconds."""

    name = "duration"

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """Read `90s`, `15m`, `8h` or `7d`."""
        if isinstance(value, int):
            return value
        try:
            return duration(str(value))
        except Malformed as error:
            self.fail(str(error), parameter, context)
