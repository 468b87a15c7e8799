"""The error of a failed run has the class that the provider named, and each message once."""

from mlops_sdk import errors
from mlops_sdk.stack import run
from mlops_sdk.stack.events import Message

URN = "urn:pulumi:local::mlops-sdk::mlops:index:Live::live"
STACK = "urn:pulumi:local::mlops-sdk::pulumi:pulumi:Stack::mlops-sdk-local"


def failure(*messages: Message, output: str = "") -> errors.MlopsError:
    seen = run.Seen(errors=list(messages))
    return run._failure("pulumi up of local", seen, output)


def test_a_class_of_the_tree_that_the_provider_names_gives_its_exit_code() -> None:
    error = failure(
        Message("error", "MovedError: local: moved\n  `mlops stack sync local`", URN),
        Message("error", "update failed", STACK),
    )
    assert isinstance(error, errors.MovedError)
    assert error.exit_code == 25
    assert str(error) == "pulumi up of local failed:\nlocal: moved\n  `mlops stack sync local`"


def test_the_reason_of_a_half_made_resource_reads_as_any_other() -> None:
    error = failure(Message("error", "1 error occurred:\n    \t* DeadlineError: not ready in 20 s", URN))
    assert isinstance(error, errors.DeadlineError)
    assert "occurred" not in str(error)


def test_what_is_of_no_class_names_its_resource() -> None:
    assert "live: plugin exited" in str(failure(Message("error", "plugin exited", URN)))


def test_an_engine_that_said_nothing_shows_its_output() -> None:
    assert "the engine ended with code 137" in str(failure(output="the engine ended with code 137"))
