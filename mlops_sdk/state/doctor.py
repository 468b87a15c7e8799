"""What is wrong with an environment's Postgres, judged from facts. Pure: `examine` reads, `mend` repairs.

Each check is one rule of how state is kept; a finding names what breaks it and what to do.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mlops_sdk.release.binding import scratch_name
from mlops_sdk.state.ddl import CAPTURE_TRIGGERS
from mlops_sdk.state.facts import Facts, ForkFacts, Membership

_MILLISECONDS_TO_LOCK = 300  # a control transaction waits for a lock as long; it must be the victim
_CONNECTIONS_EACH_RELEASE = 4
_CONNECTIONS_OF_THE_SDK = 15
_FAR_BEHIND_KEYS = 100_000
_WRITES = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
_SDK_ROLES: Mapping[str, frozenset[str]] = {
    "sdk": frozenset({"LOGIN", "CREATEROLE"}),
    "sdk_reader": frozenset({"LOGIN"}),
    **dict.fromkeys(("sdk_owner", "ledger_owner", "sdk_carry", "sdk_app", "sdk_builder"), frozenset()),
}
_BY_HAND = "docs/reference/privileges.md has the statement"


@dataclass(frozen=True)
class Fix:
    """A repair that can do no harm: of a fork's autovacuum, or of one of its capture triggers."""

    kind: Literal["autovacuum", "trigger"]
    pg_schema: str
    table: str
    trigger: str = ""


@dataclass(frozen=True)
class Finding:
    """What breaks a rule, and what to do; `fix` where `mlops doctor --fix` does it."""

    what: str
    remedy: str
    fix: Fix | None = None


def judge(facts: Facts) -> dict[str, list[Finding]]:
    """The findings by check, in the order of checks; an empty list is a check that holds."""
    return {name: list(check(facts)) for name, check in CHECKS.items()}


def seen(facts: Facts, check: str) -> str:
    """What a check that holds has looked at, in a few words."""
    stale = sum(fork.state == "stale" for fork in facts.forks)
    version = f"Postgres {facts.server_version // 10_000}.{facts.server_version % 10_000}"
    return {
        "control tables": f"version {facts.control_version}",
        "server": f"{version}, pgvector {facts.vector or 'not installed'}",
        "forks follow": f"{len(facts.forks)} forks" + (f", {stale} stale" if stale else ""),
    }.get(check, "it does")


def _control_tables(facts: Facts) -> Iterator[Finding]:
    found, latest = facts.control_version, facts.latest_version
    if found < latest:
        yield Finding(f"version {found}, this SDK needs {latest}", f"`mlops up {facts.environment}`")
    if found > latest:
        yield Finding(f"version {found}, this SDK knows up to {latest}", "use the newer SDK's checkout")


def _server(facts: Facts) -> Iterator[Finding]:
    if facts.server_version < 150_000:
        yield Finding(f"Postgres {facts.server_version // 10_000} is too old", "use 15 or later")
    if facts.vector is None and facts.needs_vector:
        yield Finding("kept releases have vectors, and schema sdk_ext has no pgvector", _BY_HAND)
    deadlock_ms = int(facts.settings["deadlock_timeout"])
    if deadlock_ms <= _MILLISECONDS_TO_LOCK:
        yield Finding(
            f"deadlock_timeout is {deadlock_ms} ms: a writer, not the cutover, would be ended",
            f"set it above {_MILLISECONDS_TO_LOCK} ms; 1s is Postgres's own",
        )
    wanted = _CONNECTIONS_OF_THE_SDK + _CONNECTIONS_EACH_RELEASE * len(facts.releases)
    allowed = int(facts.settings["max_connections"]) - int(facts.settings["superuser_reserved_connections"])
    if allowed < wanted:
        yield Finding(
            f"max_connections leaves {allowed}; {len(facts.releases)} releases and the SDK may need {wanted}",
            "raise max_connections, or let `mlops state gc` drop what nobody needs",
        )


def _attributes(facts: Facts) -> Iterator[Finding]:
    wanted = dict(_SDK_ROLES) | {role: frozenset({"LOGIN"}) for role in facts.releases.values()}
    for name, attributes in wanted.items():
        role = facts.roles.get(name)
        if role is None:
            yield Finding(f"role {name} is missing", _again(facts, name))
            continue
        for extra in sorted(role.attributes - attributes):
            yield Finding(f"role {name} has {extra}", f"ALTER ROLE {name} NO{extra}")
        for missing in sorted(attributes - role.attributes):
            yield Finding(f"role {name} has not {missing}", _again(facts, name))
        if name in facts.releases.values() and role.temporary:
            yield Finding(
                f"role {name} may make temporary tables, which would stand before its views", _BY_HAND
            )


def _memberships(facts: Facts) -> Iterator[Finding]:
    options = facts.server_version >= 160_000
    admin = options  # before, CREATEROLE was enough
    wanted = {Membership("sdk", "sdk_owner", admin=False, inherit=True, set=True)}
    wanted |= {Membership("sdk", "sdk_carry", admin=False, inherit=not options, set=True)}
    if admin:
        wanted |= {
            Membership("sdk", r, admin=True, inherit=False, set=False) for r in ("sdk_app", "sdk_builder")
        }
    for role in facts.releases.values():
        wanted.add(Membership("sdk", role, admin=admin, inherit=True, set=not options))
        wanted.add(Membership(role, "sdk_app", admin=False, inherit=True, set=True))
    for missing in sorted(wanted - facts.memberships, key=str):
        yield Finding(f"{missing.member} is not a member of {missing.role} as it should be", _BY_HAND)
    known = {(one.member, one.role) for one in wanted}
    for extra in sorted(facts.memberships, key=str):
        allowed = extra.member == "sdk" and extra.role.startswith(("pg_read_all_stats", "build_", "rel_"))
        # A release whose jobs write in SQL becomes the role of its own scratch schema.
        allowed |= extra.member in facts.releases.values() and extra.role == scratch_name(extra.member)
        if (extra.member, extra.role) not in known and not allowed:
            yield Finding(
                f"{extra.member} is a member of {extra.role}", f"REVOKE {extra.role} FROM {extra.member}"
            )


def _settings(facts: Facts) -> Iterator[Finding]:
    wanted = {"idle_in_transaction_session_timeout"}
    if facts.server_version >= 170_000:
        wanted.add("transaction_timeout")
    if facts.vector is not None:
        wanted.add("hnsw.iterative_scan")
    for role in facts.releases.values():
        if role not in facts.roles:
            continue
        settings = facts.roles[role].settings
        path = [part.strip(' "') for part in settings.get("search_path", "").split(",")]
        if path != [role, "shared", "sdk_ext", "pg_temp"]:
            yield Finding(f"role {role} looks for its tables in {path}", _again(facts, role))
        for missing in sorted(wanted - settings.keys()):
            yield Finding(f"role {role} has no {missing}", _again(facts, role))
    sdk = facts.roles.get("sdk")
    if sdk is not None and "idle_in_transaction_session_timeout" not in sdk.settings:
        yield Finding("role sdk may hang in a transaction for ever", _again(facts, "sdk"))


def _rights(facts: Facts) -> Iterator[Finding]:
    for role, right, what in facts.missing_rights:
        yield Finding(
            f"{role} has not {right} on {what}", f"GRANT {right} ON {what} TO {role} -- as its owner"
        )


def _public(facts: Facts) -> Iterator[Finding]:
    for where, right in facts.public_rights:
        yield Finding(f"everybody has {right} on {where}", f"REVOKE {right} ON {where} FROM PUBLIC")


def _owners(facts: Facts) -> Iterator[Finding]:
    for role, what in facts.owned:
        yield Finding(f"role {role} owns {what}", "give it to sdk_owner: an owner cannot be fenced off")


def _capture(facts: Facts) -> Iterator[Finding]:
    for fork in facts.forks:
        for trigger in CAPTURE_TRIGGERS:
            state = fork.triggers.get(trigger)
            if state is None:
                yield Finding(
                    f"{fork.name} has no trigger {trigger}: its changes are lost at the next handover",
                    f"`mlops state gc` and deploy {fork.release} again, after its rows are safe in another release",
                )
            elif state != "A":
                yield Finding(
                    f"{fork.name}: trigger {trigger} does not always fire",
                    f"`mlops doctor {facts.environment} --fix`; what was written meanwhile was not carried",
                    Fix("trigger", fork.pg_schema, fork.table, trigger),
                )
        for trigger in sorted(fork.triggers.keys() - set(CAPTURE_TRIGGERS)):
            if not trigger.startswith("mlops_"):
                yield Finding(
                    f"{fork.name} has a trigger of somebody else's, {trigger}",
                    "drop it: it fires in a carry too",
                )


def _guards(facts: Facts) -> Iterator[Finding]:
    for fork in facts.forks:
        if fork.is_cut and not fork.guarded:
            yield Finding(
                f"{fork.name} has no guard: nothing keeps it from being dropped",
                f"make view sdk_keep.fork_{fork.id} on its key columns again, as sdk_owner",
            )
    for name in facts.missing_forks:
        yield Finding(f"fork {name} is recorded, and its table is not there", "restore it from a backup")


def _fences(facts: Facts) -> Iterator[Finding]:
    for fork in facts.forks:
        allowed = {("sdk_carry", right) for right in _WRITES} | {("sdk_reader", "SELECT")}
        allowed.add((scratch_name(fork.role), "SELECT"))
        wanted: set[tuple[str, str]] = set()
        if fork.is_cut:
            wanted = {(fork.role, right) for right in (_WRITES if fork.is_written else {"SELECT"})}
        for role, right in sorted(fork.grants - allowed - wanted):
            yield Finding(
                f"{role} has {right} on {fork.name}{_why(fork, role, right)}",
                f'REVOKE {right} ON "{fork.pg_schema}"."{fork.table}" FROM {role} -- as sdk_owner',
            )
        for role, right in sorted((wanted | {("sdk_carry", right) for right in _WRITES}) - fork.grants):
            yield Finding(
                f"{role} has not {right} on {fork.name}",
                f'GRANT {right} ON "{fork.pg_schema}"."{fork.table}" TO {role} -- as sdk_owner',
            )


def _why(fork: ForkFacts, role: str, right: str) -> str:
    return ", and is not live" if role == fork.role and right in _WRITES else ""


def _autovacuum(facts: Facts) -> Iterator[Finding]:
    for fork in facts.forks:
        if fork.autovacuum_off:
            yield Finding(
                f"autovacuum of {fork.name} is off",
                f"`mlops doctor {facts.environment} --fix`, unless a handover is on its way",
                Fix("autovacuum", fork.pg_schema, fork.table),
            )


def _definers(facts: Facts) -> Iterator[Finding]:
    for function, owner in facts.definers:
        yield Finding(
            f"function {function} runs with the rights of {owner}, who may write forks: it goes round the fence",
            f"ALTER FUNCTION {function} SECURITY INVOKER, or give it to an owner who may not",
        )


def _following(facts: Facts) -> Iterator[Finding]:
    # One that is stale is no fault: it is copied anew before a handover to it.
    for fork in facts.forks:
        if fork.pending > _FAR_BEHIND_KEYS:
            yield Finding(
                f"{fork.pending} keys wait for {fork.name}",
                f"`mlops status {facts.environment}` shows whether the agent runs",
            )


def _views(facts: Facts) -> Iterator[Finding]:
    for view, options in facts.odd_views:
        yield Finding(
            f"view {view} has {options}", f"ALTER VIEW {view} RESET (security_barrier, security_invoker)"
        )


def _drift(facts: Facts) -> Iterator[Finding]:
    for line in facts.drift:
        yield Finding(line, "make it as declared again, or release a declaration that says so")


def _again(facts: Facts, role: str) -> str:
    for release, its_role in facts.releases.items():
        if its_role == role:
            return f"`mlops up {facts.environment}` makes the role of {release} again"
    return f"`mlops up {facts.environment}`, or: {_BY_HAND}"


CHECKS: Mapping[str, Callable[[Facts], Iterator[Finding]]] = {
    "control tables": _control_tables,
    "server": _server,
    "roles have no right too many": _attributes,
    "roles are members of the right ones": _memberships,
    "roles have their settings": _settings,
    "releases may use what they share and read": _rights,
    "nothing is granted to everybody": _public,
    "releases own nothing": _owners,
    "every write to a fork is captured": _capture,
    "every kept fork is guarded": _guards,
    "only the live release may write": _fences,
    "no function goes round the fence": _definers,
    "autovacuum is on": _autovacuum,
    "forks follow": _following,
    "views keep their indexes": _views,
    "tables are as declared": _drift,
}
