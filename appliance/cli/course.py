"""What one run of `coldcredctl` has come to so far: asked when it ends otherwise than it was meant to."""

from dataclasses import dataclass

import click

from appliance.cli.secret_input import SecretError, SecretFault
from appliance.outcome import Outcome


@dataclass
class Course:
    """The descriptors that came with the run, the last command that was sent, and what became of it.

    `sent` is the id of the command. `outcome` is None until its answer is there: in between nobody here knows whether
    it was carried out.
    """

    inherited: frozenset[int] = frozenset()
    sent: str | None = None
    outcome: Outcome | None = None

    def sending(self, command: str) -> None:
        """Note that a command goes out."""
        self.sent, self.outcome = command, None

    def heard(self, outcome: Outcome) -> Outcome:
        """Note what became of it."""
        self.sent, self.outcome = outcome.command, outcome
        return outcome


class Descriptor(click.ParamType[int]):
    """The number of a descriptor that the caller opened.

    One that the caller did not open is refused, before the program opens files of its own: its number would be given
    to one of those, and the bytes of that file would be tried as a secret.
    """

    name = "descriptor"

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """Read a number, and hold it to what came with the run."""
        if isinstance(value, int):
            return value
        text = str(value)
        if not (text.isascii() and text.isdigit()):
            self.fail(f"{text!a} is not the number of a descriptor", parameter, context)
        found = int(text[:9])
        if context is not None and found not in course_of(context).inherited:
            raise SecretError(SecretFault.BAD_DESCRIPTOR, f"descriptor {found}: nobody opened it for this program")
        return found


def course_of(context: click.Context) -> Course:
    """Give the course of the run that a context belongs to."""
    root = context.find_root()
    held = root.obj if isinstance(root.obj, Course) else getattr(root.obj, "course", None)
    if not isinstance(held, Course):
        raise TypeError("a context without a course")
    return held
