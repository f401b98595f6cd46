"""The ``notifications:`` part of a model's file: which notifiers are told of what, without importing any."""

from __future__ import annotations

import sys

import jsonschema
import pytest
import yaml

from airflow_model_ops.config.model_file import ModelFile, json_schema, parse_model_file
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.notice import Event

SMALL = "model: digits\nchecks:\n  - {name: errors, kind: error_rate, max: 0.01}\n"
SLACK = "nowhere.slack_webhook.SlackWebhookNotifier"
HOOKS = f"""\
notifications:
  on_rollback:
    - {{notifier: {SLACK}, arguments: {{text: "{{{{ message }}}}", slack_webhook_conn_id: ops}}}}
    - {{notifier: another.Notifier}}
  on_drift: [{{notifier: {SLACK}}}]
  timeout: 10s
"""


def test_without_the_part_nobody_is_told() -> None:
    assert not parse_model_file(SMALL).notifications.hooks


def test_each_event_has_its_notifiers_and_nothing_is_imported() -> None:
    part = parse_model_file(SMALL + HOOKS).notifications

    assert set(part.hooks) == {Event.ROLLBACK, Event.DRIFT}
    assert [each.notifier for each in part.hooks[Event.ROLLBACK]] == [SLACK, "another.Notifier"]
    assert part.hooks[Event.ROLLBACK][0].arguments == {"text": "{{ message }}", "slack_webhook_conn_id": "ops"}
    assert part.timeout == 10
    assert "nowhere" not in sys.modules


def test_a_trigger_gets_it_back_as_it_was_written() -> None:
    file = parse_model_file(SMALL + HOOKS)
    assert ModelFile.model_validate(file.model_dump(mode="json")) == file


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("notifications: {on_roll_back: []}", "notifications.on_roll_back: unknown key"),
        ("notifications: {on_hold: [{arguments: {}}]}", "notifications.on_hold.0.notifier: is missing"),
        ("notifications: {on_hold: [{notifier: Slack}]}", "'Slack' names no class"),
        ("notifications: {on_hold: [{notifier: 'a.b; import os'}]}", "names no class"),
        ("notifications: {on_hold: [{notifier: a.B, argument: {}}]}", "unknown key"),
        ("notifications: {on_hold: [{notifier: a.B, arguments: {since: 2023-06-01}}]}", "arguments.since"),
        ("notifications: {timeout: 0}", "notifications.timeout"),
        ("notifications: {timeout: 5m}", "300 s is too long"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(InvalidConfig) as wrong:
        parse_model_file(SMALL + text, name="digits.yaml")
    assert str(wrong.value).startswith("digits.yaml:4: ")
    assert told in str(wrong.value)


@pytest.mark.parametrize(
    ("text", "right"),
    [(HOOKS, True), ("notifications: {on_hold: [{notifier: Slack}]}", False), ("notifications: {on_x: []}", False)],
)
def test_an_editor_is_told_the_same_by_the_schema(text: str, right: bool) -> None:
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(yaml.safe_load(SMALL + text)) is right
