"""The stand-in for the plugin gcp finds a wrong name wherever it is: a green preview with it has to mean that much."""

import pytest

from tests.standins.gcp.property_names import faults

BUCKET = "gcp:storage/bucket:Bucket"


@pytest.mark.parametrize(
    ("inputs", "place"),
    [
        ({"location": "EU", "versionning": {}}, "versionning"),
        ({"location": "EU", "versioning": {"on": True}}, "versioning.on"),
        (
            {"location": "EU", "lifecycleRules": [{"action": {"type": "Delete"}, "condition": {"years": 1}}]},
            "lifecycleRules[0].condition.years",
        ),
        ({}, "location"),
    ],
)
def test_a_wrong_or_missing_name_is_found_where_it_is(inputs: dict[str, object], place: str) -> None:
    assert [name for name, _why in faults(BUCKET, inputs)] == [place]


def test_what_is_right_has_no_fault_and_what_the_package_lacks_has_one() -> None:
    assert faults(BUCKET, {"location": "EU", "versioning": {"enabled": True}}) == []
    assert faults("gcp:storage/bucket:Buckett", {})
