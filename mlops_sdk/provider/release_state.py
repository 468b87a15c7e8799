"""mlops:index:ReleaseState: a release's pg_schema and role in the release database.

Creating it is the cut, in constant time: a derived table that is not built is an error that names
`mlops deploy`. Deleting it says that the release is no longer wanted; only the janitor drops tables.
"""

from typing import TYPE_CHECKING

from mlops_sdk.errors import MovedError, NotFoundError
from mlops_sdk.provider.guard import lease_token
from mlops_sdk.provider.handler import Environment, Handler
from mlops_sdk.provider.values import Plain

if TYPE_CHECKING:
    from mlops_sdk.release.binding import Binding


class ReleaseStateHandler(Handler):
    """Inputs: `digest`, `release`, `pgSchema`, `role`, and the role's `password` (a secret)."""

    type = "mlops:index:ReleaseState"
    required = ("digest", "release", "pgSchema", "role", "password")
    replace_on = ("digest",)

    def identify(self, inputs: Plain) -> str:
        return str(inputs["pgSchema"])

    def apply(self, env: Environment, inputs: Plain, old: Plain | None) -> None:
        del old
        import psycopg
        from pydantic import SecretStr

        from mlops_sdk.ledger.store import Ledger
        from mlops_sdk.state import cut, references

        operator = env.operator()
        binding = _binding(env, inputs)
        lock = Ledger(operator.operator_url, env.name).lock(binding.digest)
        lease = lease_token(env)
        references.reference(operator.operator_url, env.name, binding.digest, lease=lease)
        try:
            cut.cut(operator.operator_url, lock, binding, SecretStr(str(inputs["password"])), lease=lease)
        except psycopg.errors.UndefinedTable as error:
            raise NotFoundError(
                f"a table of release {binding.release} is gone: {error.diag.message_primary}",
                where=binding.pg_schema,
                remedy=f"`mlops deploy stacks/releases/{binding.release}.yaml -e {env.name}` makes it again.",
            ) from error

    def read(self, env: Environment, inputs: Plain) -> Plain | None:
        from mlops_sdk.state import cut

        try:
            binding = _binding(env, inputs)
        except (NotFoundError, MovedError):
            return None  # the ledger answered, and knows of no such pg_schema
        return {} if cut.read(env.operator().operator_url, binding) else None

    def delete(self, env: Environment, inputs: Plain) -> None:
        if env.leaving.is_set():
            return  # the whole platform goes: which releases are wanted stays as the ledger has it
        from mlops_sdk.ledger.store import Ledger
        from mlops_sdk.state import references

        url = env.operator().operator_url
        if Ledger(url, env.name).binding(str(inputs["digest"])) is None:
            return  # the ledger was restored to a state before the release: nobody wants tables that it lacks
        references.unreference(url, env.name, str(inputs["digest"]), lease=lease_token(env))


def _binding(env: Environment, inputs: Plain) -> "Binding":
    """The release's binding. Raises NotFoundError when it has none, MovedError when it is another one."""
    from mlops_sdk.ledger.store import Ledger

    binding = Ledger(env.operator().operator_url, env.name).binding(str(inputs["digest"]))
    if binding is None:
        raise NotFoundError(
            f"release {inputs['release']} is not bound in {env.name}: its tables were never made ready",
            remedy=f"`mlops deploy stacks/releases/{inputs['release']}.yaml -e {env.name}` does that.",
        )
    if (binding.pg_schema, binding.role) != (inputs["pgSchema"], inputs["role"]):
        raise MovedError(
            f"release {inputs['release']} has pg_schema {binding.pg_schema} in the ledger, "
            f"not {inputs['pgSchema']}",
            remedy=f"`mlops stack sync {env.name}` renders stack config anew from the ledger.",
        )
    return binding
