"""An environment that is up, as commands see it: ledger, stack and router, its lease, its config as the ledger has it.

It is made by `opening`. Each collaborator connects when it is used.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_sdk.errors import LeaseHeldError
from mlops_sdk.ledger.lease import Holder, Lease, break_lease, current
from mlops_sdk.ledger.store import Ledger
from mlops_sdk.platform.ports import LOOPBACK
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment.code import DEPENDENCY_LOCK
from mlops_sdk.rollout.environment.progress import Note, Report
from mlops_sdk.runtime.settings import EnvironmentSettings, OperatorSettings
from mlops_sdk.stack import config
from mlops_sdk.stack.config import Basis
from mlops_sdk.stack.config_file import read_plain
from mlops_sdk.stack.drive import Stack
from mlops_sdk.traffic.port import TrafficPort
from mlops_sdk.traffic.schedules import WORK_POOL, PrefectSchedules, Schedules

if TYPE_CHECKING:
    from mlops_sdk.platform.inside import Inside
    from mlops_sdk.platform.reach import Reach

AGENT = "agent"
"""Who the agent is in the ledger and in a lease."""

AGENT_EVENTS = "agent-events"
"""Who the agent is while it deploys what an event made. That can take hours: who comes meanwhile is refused, and told
who deploys, as with any other deployer; only what `AGENT` does is waited for."""

_AGENT_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Session:
    """An environment that is up, seen from the machine of a person who deploys.

    `reach` leads into the cluster that it is in; None: it is on this machine.
    """

    project: Project
    environment: str
    settings: EnvironmentSettings
    operator: OperatorSettings
    ledger: Ledger
    stack: Stack
    traffic: TrafficPort
    report: Report
    reach: "Reach | Inside | None" = None

    @property
    def folder(self) -> Path:
        """The environment's folder on this machine."""
        return self.project.environment_folder(self.environment)

    @property
    def is_in_pod(self) -> bool:
        """Whether this process is a pod of the environment: with its servers, without Pulumi and without its stack."""
        from mlops_sdk.platform.inside import Inside

        return isinstance(self.reach, Inside)

    @property
    def schedules(self) -> Schedules:
        """The schedules of its releases."""
        return PrefectSchedules(self.settings.prefect_api_url, self.settings.work_pool or WORK_POOL)

    def addresses(self) -> dict[str, str]:
        """Return what a person can open in a browser or ask with curl, by name."""
        settings = self.settings
        if self.reach is not None:
            return {
                "router": settings.router_url,
                "mlflow": settings.mlflow_tracking_uri,
                "prefect": settings.prefect_api_url.removesuffix("/api"),
                "postgres": f"{settings.database_host}:{settings.database_port}/{settings.database_name}",
                "cluster": self.reach.api.where,
            }
        port = config.ports_of(read_plain(self.stack.config.path, self.environment)).get("agent")
        return {
            "router": settings.router_url,
            **({"page": f"http://{LOOPBACK}:{port}"} if port else {}),
            "mlflow": settings.mlflow_tracking_uri,
            "prefect": settings.prefect_api_url.removesuffix("/api"),
            "postgres": f"{settings.database_host}:{settings.database_port}/{settings.database_name}",
        }

    def acquire_lease(self, who: str | None = None) -> Lease:
        """Take the environment's lease, after ending an engine that a predecessor left. Raises LeaseHeldError.

        `who` is the login name unless given. What the agent does under a lease is waited for: it is nobody who decides.
        In a pod it has no engine, and no stack to heal; nobody else changes releases from there.
        """
        lease = self._acquire(Holder.this_process(who))
        if lease.predecessor:
            self.report(
                Note(
                    f"took over from {lease.predecessor.who} (pid {lease.predecessor.pid}), who {_fate(lease)}"
                )
            )
        try:
            if who != AGENT or not self.is_in_pod:
                self.stack.heal(lease_epoch=lease.token.epoch)
        except BaseException:
            lease.release()
            raise
        return lease

    def open_services(self) -> None:
        """Make each bound release's service answer on its `service_port` of this machine, as on the local kind.

        On a cluster the port is a forward's; it is asked for again after every `up`, which makes new services.
        """
        if self.reach is not None:
            from mlops_sdk.platform.reach import service_name

            self.reach.refresh()
            self.reach.open_services(
                {service_name(one.digest): one.service_port for one in self.ledger.bindings()}
            )

    def _acquire(self, holder: Holder) -> Lease:
        deadline, told = time.monotonic() + _AGENT_PATIENCE_S, False
        while True:
            try:
                return Lease.acquire(
                    self.operator.operator_url, self.environment, holder, self.project.lease_s
                )
            except LeaseHeldError:
                if holder.who == AGENT or not self._agent_holds_lease() or time.monotonic() > deadline:
                    raise
            if not told:
                self.report(Note("waiting for the agent, which turns back a deploy that was cut off"))
                told = True
            time.sleep(0.2)

    def _agent_holds_lease(self) -> bool:
        """Whether the agent has the lease, or gave it back just now."""
        with self.ledger.connect() as conn:
            held = current(conn, self.environment)
        return held is None or held.holder.who == AGENT

    def end_hold(self, reason: str) -> str:
        """End the hold and return its reason, or "" where there was none."""
        hold = self.ledger.hold()
        if hold is None:
            return ""
        self.ledger.set_hold(False, lease=None, actor=Holder.this_process().who, reason=reason)
        return hold.reason

    def break_lease(self, reason: str) -> str:
        """End the lease, whoever has it, and return who had it, or "" for nobody."""
        holder = break_lease(self.operator.operator_url, self.environment)
        if holder is None:
            return ""
        words = f"{holder.who} on {holder.host} (pid {holder.pid})"
        self.ledger.record(
            "lease_broken",
            lease=None,
            actor=Holder.this_process().who,
            reason=reason,
            details={"holder": words},
        )
        return words

    def rendered_config(
        self,
        *,
        live: str | None = None,
        also: tuple[Lock, Binding] | None = None,
        without: Collection[str] = (),
        document: Any = None,
        under_way: str = "",
    ) -> Any:
        """Return stack config with its release part rendered from the ledger, unwritten.

        It is rendered into `document`; without one into a plain copy, which has no comments. `live` takes the
        pointer's place, for the config of a handover that is about to happen. `also` is a release that is not bound
        yet, and `without` are digests that would be gone, for a plan. `under_way`: see `present`.
        """
        with self.ledger.one_connection():
            head = self.ledger.head()
            wanted = live or self.ledger.pointer().digest
            found = {b.digest: (self.ledger.lock(b.digest), b) for b in self.present(wanted, under_way)}
        if also is not None:
            found.setdefault(also[0].digest, also)
        commits = {lock.code.commit for lock, _ in found.values()}
        environments = {commit: self.environment_of(commit) for commit in commits}
        sections = [
            config.section(lock, binding, environment=environments[lock.code.commit])
            for lock, binding in found.values()
            if binding.digest not in without
        ]
        basis = Basis(entry=head.n, digest=head.hash) if head else None
        if document is None:
            document = read_plain(self.stack.config.path, self.environment)
        return config.render(document, sections, live=wanted, basis=basis)

    def render_config(self, *, under_way: str = "") -> bool:
        """Write the rendered config; return whether anything but its basis changed. `under_way`: see `present`."""
        document = self.stack.config.read()
        before = config.cause_of(document)
        document = self.rendered_config(document=document, under_way=under_way)
        self.stack.config.write(document)
        return config.cause_of(document) != before

    def present(self, live: str | None, under_way: str = "") -> list[Binding]:
        """Return the bindings that stack config holds: those that are wanted and cut, and `live` in any case.

        One that is bound and not cut is half of a release: its tables need not stand. It is held for the deployer that
        brings it up, which names it as `under_way`; one whose deployer was cut off is in nobody's way.
        """
        statuses = self.ledger.statuses()

        def is_held(digest: str) -> bool:
            return (
                digest == live
                or statuses[digest] == "cut"
                or (digest, statuses[digest]) == (under_way, "bound")
            )

        return [binding for binding in self.ledger.bindings() if is_held(binding.digest)]

    def environment_of(self, commit: str) -> Path:
        """Return the dependency environment of a commit, made where it is missing, relative to the project."""
        from mlops_sdk.platform.checkout import ensure_python
        from mlops_sdk.platform.git import file_at

        lock = file_at(self.project.root, commit, DEPENDENCY_LOCK)
        return ensure_python(self.project.root, lock).parent.parent.relative_to(self.project.root)


def _fate(lease: Lease) -> str:
    """What became of the one before. One that lives was stopped, or its machine stood still."""
    before = lease.predecessor
    return "is gone" if before is None or before.is_dead() else "let the lease run out"
