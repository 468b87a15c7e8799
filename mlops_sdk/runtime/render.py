"""Variables as a `.env` text, a ConfigMap's data and a Secret's data. Pure; it must not write or connect.

The input is what `Settings.variables()` gives: text, and SecretStr for what is secret.
"""

from collections.abc import Mapping

from pydantic import SecretStr

from mlops_sdk.errors import InputError
from mlops_sdk.runtime import env_file
from mlops_sdk.runtime.keys import BY_NAME

Variables = Mapping[str, str | SecretStr]


def env_text(variables: Variables) -> SecretStr:
    """The text of a `.env` file with all `variables`. Secret as a whole: it holds passwords."""
    return SecretStr(env_file.format({**config_map(variables), **_revealed(variables)}))


def config_map(variables: Variables) -> dict[str, str]:
    """The variables that are no secret: the data of a ConfigMap.

    Raises InputError for a key that the table of keys lacks, and for a secret key whose value is plain text:
    what is secret is so from the moment it is made.
    """
    _check(variables)
    return {name: value for name, value in variables.items() if isinstance(value, str)}


def secret(variables: Variables) -> dict[str, SecretStr]:
    """The secret variables: the data of a Secret, not yet in base64. Raises InputError as `config_map`."""
    _check(variables)
    return {name: value for name, value in variables.items() if isinstance(value, SecretStr)}


def _revealed(variables: Variables) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in secret(variables).items()}


def _check(variables: Variables) -> None:
    unknown = sorted(set(variables) - set(BY_NAME))
    if unknown:
        raise InputError(f"no such key of the runtime environment: {', '.join(unknown)}")
    plain = sorted(
        name for name, value in variables.items() if BY_NAME[name].secret and isinstance(value, str)
    )
    if plain:
        raise InputError(f"secret, but given as plain text: {', '.join(plain)}")
