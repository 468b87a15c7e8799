"""Stack config: a pure rendering of locks and bindings, and what it says about its own cause."""

from io import StringIO
from pathlib import Path, PurePath
from typing import Any

import pytest
from ruamel.yaml import YAML

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock, LockedModel, Smoke
from mlops_sdk.stack import config
from mlops_sdk.stack.config import Basis, ReleaseSection
from mlops_sdk.stack.config_file import ConfigFile, read_plain
from tests.support.locks import make_lock

GOLDEN = Path(__file__).parent / "golden"
DIGEST = "sha256:" + "1" * 64


def a_section(release: str, seq: int) -> ReleaseSection:
    lock = a_lock(release)
    schema = f"rel_recommender_{seq:06d}_{lock.digest[7:15]}"
    binding = Binding(
        environment="local",
        digest=lock.digest,
        release=release,
        seq=seq,
        pg_schema=schema,
        role=schema,
        service_port=21000 + seq,
    )
    return config.section(lock, binding, environment=PurePath(".venvs/0123456789ab"))


def a_lock(release: str) -> Lock:
    smoke = Smoke(input=[{"text": 'a: "b" #'}], output=[[0.5, -1e-07]])
    model = LockedModel(name="movie-embedder", version=1, digest=DIGEST, smoke=smoke)
    return make_lock(
        release=release, models={"embedder": model}, parameters={"candidates": 200, "flag": "yes"}
    )


def an_existing_document() -> Any:
    return YAML().load(
        "# a person's comment\n"
        "config:\n"
        "  mlops-sdk:kind: local # so far\n"
        "  mlops-sdk:masterKey:\n"
        "    secure: v1:AAAA:BBBB\n"
        "encryptionsalt: v1:salt\n"
    )


def test_a_rendered_config_equals_the_golden_file(tmp_path: Path, update_golden: bool) -> None:
    file = ConfigFile(tmp_path, "local")
    sections = [a_section("v0.0.2", 2), a_section("v0.0.1", 1)]
    document = config.render(
        an_existing_document(), sections, live=sections[1].digest, basis=Basis(entry=7, digest=DIGEST)
    )
    written = file.write(document).read_text(encoding="utf-8")
    golden = GOLDEN / "two_releases.yaml"
    if update_golden:
        golden.write_text(written, encoding="utf-8")
    assert written == golden.read_text(encoding="utf-8")


def test_rendering_nothing_gives_back_what_a_person_wrote() -> None:
    document = an_existing_document()
    before = StringIO()
    YAML().dump(document, before)
    config.render(document, [a_section("v0.0.1", 1)], live=None, basis=Basis(entry=1, digest=DIGEST))
    config.render(document, [], live=None, basis=None)
    after = StringIO()
    YAML().dump(document, after)
    assert after.getvalue() == before.getvalue()


def test_a_written_config_reads_back_as_the_same_sections(tmp_path: Path) -> None:
    sections = [a_section("v0.0.1", 1), a_section("v0.0.2", 2)]
    file = ConfigFile(tmp_path, "local")
    file.write(config.render({}, sections, live=sections[0].digest, basis=None))
    for document in (file.read(), read_plain(file.path)):
        assert config.releases_of(document) == sections
        assert config.live_of(document) == sections[0].digest
        assert config.basis_of(document) is None


def test_the_cause_is_of_releases_and_live_alone(tmp_path: Path) -> None:
    one, two = a_section("v0.0.1", 1), a_section("v0.0.2", 2)

    def cause(live: str | None, entry: int, *sections: ReleaseSection) -> str:
        basis = Basis(entry=entry, digest=DIGEST)
        document = config.render({"config": {"mlops-sdk:kind": "local"}}, sections, live=live, basis=basis)
        file = ConfigFile(tmp_path, "local")
        file.write(document)
        assert config.cause_of(read_plain(file.path)) == config.cause_of(file.read())
        return config.cause_of(document)

    assert cause(one.digest, 1, one, two) == cause(one.digest, 9, two, one)
    assert cause(one.digest, 1, one, two) != cause(two.digest, 1, one, two)
    assert cause(one.digest, 1, one, two) != cause(one.digest, 1, one)


def test_a_live_release_that_the_config_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="not among the releases"):
        config.render({}, [a_section("v0.0.1", 1)], live="sha256:" + "9" * 64, basis=None)


def test_a_section_under_a_wrong_key_names_the_key_and_the_remedy() -> None:
    section = a_section("v0.0.1", 1)
    with pytest.raises(InputError, match=r"mlops-sdk:releases\.000000000000") as caught:
        config.parse_section("000000000000", section.document())
    assert "mlops stack sync" in str(caught.value)


def test_binding_and_lock_of_different_releases_are_refused() -> None:
    section = a_section("v0.0.1", 1)
    binding = Binding(
        environment="local",
        digest=section.digest,
        release="v0.0.1",
        seq=1,
        pg_schema="s",
        role="s",
        service_port=21001,
    )
    with pytest.raises(InputError, match=r"the lock of v0\.0\.2"):
        config.section(a_lock("v0.0.2"), binding, environment=PurePath(".venvs/x"))


def test_a_config_made_from_the_example_has_different_ports_and_keeps_them(tmp_path: Path) -> None:
    file = ConfigFile(tmp_path, "local")
    file.example.write_text("config:\n  mlops-sdk:kind: local\n  mlops-sdk:ports: {mlflow: 21212}\n")
    file.create_missing()
    ports = file.read()["config"]["mlops-sdk:ports"]
    assert sorted(ports) == sorted(config.PORTS)
    assert len(set(ports.values())) == len(config.PORTS)
    assert ports["mlflow"] == 21212
    before = file.path.read_bytes()
    file.create_missing()
    assert file.path.read_bytes() == before


def test_environments_of_one_folder_never_get_the_same_port(tmp_path: Path) -> None:
    stg = {"config": {"mlops-sdk:ports": {"postgres": 20_001}}}
    config.render(stg, [a_section("v0.0.1", 1)], live=None, basis=None)
    taken = config.taken_ports(stg)
    ConfigFile(tmp_path, "stg").write(stg)
    (tmp_path / "Pulumi.broken.yaml").write_text("config: [")
    file = ConfigFile(tmp_path, "prd")
    assert file.ports_of_others() == taken
    assert 20_001 in taken
    assert len(taken) == 3  # a release has one for its service and one for its invoker
    full = {"config": {"mlops-sdk:ports": {str(n): n for n in range(20_000, 32_000, 2)}}}
    ConfigFile(tmp_path, "full").write(full)
    file.example.write_text("config:\n  mlops-sdk:kind: local\n")

    file.create_missing()

    assert all(port % 2 == 1 for port in file.read()["config"]["mlops-sdk:ports"].values())


def test_an_environment_without_config_is_told_what_to_begin_with(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"Pulumi\.prd\.example\.yaml .* Pulumi\.local\.example\.yaml"):
        ConfigFile(tmp_path, "prd").create_missing()


def test_what_a_person_gave_and_is_lost_has_to_be_given_again(tmp_path: Path) -> None:
    file = ConfigFile(tmp_path, "local")
    keys = ("postgresUrl", "alertWebhook", "masterKey")
    file.write({"config": {f"mlops-sdk:{key}": {"secure": "v1:x"} for key in keys}})
    assert config.has_given_postgres(file.read())

    file.forget_secrets()

    assert file.read()["config"] == {"mlops-sdk:postgresUrl": "", "mlops-sdk:alertWebhook": ""}


def test_secrets_of_a_lost_passphrase_are_dropped_and_nothing_else(tmp_path: Path) -> None:
    file = ConfigFile(tmp_path, "local")
    file.write(an_existing_document())
    file.forget_secrets()
    text = file.path.read_text()
    assert "secure" not in text
    assert "encryptionsalt" not in text
    assert "# a person's comment" in text


def test_a_missing_config_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="mlops up prd"):
        ConfigFile(tmp_path, "prd").read()


def test_a_config_that_is_no_yaml_is_an_input_error(tmp_path: Path) -> None:
    file = ConfigFile(tmp_path, "local")
    file.path.write_text("config: [")
    with pytest.raises(InputError, match="not valid YAML"):
        file.read()
