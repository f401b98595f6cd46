"""Taking over a fleet that serves already: what served goes on, whoever owns it, and nothing is unloaded or refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from airflow_model_ops.adapters.serving import tf_serving_protos as protos
from airflow_model_ops.adapters.serving.tf_serving_client import ModelServiceClient
from airflow_model_ops.adapters.serving.tf_serving_config import ServedModel, parse_model_server_config
from airflow_model_ops.adapters.serving.tf_serving_plan import ServingDocument, foreign_names
from airflow_model_ops.adapters.serving.tf_serving_servers import ADOPTED_MARK, SERVING_DOCUMENT, STARTUP_CONFIG
from airflow_model_ops.control.heads import read_head
from airflow_model_ops.core.errors import NotApplied
from airflow_model_ops.core.state import Fence
from tests.adapters.envoy_rig import eventually
from tests.adapters.serving_rig import FLEET, Fleet, serving_fleet, version
from tests.airflow.command_line import Answer, CommandLine

pytestmark = pytest.mark.integration

CONFIG = """
model_config_list {{
  config {{
    name: "digits" base_path: "{digits}" model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
    version_labels {{ key: "stable" value: 1 }}
    version_labels {{ key: "canary" value: 2 }}
    version_labels {{ key: "prod" value: 1 }}
  }}
  config {{
    name: "faces" base_path: "{faces}" model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 2 }} }}
    logging_config {{ sampling_config {{ sampling_rate: 0.5 }} }}
  }}
}}
"""


def default_version(client: ModelServiceClient, model: str) -> int:
    """What answers a request without version or label."""
    answer = client._call(
        protos.PREDICTION_SERVICE,
        method="GetModelMetadata",
        request=protos.GetModelMetadataRequest(
            model_spec=protos.ModelSpec(name=model), metadata_field=["signature_def"]
        ),
        response_class=protos.GetModelMetadataResponse,
        timeout_seconds=60,
    )
    return int(answer.model_spec.version.value)


class Asking(threading.Thread):
    """Asks every server for what clients ask for, without pause, and remembers each answer that was not right."""

    def __init__(self, fleet: Fleet, *wanted: tuple[str, str, int]) -> None:
        super().__init__(daemon=True)
        self.asked = 0
        self.wrong: list[str] = []
        self._clients = [ModelServiceClient(server.address) for server in fleet.servers]
        self._wanted = wanted
        self._ending = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        self.join(10)
        for client in self._clients:
            client.close()

    def run(self) -> None:
        while not self._ending.is_set():
            for client in self._clients:
                for model, label, number in self._wanted:
                    found = client.resolve_label(model, label) if label else default_version(client, model)
                    self.asked += 1
                    if found != number:
                        self.wrong.append(f"{model}/{label} gave {found}, not {number}")


class LiveFleet:
    """A fleet that serves ``digits`` 1 and 2 and ``faces`` 7, from directories of its own, before anybody adopts it."""

    def __init__(self, fleet: Fleet, cli: CommandLine, *, in_place: bool) -> None:
        self.fleet, self.cli = fleet, cli
        home = Path(fleet.addresses.root)
        self.digits = home / "digits" / "versions" if in_place else fleet.root / "old" / "digits"
        self.faces = fleet.root / "old" / "faces"
        for base, numbers in ((self.digits, (1, 2, 3)), (self.faces, (6, 7))):
            for number in numbers:
                (base / str(number)).mkdir(parents=True)
                (base / str(number) / "saved_model.pb").write_text(f"{base.name} {number}")
        (self.digits / "notes").mkdir()
        (self.digits / "9").mkdir()  # a number, and no SavedModel
        self.config = fleet.root / "models.config"
        self.config.write_text(CONFIG.format(digits=self.digits, faces=self.faces))
        for server in fleet.servers:
            server.stop()
            server.start(
                [
                    ServedModel(
                        name="digits",
                        base_path=str(self.digits),
                        versions=(1, 2),
                        labels={"stable": 1, "canary": 2, "prod": 1},
                    ),
                    ServedModel(name="faces", base_path=str(self.faces), versions=(6, 7)),
                ]
            )

    def adopt(self, *words: str) -> Answer:
        return self.cli.run("adopt", "--model-config-file", str(self.config), *words)

    def asking(self) -> Asking:
        return Asking(
            self.fleet,
            ("digits", "stable", 1),
            ("digits", "canary", 2),
            ("digits", "prod", 1),
            ("faces", "", 7),
        )

    def document(self) -> ServingDocument:
        return ServingDocument.from_bytes(self.store(SERVING_DOCUMENT))

    def store(self, name: str) -> bytes | None:
        return self.fleet.addresses.repository().fleet(FLEET).read(name)

    def was_ever_unloaded(self, model: str) -> bool:
        """Whether a list that a server got left a model out."""
        return any(
            model not in {entry.name for entry in config.model_config_list.config}
            for server in self.fleet.servers
            for config in server.reloads
        )


@contextmanager
def live_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, in_place: bool
) -> Iterator[LiveFleet]:
    allowed = {"allow_labels_for_unavailable": True}
    # The longest that an answer may take: a busy machine must not make a failed request of a slow one.
    with serving_fleet(tmp_path, declared_empty=False, route_timeout_seconds=10, **allowed) as fleet:
        cli = CommandLine(fleet=fleet, models_dir=tmp_path / "yaml", monkeypatch=monkeypatch, capsys=capsys)
        cli.describe("digits")
        cli.connect(initially="adopted")
        monkeypatch.setenv("AIRFLOW__MODEL_OPS__MODELS_DIR", str(cli.models_dir))
        yield LiveFleet(fleet, cli, in_place=in_place)


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[LiveFleet]:
    with live_fleet(tmp_path, monkeypatch, capsys, in_place=False) as fleet:
        yield fleet


V1, V2, V3 = "m-v0.0.1", "m-v0.0.2", "m-v0.0.3"


def test_what_served_goes_on_through_adoption_release_and_rollback_and_no_request_fails(live: LiveFleet) -> None:
    with live.asking() as asking:
        adopted = live.adopt()
        assert adopted.status == 0, adopted.err
        assert live.fleet.split() == {1: 100.0}
        with live.fleet.traffic() as traffic:
            live.fleet.release(1)  # m-v1.0.0, as any release
            assert live.cli.run("rollback", "digits", "--reason", "r").row["serves"] == f"{V1} 100 %"
            before = traffic.total
            assert eventually(lambda: traffic.total > before + 20)
        assert traffic.failures == []
        asked = asking.asked
        asking._wanted = (("faces", "", 7),)  # the release has moved the labels of digits
        assert eventually(lambda: asking.asked > asked + 20)
    assert [wrong for wrong in asking.wrong if wrong.startswith("faces")] == []
    assert not live.was_ever_unloaded("faces")
    assert live.fleet.available("faces") == [{6, 7}, {6, 7}]


def test_adopting_gives_the_model_its_first_state_and_keeps_foreign_models_as_they_were(live: LiveFleet) -> None:
    with live.asking() as asking:
        adopted = live.adopt("--golden", f"digits={V1}")
        asked = asking.asked
        assert eventually(lambda: asking.asked > asked + 20)
    assert asking.wrong == []
    digits, faces = adopted.rows
    assert (digits["what"], digits["stable"], digits["canary"], digits["golden"]) == ("adopted", V1, V2, V1)
    assert digits["imported"] == "0 in place, 3 copied"
    assert "label 'prod' stays on version 1" in digits["notes"]
    assert (faces["what"], faces["loaded"]) == ("foreign", "6, 7")
    assert "never unloaded; not behind the router" in faces["notes"]
    head = read_head(live.fleet.control().repository.log("digits"))
    assert head is not None
    assert head.applied_at is not None
    assert head.entry.name == "adopt"
    assert head.state.canary is not None
    assert head.state.canary.percent == 0
    assert [v.name for v in live.fleet.control().repository.versions("digits")] == [V1, V2, V3]
    document = live.document()
    assert document.models["digits"].versions == (1, 2)
    given = parse_model_server_config(live.config.read_text()).model_config_list.config[1]
    assert parse_model_server_config(document.foreign).model_config_list.config[0] == given
    assert live.store(ADOPTED_MARK) is not None


def test_a_list_that_is_sent_after_adoption_names_the_foreign_model_verbatim(live: LiveFleet) -> None:
    live.adopt()
    live.fleet.start(4)
    given = parse_model_server_config(live.config.read_text()).model_config_list.config[1]
    for server in live.fleet.servers:
        sent = {entry.name: entry for entry in server.reloads[-1].model_config_list.config}
        assert sent["faces"] == given
        assert dict(sent["digits"].version_labels)["prod"] == 1
    startup = parse_model_server_config((live.store(STARTUP_CONFIG) or b"").decode())
    assert given in startup.model_config_list.config


def test_a_dry_run_says_it_all_and_changes_nothing(live: LiveFleet) -> None:
    answer = live.adopt("--dry-run")
    assert [row["what"] for row in answer.rows] == ["would be adopted", "would be foreign"]
    assert live.fleet.control().repository.models() == ()
    assert live.store(SERVING_DOCUMENT) is None
    assert live.store(ADOPTED_MARK) is None
    assert all(server.reloads == [] for server in live.fleet.servers)


def test_adopting_twice_changes_nothing_and_a_model_may_be_taken_over_later(live: LiveFleet) -> None:
    assert live.adopt("--golden", f"digits={V1}").status == 0
    generation = live.fleet.control().committer.head()[1]
    again = live.adopt("--golden", f"digits={V1}")
    assert again.status == 0, again.err
    assert again.rows[0]["what"] == "known"
    assert live.fleet.control().committer.head()[1] == generation
    assert foreign_names(live.document()) == ("faces",)
    live.cli.describe("faces")
    with live.asking() as asking:
        later = live.adopt()
        asked = asking.asked
        assert eventually(lambda: asking.asked > asked + 20)
    assert asking.wrong == []
    assert [row["what"] for row in later.rows] == ["known", "adopted"]
    assert foreign_names(live.document()) == ()
    assert live.document().models["faces"].versions == (6, 7)
    assert live.fleet.split("faces") == {7: 100.0}


def test_a_killed_adoption_is_finished_by_the_next(live: LiveFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the list was kept and before the first state was committed: nothing may be applied from half of it."""
    from airflow_model_ops.control.model_control import ModelControl

    def killed(self: ModelControl, **_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ModelControl, "adopt", killed)
        with pytest.raises(KeyboardInterrupt):
            live.adopt()
    assert live.store(ADOPTED_MARK) is None
    with live.asking() as asking:
        assert live.adopt().rows[0]["stable"] == V1
        asked = asking.asked
        assert eventually(lambda: asking.asked > asked + 20)
    assert asking.wrong == []


def test_a_foreign_model_that_is_released_without_adoption_stops_only_itself(live: LiveFleet) -> None:
    """Listing it twice would make every server refuse every list, and with it the rollback of all other models."""
    live.adopt()
    live.fleet.push(5, model="faces")
    live.fleet.control("faces").start_canary(version(5), fence=Fence(release="r5", attempt=1))
    with pytest.raises(NotApplied, match="not available"):
        live.fleet.apply("faces", seconds=0.3)
    live.fleet.release(1)
    assert live.fleet.split() == {version(1).number: 100.0}
    assert live.fleet.available("faces") == [{6, 7}, {6, 7}]


def test_only_the_chosen_models_are_taken_over(live: LiveFleet) -> None:
    live.cli.describe("faces")
    answer = live.adopt("--only", "faces", "--only-loaded")
    assert [(row["model"], row["what"]) for row in answer.rows] == [("digits", "foreign"), ("faces", "adopted")]
    assert foreign_names(live.document()) == ("digits",)
    assert "no YAML file describes such a model" in live.adopt("--only", "tables").err


def test_files_that_are_in_their_place_already_get_manifests_and_are_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_fleet(tmp_path, monkeypatch, capsys, in_place=True) as live:
        inode = (live.digits / "1" / "saved_model.pb").stat().st_ino
        answer = live.adopt()
        assert answer.rows[0]["imported"] == "3 in place, 0 copied", answer.err
        assert (live.digits / "1" / "saved_model.pb").stat().st_ino == inode
        assert (live.digits / V1).readlink() == Path("1")
        assert live.cli.run("verify", "digits").status == 0
        assert live.adopt().status == 0
        assert live.cli.run("rollback", "digits", "--to", V3, "--reason", "r").row["serves"] == f"{V3} 100 %"


def test_everything_that_stands_against_it_is_told_at_once_and_nothing_is_changed(live: LiveFleet) -> None:
    (live.cli.models_dir / "digits.yaml").write_text(
        (live.cli.models_dir / "digits.yaml")
        .read_text()
        .replace("{scheme: semantic, prefix: m}", "{scheme: timestamp}")
    )
    answer = live.adopt("--golden", "faces=m-v1.0.0")
    assert answer.status == 1
    assert "serving number 1 has no name in scheme 'timestamp'" in answer.err
    assert "scheme: semantic, prefix" in answer.err
    assert "golden of model 'faces' is given" in answer.err
    live.cli.describe("digits")
    live.digits.rename(live.fleet.root / "moved")
    assert "sees no directory 1 below its base_path" in live.adopt().err
    assert live.store(SERVING_DOCUMENT) is None
    moved = live.adopt("--path-map", f"{live.digits}={live.fleet.root / 'moved'}")
    assert moved.status == 0, moved.err


def test_servers_that_disagree_or_do_not_answer_are_not_adopted(live: LiveFleet) -> None:
    first, second = live.fleet.servers
    first.unreachable = True
    assert "adopt" in live.adopt().err or first.address in live.adopt().err
    assert live.adopt().status == 1
    first.unreachable = False
    assert first.labels is not None
    first.labels["digits"]["stable"] = 2
    answer = live.adopt()
    assert answer.status == 1
    assert "label 'stable' is not the same on every server (1, 2)" in answer.err
    first.labels["digits"]["stable"] = 1
    del second.models["digits"]
    assert "no version is available on every server" in live.adopt().err
    assert live.store(SERVING_DOCUMENT) is None
