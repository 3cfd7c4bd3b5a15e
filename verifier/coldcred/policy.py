"""The policy that an appliance begins with: Cedar, readable, and no narrower than the table of acts.

Its text is kept here for ever, since its SHA-256 is what the entries of every log name until a `policy.set`.
"""

DEFAULT = """\
@id("the-table-decides")
permit (principal, action, resource);
"""
