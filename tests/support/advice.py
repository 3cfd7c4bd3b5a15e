"""Lines that the two commands tell people to run next: each must be one that the command itself would take."""

import contextlib
import io
import re
import shlex

import click

from appliance.cli.app import root
from coldcred.__main__ import parser

_LINE = re.compile(r"`((?:coldcredctl|coldcred) [^`]+)`")
_PLACEHOLDERS = frozenset({"VERB", "COMMAND", "..."})


def lines(text: str) -> list[str]:
    """Give the lines in a text that tell people what to run: those between backquotes, wrapped or not."""
    return [" ".join(line.split()) for line in _LINE.findall(text)]


def check(text: str, *, whole: bool = True) -> None:
    """See that each line in a text is one of the grammar; `AssertionError` names the one that is not.

    A verb may be named alone. With anything behind it a line has to be `whole`, unless it only speaks of an option.
    """
    for line in lines(text):
        words = shlex.split(line)
        if _PLACEHOLDERS.isdisjoint(words):
            (_check_ctl if words[0] == "coldcredctl" else _check_coldcred)(words[1:], line, whole=whole)


def _check_ctl(words: list[str], line: str, *, whole: bool) -> None:
    context = click.Context(root, info_name="coldcredctl")
    command: click.Command = root
    rest = words
    while isinstance(command, click.Group):
        # What stands before a verb is read by the options of the group that it belongs to.
        _, rest, _ = command.make_parser(context).parse_args(list(rest))
        if not rest:
            return  # a noun alone: `coldcredctl init`
        found = command.get_command(context, rest[0])
        assert found is not None, f"{line}: no verb {rest[0]}"
        context = click.Context(found, info_name=rest[0], parent=context)
        command, rest = found, rest[1:]
    if not rest:
        return  # a verb is named, for somebody to look at
    try:
        values, more, _ = command.make_parser(context).parse_args(list(rest))
    except click.NoSuchOption as error:
        raise AssertionError(f"{line}: {error.format_message()}") from error
    except click.BadOptionUsage as error:
        if whole:
            raise AssertionError(f"{line}: {error.format_message()}") from error
        return
    if not whole:
        return
    assert not more, f"{line}: {more}"
    missing = [one.human_readable_name for one in command.params if one.required and not values.get(one.name or "")]
    assert not missing, f"{line}: without {missing}"


def _check_coldcred(words: list[str], line: str, *, whole: bool) -> None:
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
            parser().parse_args(words)
    except SystemExit as ended:
        said = told.getvalue()
        alone = not any(word.startswith("-") for word in words)
        if ended.code and not ("arguments are required" in said and (alone or not whole)):
            raise AssertionError(f"{line}: {said.splitlines()[-1]}") from ended
