"""Passwords of database roles."""

import pytest
from pydantic import SecretStr

from mlops_sdk.runtime.passwords import derive, derive_shared, new_master_key

KEY = SecretStr("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")


def test_the_password_of_a_role_never_changes() -> None:
    assert derive(KEY, "sdk").get_secret_value() == "oF7oUrdu8MiPb-4bw0OpNwc-iHbTjcDHW6MwjFzlHzU"


def test_padding_of_the_key_does_not_count() -> None:
    assert derive(SecretStr(KEY.get_secret_value() + "="), "sdk") == derive(KEY, "sdk")


def test_every_role_and_every_key_has_its_own() -> None:
    keys = [KEY, new_master_key(), new_master_key()]
    passwords = {derive(key, role).get_secret_value() for key in keys for role in ("sdk", "mlflow", "sdk ")}
    assert len(passwords) == 9
    assert all(len(password) == 43 for password in passwords)


def test_a_password_is_not_shown() -> None:
    assert "*" in repr(derive(KEY, "sdk"))


@pytest.mark.parametrize("text", ["", "c2hvcnQ", "not base64url!!", "é" * 43])
def test_a_bad_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="master key") as caught:
        derive(SecretStr(text), "sdk")
    assert not text or text not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_shared_with_a_sender_is_no_role_s_password_and_another_for_each_purpose() -> None:
    key = new_master_key()
    found = {
        derive_shared(key, "a"),
        derive_shared(key, "b"),
        derive(key, "a"),
        derive_shared(new_master_key(), "a"),
    }
    assert len(found) == 4
