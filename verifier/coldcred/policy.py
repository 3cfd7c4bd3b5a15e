"""The policy that an appliance begins with: Cedar, readable, and no narrower than the table of acts.

Its text is kept here for ever, since its SHA-256 is what the entries of every log name until a `policy.set`.
"""

DEFAULT = """\
// Who may ask for what, by their roles. A group such as Action::"officers" holds every act that the table of acts lets
// officers ask for, issuing apart. Whatever stands here, that table, the number of people, the bounds of profiles and
// whatever stops something stay as they are.

// Officers ask for what officers may ask for.
@id("officers-act")
permit (principal is Person, action in Action::"officers", resource)
when { principal.roles.contains("officer") };

// Issuers enrol and resume workloads, and make bundles.
@id("issuers-act")
permit (principal is Person, action in Action::"issuers", resource)
when { principal.roles.contains("issuer") };

// Approvers read, and approve what others ask for.
@id("approvers-act")
permit (principal is Person, action in Action::"approvers", resource)
when { principal.roles.contains("approver") };

// Auditors read, and carry the log away.
@id("auditors-act")
permit (principal is Person, action in Action::"auditors", resource)
when { principal.roles.contains("auditor") };

// Issuers ask for credentials, under a profile that lets people ask.
@id("issuers-issue")
permit (principal is Person, action == Action::"credential.issue", resource)
when { principal.roles.contains("issuer") && resource.asked_by.contains("issuer") };

// A workload asks for its own credentials, under a profile that lets workloads ask.
@id("workloads-ask")
permit (principal is Workload, action == Action::"credential.issue", resource)
when { resource.asked_by.contains("workload") };
"""
