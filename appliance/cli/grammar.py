"""What every verb has in common: `--json`, help, and how durations and times are written."""

import re
from typing import Any

import click

from appliance.plan import duration
from coldcred.errors import Malformed

_ID = re.compile(r"[A-Za-z0-9_-]{22}|[A-Za-z0-9_-]{43}", re.ASCII)
"""The jti of a credential, or the thumbprint of a key."""


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


class IdVerb(Verb):
    """A verb that is given ids in base64url, of which one in 64 begins with a hyphen: those are no options."""

    ignore_unknown_options = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what has the form of an id as one; anything else with a hyphen is an option that there is not."""
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            if isinstance(parameter, click.Argument) and parameter.name is not None:
                given = ctx.params.get(parameter.name) or ()
                for value in (given,) if isinstance(given, str) else given:
                    if value.startswith("-") and _ID.fullmatch(value) is None:
                        raise click.NoSuchOption(value, ctx=ctx)
        return rest


class Noun(click.Group):
    """A group of verbs."""

    command_class = Verb


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
