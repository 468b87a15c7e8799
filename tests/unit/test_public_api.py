"""The names that CI scripts import from the package."""

import re
import subprocess
import sys
from pathlib import Path

import mlops_sdk


def test_every_public_name_can_be_had() -> None:
    for name in mlops_sdk.__all__:
        assert getattr(mlops_sdk, name) is not None, name


def test_every_public_name_is_told_to_type_checkers_too() -> None:
    source = Path(mlops_sdk.__file__).read_text(encoding="utf-8")
    typed = source.partition("if TYPE_CHECKING:")[2].partition("__version__")[0]
    for name in mlops_sdk.__all__:
        assert name == "__version__" or re.search(rf"\b{name}\b", typed), name


def test_importing_the_package_imports_nothing_of_weight() -> None:
    code = (
        "import sys, mlops_sdk;"
        "print(sorted(m for m in sys.modules if m.partition('.')[0] in "
        "('mlflow', 'prefect', 'pulumi', 'numpy', 'pandas', 'psycopg', 'pydantic', 'sqlalchemy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "[]"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(mlops_sdk, "promote_to_the_moon")
