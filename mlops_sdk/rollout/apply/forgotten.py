"""What the engine has begun to make of a release, and forgot when it was killed: it belongs to nobody's state.

Pulumi drops a pending creation of a dead engine. A rerun of the same command finds the thing there and takes it over;
who turns back instead has to end it, for no later `pulumi up` knows of it.
"""

from mlops_sdk.platform.programs import names_of_release
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.release.digest import short
from mlops_sdk.rollout.environment.progress import Note
from mlops_sdk.rollout.environment.session import Session


def end_forgotten(session: Session, digest: str) -> None:
    """End the programs of a release that stack config does not name any more, and remove its variables; idempotent.

    Raises what the supervisor raises.
    """
    if session.reach is not None:
        return  # objects of a cluster are adopted by name, whatever engine began to make them
    supervisor = Supervisor(session.folder)
    for name in names_of_release(digest):
        if supervisor.status(name) is not None:
            session.report(Note(f"ending {name}, which a killed engine had begun to make"))
            supervisor.remove(name)
    (session.folder / "env" / f"release-{short(digest)}.env").unlink(missing_ok=True)
