"""What every verb has in common: `--json`, help, and how durations and times are written."""

from typing import Any

import click

from appliance.plan import duration
from coldcred.errors import Malformed


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
