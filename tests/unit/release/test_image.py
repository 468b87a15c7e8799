"""What an image of a commit is called."""

import pytest

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.release.image import TARGETS, image_reference


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_is_named_by_its_commit(target: str) -> None:
    assert (
        image_reference("registry.example/shop", target, "c" * 40)
        == f"registry.example/shop/{target}:{'c' * 40}"
    )


def test_an_unknown_target_names_those_there_are() -> None:
    with pytest.raises(InputError, match="no target 'web'") as caught:
        image_reference("registry.example/shop", "web", "c" * 40)
    assert "service, job, invoker" in caught.value.remedy


def test_without_a_repository_the_error_says_where_to_name_it() -> None:
    with pytest.raises(NotFoundError, match="names no image repository") as caught:
        image_reference(None, "service", "c" * 40)
    assert "image_repository" in caught.value.remedy
