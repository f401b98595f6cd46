"""The YAML file of a model: what a platform engineer may write, and what each mistake is answered with."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from airflow_model_ops.config.model_file import (
    ModelFile,
    json_schema,
    load_for_way_back,
    load_model_file,
    load_model_files,
    load_ways_back,
    parse_model_file,
)
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.policy import OnDeadline

SMALL = "model: digits\nchecks:\n  - {name: errors, kind: error_rate, max: 0.05}\n"

FULL = """\
model: segmentation
connections:
  repository: models_eu
  target: fleet_eu
  metrics: prometheus_eu
  ledger: null
versions: {scheme: semantic, prefix: segmentation}
source: {export_dir: /exports/segmentation, schedule: "@daily", settle: 2m}
validation: {examples: /data/golden.npz, min_accuracy: 0.9, max_accuracy_drop: 0.02, timeout: 10m}
canary:
  steps:
    - {percent: 1, bake: 90s}
    - {percent: 12.5, bake: 1h30m}
    - {percent: 50, bake: 600}
  interval: 30s
  deadline: 1d
  on_deadline: abort
  max_bad_events: 500
  load_timeout: 20m
judge: {alpha: 0.001, beta: 0.1, dispersion: 3, split_band: 0.2, calibrate: 12h, undecidable: refuse}
checks:
  - {name: errors, kind: error_rate, max: 0.05, max_ratio_to_stable: 1.5, margin: 2, negligible: 0.0001, critical: true}
  - {name: slow, kind: latency, latency_bound_ms: 250, max: 0.01, dispersion: 4, max_age: 5m}
  - {name: drift, kind: promql, query: "drift{version='$version'}", max: 3, window: 5m, consecutive: 3, muted: true}
watch: {duration: 2h, hold_back: 5}
retention: {keep_last: 7}
keep_warm: 2
tags: [vision, eu]
"""


def mistakes_of(text: str) -> list[str]:
    with pytest.raises(InvalidConfig) as refused:
        parse_model_file(text, name="digits.yaml")
    return str(refused.value).splitlines()


def test_a_small_file_is_enough_and_has_careful_defaults() -> None:
    policy = parse_model_file(SMALL).policy()

    assert [(step.percent, step.bake_seconds) for step in policy.steps] == [(10, 300), (50, 300)]
    assert policy.on_deadline is OnDeadline.HOLD
    assert (policy.keep_last, policy.keep_warm) == (5, 1)


def test_every_part_of_a_full_file_reaches_the_policy() -> None:
    file = parse_model_file(FULL)
    policy = file.policy()

    assert [(step.percent, step.bake_seconds) for step in policy.steps] == [(1, 90), (12.5, 5400), (50, 600)]
    assert (policy.interval_seconds, policy.deadline_seconds, policy.load_seconds) == (30, 86_400, 1200)
    assert policy.on_deadline is OnDeadline.ABORT
    assert (policy.validation.min_accuracy, policy.validation.timeout_seconds) == (0.9, 600)
    assert [check.name for check in policy.checks if not check.muted] == ["errors", "slow"]
    errors, slow, drift = policy.checks
    assert (errors.max_ratio, errors.margin, errors.negligible, errors.critical) == (1.5, 2, 0.0001, True)
    assert (slow.dispersion, slow.max_age_seconds) == (4, 300)
    assert (drift.window_seconds, drift.consecutive) == (300, 3)
    assert (policy.judge.alpha, policy.judge.beta, policy.judge.dispersion) == (0.001, 0.1, 3)
    assert (policy.judge.split_band, policy.calibration_seconds, policy.refuse_undecidable) == (0.2, 43_200, True)
    assert (policy.watch.seconds, policy.watch.hold_back, policy.max_bad_events) == (7200, 5, 500)
    assert file.naming().parse("segmentation-v1.2.3").name == "segmentation-v1.2.3"
    assert (file.connections.ledger, file.retention.keep_last, file.tags) == (None, 7, ("vision", "eu"))


def test_a_file_survives_the_trip_through_a_triggers_arguments() -> None:
    file = parse_model_file(FULL)

    assert type(file).model_validate(file.model_dump(mode="json")) == file


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1h 30m", 5400),
        ("0.5h", 1800),
    ],
)
def test_durations_are_written_as_people_write_them(text: str, seconds: float) -> None:
    file = parse_model_file(f"{SMALL}canary: {{interval: {text}, deadline: 10d, steps: [{{percent: 5, bake: 1}}]}}\n")

    assert file.policy().interval_seconds == seconds


@pytest.mark.parametrize("text", ["-5", "5x", "true", "soon", "''", "1h30", "-1m", "[1]"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    (mistake,) = mistakes_of(f"{SMALL}canary: {{interval: {text}}}\n")

    assert mistake.startswith("digits.yaml:4: canary.interval: ")
    assert "is not a duration" in mistake


@pytest.mark.parametrize("text", ["99999999999999d", "1e300", "1" + "0" * 400, "40000d"])
def test_a_duration_that_outlasts_everybody_is_refused(text: str) -> None:
    (told,) = mistakes_of(f"{SMALL}canary: {{deadline: {text}}}\n")

    assert told.startswith("digits.yaml:4: canary.deadline: ")


def test_more_checks_than_anybody_can_ask_at_each_interval_are_refused() -> None:
    checks = "".join(f"  - {{name: errors{number}, kind: error_rate}}\n" for number in range(101))
    (told,) = mistakes_of(f"model: digits\nchecks:\n{checks}")

    assert told == "digits.yaml:2: checks: 101 are listed; give at most 100"


@pytest.mark.parametrize("text", [".inf", ".nan"])
def test_an_endless_duration_is_refused(text: str) -> None:
    assert mistakes_of(f"{SMALL}canary: {{deadline: {text}}}\n") == [
        f"digits.yaml:4: canary.deadline: Input should be a finite number (given: {text[1:]})"
    ]


def test_a_time_out_of_nothing_is_refused() -> None:
    told = mistakes_of(f"{SMALL}canary: {{load_timeout: 0}}\nvalidation: {{timeout: 0s}}\n")

    assert [mistake.split(":")[1] for mistake in told] == ["5", "4"]


def test_all_mistakes_are_told_at_once_each_with_its_line() -> None:
    told = mistakes_of(
        "model: digits\n"
        "chekcs: []\n"
        "checks:\n"
        "  - name: errors\n"
        "    kind: error_rate\n"
        "    max: five\n"
        "canary:\n"
        "  steps:\n"
        "    - percent: 10\n"
        "    - bake: 5m\n"
        "keep_warm: -1\n"
    )

    assert told == [
        "digits.yaml:11: keep_warm: Input should be greater than or equal to 0 (given: -1)",
        "digits.yaml:10: canary.steps.1.percent: is missing; add it",
        "digits.yaml:6: checks.0.max: Input should be a valid number, unable to parse string as a number (given: 'five')",
        "digits.yaml:2: chekcs: unknown key; check its spelling and indentation",
    ]


def test_parts_that_contradict_one_another_are_told_with_the_line_of_the_part() -> None:
    told = mistakes_of(
        "model: digits\n"
        "canary:\n"
        "  interval: 0\n"
        "  steps: [{percent: 50}, {percent: 10}]\n"
        "checks:\n"
        "  - {name: errors, kind: error_rate, max: 0.05}\n"
        "  - {name: errors, kind: error_rate, max: 0.05}\n"
    )

    assert told == [
        "digits.yaml:4: canary.steps must rise: 10 % comes after 50 %",
        "digits.yaml:5: checks: 'errors' is listed more than once; give each check a name of its own",
        "digits.yaml:3: canary.interval is 0.0 s; give at least 1 s",
    ]


def test_each_mistake_of_a_check_is_told_with_its_own_line() -> None:
    told = mistakes_of("model: digits\nchecks:\n  - name: slow\n    kind: latency\n    max: 5\n    query: up\n")

    assert [line.split(": ")[0] for line in told] == ["digits.yaml:5", "digits.yaml:3", "digits.yaml:6"]
    assert "write 5 % as 0.05" in told[0]
    assert "latency_bound_ms" in told[1]
    assert "remove it" in told[2]


def test_a_share_needs_no_limit_and_is_compared_with_stable() -> None:
    (check,) = parse_model_file("model: digits\nchecks:\n  - {name: errors, kind: error_rate}\n").policy().checks

    assert (check.max_ratio, check.margin, check.negligible, check.max) == (1.1, 1.5, 0.001, None)


def test_a_query_without_a_limit_is_refused() -> None:
    assert mistakes_of("model: digits\nchecks:\n  - {name: drift, kind: promql, query: drift}\n") == [
        "digits.yaml:3: checks.0: it has no limit; set max, min, max_ratio_to_stable or max_difference_to_stable"
    ]


def test_what_means_nothing_where_every_event_is_counted_once_is_refused() -> None:
    told = mistakes_of(f"{SMALL}  - name: slow\n    kind: error_rate\n    window: 5m\n    consecutive: 3\n")

    assert [mistake.split(": ")[:2] for mistake in told] == [
        ["digits.yaml:7", "checks.1.consecutive"],
        ["digits.yaml:6", "checks.1.window"],
    ]
    assert told[0].endswith("every event is counted once, however often it is looked at; remove it")


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("max_difference_to_stable: 0.02", "belongs to kind promql, not to error_rate"),
        ("margin: 1", "margin is 1.0; give a ratio above 1"),
        (
            "max_ratio_to_stable: 2",
            "margin 1.5 is not above the 2 of max_ratio_to_stable that is no harm; raise margin",
        ),
        ("negligible: 1", "negligible is 1.0; give a bad rate from 0 to 1"),
        ("dispersion: 0.5", "dispersion is 0.5; give 1 (independent events) to 1000, or leave it out"),
        ("max: 0", "max is 0.0, but error_rate is a share between 0 and 1"),
    ],
)
def test_a_share_whose_limits_make_no_sense_is_refused(field: str, words: str) -> None:
    (told,) = mistakes_of(f"model: digits\nchecks:\n  - name: errors\n    kind: error_rate\n    {field}\n")

    assert words in told


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("judge: {alpha: 0}", "alpha is 0.0; give a probability from 0.000001 to 0.2"),
        ("judge: {beta: 0.5}", "beta is 0.5"),
        ("judge: {dispersion: 0}", "dispersion is 0.0; give 1 (none) to 1000"),
        ("judge: {split_band: 2}", "split_band is 2.0; give 0.01 to 0.9"),
        ("judge: {calibrate: 2d}", "judge.calibrate is 172800 s; give 0 to 24h"),
        ("judge: {undecidable: ignore}", "judge.undecidable: Input should be 'warn' or 'refuse'"),
        ("canary: {max_bad_events: 0}", "canary.max_bad_events: Input should be greater than 0"),
        ("watch: {hold_back: 5}", "watch.hold_back needs watch.duration"),
        ("watch: {duration: 1h, hold_back: 60}", "watch.hold_back: Input should be less than or equal to 50"),
    ],
)
def test_what_the_judge_cannot_keep_is_told_with_its_line(part: str, words: str) -> None:
    (told,) = mistakes_of(f"{SMALL}{part}\n")

    assert told.startswith("digits.yaml:4: ")
    assert words in told


@pytest.mark.parametrize(
    ("adaptive", "shares"),
    [
        ("{}", [1, 2.5, 6.25, 15.62, 39.05, 50]),
        ("{start: 10, end: 40, factor: 2}", [10, 20, 40]),
        ("{start: 5, end: 5}", [5]),
        ("{start: 0.01, end: 0.05, factor: 1.1}", [0.01, 0.02, 0.03, 0.04, 0.05]),
    ],
)
def test_an_adaptive_ramp_rises_by_its_factor_and_its_steps_need_not_bake(adaptive: str, shares: list[float]) -> None:
    file = parse_model_file(f"{SMALL}canary: {{adaptive: {adaptive}}}\n")

    assert [step.percent for step in file.policy().steps] == shares
    assert {step.bake_seconds for step in file.policy().steps} == {0}
    assert type(file).model_validate(file.model_dump(mode="json")) == file


@pytest.mark.parametrize(
    ("canary", "words"),
    [
        ("{adaptive: {}, steps: [{percent: 5}]}", "canary has both steps and adaptive; keep one of them"),
        ("{adaptive: {start: 60}}", "adaptive starts at 60 % and ends at 50 %"),
        ("{adaptive: {start: 0.001}}", "start: Input should be greater than or equal to 0.01"),
        ("{adaptive: {start: 1.234}}", "1.234 % is no share that a router can give; give steps of 0.01"),
        ("{adaptive: {end: 100}}", "end: Input should be less than 100"),
        ("{adaptive: {factor: 1}}", "factor: Input should be greater than or equal to 1.1"),
        (
            "{adaptive: {start: 0.01, factor: 1.1}}",
            "adaptive makes 76 steps, each a group of tasks; raise factor or start",
        ),
    ],
)
def test_an_adaptive_ramp_that_makes_no_sense_is_told_with_its_line(canary: str, words: str) -> None:
    (told,) = mistakes_of(f"{SMALL}canary: {canary}\n")

    assert told.startswith("digits.yaml:4: ")
    assert words in told


def test_a_watch_without_a_hold_back_needs_a_ceiling() -> None:
    (told,) = mistakes_of("model: digits\nwatch: {duration: 1h}\nchecks:\n  - {name: errors, kind: error_rate}\n")

    assert told.startswith("digits.yaml:2: watch: without hold_back only checks with an absolute limit")


def test_a_file_whose_checks_are_all_muted_is_refused() -> None:
    (told,) = mistakes_of("model: digits\nchecks:\n  - {name: errors, kind: error_rate, max: 0.1, muted: true}\n")

    assert told.startswith("digits.yaml:2: checks: no unmuted check")


@pytest.mark.parametrize("schedule", ["nonsense", "''", "0 6 * *"])
def test_a_schedule_that_airflow_could_not_read_is_told_before_airflow_sees_it(schedule: str) -> None:
    (told,) = mistakes_of(f"{SMALL}source: {{export_dir: /exports, schedule: {schedule}}}\n")

    assert told.startswith("digits.yaml:4: source.schedule: ")
    assert "is not a schedule" in told


def test_semantic_versions_need_a_prefix() -> None:
    (told,) = mistakes_of(f"{SMALL}versions: {{scheme: semantic}}\n")

    assert told.startswith("digits.yaml:4: versions: versions.prefix None is not usable")


def test_accuracy_limits_need_examples() -> None:
    (told,) = mistakes_of(f"{SMALL}validation: {{min_accuracy: 0.9}}\n")

    assert told.startswith("digits.yaml:4: validation: min_accuracy and max_accuracy_drop need examples")


@pytest.mark.parametrize("name", ["a b", "../x", "", "-x", "x" * 101, "a/b"])
def test_a_name_that_cannot_be_a_directory_is_refused(name: str) -> None:
    (told,) = mistakes_of(SMALL.replace("digits", f'"{name}"'))

    assert told.startswith("digits.yaml:1: model: ")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("model: digits\nmodel: other\n", 2, "key 'model' is given twice (first on line 1); keep one"),
        ("model: digits\nchecks:\n- {max: 1, max: 2}\n", 3, "key 'max' is given twice (first on line 3); keep one"),
        ("model: [\n", 2, "this is not YAML"),
        ("model: digits\n\tchecks: []\n", 2, "this is not YAML"),
        ("---\nmodel: a\n---\nmodel: b\n", 3, "this is not YAML: but found another document"),
        ("model: digits\nchecks: \x00\n", 2, "this is not YAML"),
        ("model: 2023-02-31\n", 1, "this YAML cannot be used"),
        ("model: digits\n? [a]\n: 3\n", 2, "this is not YAML"),
        ("", 1, "the file must be a mapping"),
        ("- model\n", 1, "the file must be a mapping"),
    ],
)
def test_what_is_not_usable_yaml_is_told_with_its_line(text: str, line: int, words: str) -> None:
    (told,) = mistakes_of(text)

    assert told.startswith(f"digits.yaml:{line}: ")
    assert words in told


def test_an_anchor_inside_itself_is_only_an_unknown_key() -> None:
    assert mistakes_of(f"{SMALL}loop: &loop [*loop]\n") == [
        "digits.yaml:4: loop: unknown key; check its spelling and indentation"
    ]


def test_an_anchor_may_be_used_twice() -> None:
    file = parse_model_file(
        f"{SMALL}  - &slow {{name: slow, kind: latency, latency_bound_ms: 250, max: 0.1}}\n  - {{<<: *slow, name: slower}}\n"
    )

    assert [check.name for check in file.checks] == ["errors", "slow", "slower"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"model: caf\xe9\n")

    for path in (tmp_path / "absent.yaml", tmp_path, latin):
        with pytest.raises(InvalidConfig, match="cannot be read"):
            load_model_file(path)


def test_two_files_for_one_model_are_refused_and_both_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SMALL)
    (tmp_path / "b.yml").write_text(SMALL)

    with pytest.raises(InvalidConfig) as refused:
        load_model_files(tmp_path)

    assert str(refused.value) == (
        f"{tmp_path}/b.yml:1: model 'digits' is described by {tmp_path}/a.yaml too; keep one file"
    )


def test_the_mistakes_of_all_files_come_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: a\n")
    (tmp_path / "b.yaml").write_text(SMALL)
    (tmp_path / "c.yaml").write_text("model: [")

    with pytest.raises(InvalidConfig) as refused:
        load_model_files(tmp_path)

    assert [line.split(": ")[0] for line in str(refused.value).splitlines()] == [
        f"{tmp_path}/a.yaml:1",
        f"{tmp_path}/c.yaml:1",
    ]


def test_the_files_of_a_directory_are_found_by_model(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(SMALL)
    (tmp_path / "y.yml").write_text(SMALL.replace("digits", "letters"))
    (tmp_path / "notes.txt").write_text("model: [")

    assert sorted(load_model_files(tmp_path)) == ["digits", "letters"]


@pytest.mark.parametrize(
    "mistake",
    [
        "checks: [{name: errors, kind: error_rat, max: 0.05}]",
        "checks: [{name: errors, kind: error_rate, mx: 0.05}]",
        "chekcs: []",
        "canary: {steps: [{percent: 0}]}",
        "source: {schedule: daily}",
        "",
    ],
)
def test_a_mistake_in_how_a_model_is_released_leaves_what_its_way_back_needs(tmp_path: Path, mistake: str) -> None:
    path = tmp_path / "digits.yaml"
    path.write_text(
        f"model: digits\nconnections: {{target: eu}}\nversions: {{scheme: semantic, prefix: d}}\nkeep_warm: 2\n{mistake}"
    )
    with pytest.raises(InvalidConfig):
        load_model_file(path)

    back = load_for_way_back(path)

    assert not isinstance(back, ModelFile)
    assert (back.model, back.connections.target, back.keep_warm) == ("digits", "eu", 2)
    assert back.naming().parse("d-v1.0.0").number == 100_000_000
    assert back.load_seconds == 600


def test_a_right_file_gives_its_way_back_all_that_it_says(tmp_path: Path) -> None:
    (tmp_path / "segmentation.yaml").write_text(FULL)

    back = load_for_way_back(tmp_path / "segmentation.yaml")

    assert back == parse_model_file(FULL)
    assert back.load_seconds == 1200


@pytest.mark.parametrize(
    "mistake",
    [
        "connections: {targt: eu}",
        "conections: {target: eu}",
        "version: {scheme: semantic}",
        "versions: {scheme: semver}",
    ],
)
def test_a_mistake_that_may_lead_to_another_fleet_or_other_names_is_never_guessed_away(
    tmp_path: Path, mistake: str
) -> None:
    path = tmp_path / "digits.yaml"
    path.write_text(f"{SMALL}{mistake}\n")

    with pytest.raises(InvalidConfig, match=r"digits\.yaml:4: "):
        load_for_way_back(path)


def test_the_ways_back_of_a_directory_are_those_of_every_file_that_names_its_model(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: digits\nchecks: [{name: errors}]\nconnections: {target: old}\n")
    (tmp_path / "b.yaml").write_text(SMALL)
    (tmp_path / "c.yaml").write_text(SMALL)
    (tmp_path / "d.yaml").write_text("model: letters\n")
    (tmp_path / "e.yaml").write_text("model: [")

    back = load_ways_back(tmp_path)

    assert sorted(back.models) == ["digits", "letters"]
    assert back.models["digits"] == parse_model_file(SMALL), "what releases use is what the way back uses"
    assert [(model, text.split(": ")[0]) for model, text in back.mistakes] == [
        ("digits", f"{tmp_path}/a.yaml:2"),
        ("letters", f"{tmp_path}/d.yaml:1"),
        (None, f"{tmp_path}/e.yaml:1"),
        ("digits", f"{tmp_path}/c.yaml:1"),
        ("digits", f"{tmp_path}/a.yaml:1"),
    ]
    assert f"is described by {tmp_path}/b.yaml too, which is used" in back.mistakes[-1][1]


def test_the_json_schema_accepts_what_the_reader_accepts_and_refuses_what_it_refuses() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)

    assert not list(validator.iter_errors(yaml.safe_load(FULL)))
    assert not list(validator.iter_errors(yaml.safe_load(SMALL)))
    for wrong in (
        "model: digits\n",
        f"{SMALL}extra: 1\n",
        f"{SMALL}canary: {{interval: 5x}}\n",
        f"{SMALL}keep_warm: -1\n",
    ):
        assert list(validator.iter_errors(yaml.safe_load(wrong))), wrong
        assert mistakes_of(wrong)
