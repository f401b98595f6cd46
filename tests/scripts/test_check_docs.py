"""The documentation check finds what it promises to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import check_docs


def _checkout(root: Path, *, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_links_to_files_headings_and_the_web_are_accepted(tmp_path: Path) -> None:
    root = _checkout(
        tmp_path,
        files={
            "README.md": "# A\n[guide](docs/guide.md#roll-back-at-3-am) [web](https://example.org/x)\n[here](#a)\n",
            "docs/guide.md": "# Guide\n\n## Roll back, at 3 a.m.\n\n[up](../README.md)\n",
        },
    )
    assert check_docs.complaints(root) == []


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("docs/gone.md", "leads to no file"),
        ("docs/guide.md#nowhere", "names no heading of docs/guide.md"),
        ("../outside.md", "leaves the repository"),
    ],
)
def test_a_link_that_leads_nowhere_is_named_with_its_fault(tmp_path: Path, target: str, fault: str) -> None:
    root = _checkout(tmp_path / "checkout", files={"README.md": f"[x]({target})", "docs/guide.md": "# Guide\n"})
    (complaint,) = check_docs.complaints(root)
    assert fault in complaint
    assert target in complaint


def test_links_and_headings_inside_code_do_not_count(tmp_path: Path) -> None:
    text = "# A\n```text\n# not a heading\n[x](gone.md)\n```\n`[y](gone.md)`\n[z](#not-a-heading)\n"
    (complaint,) = check_docs.complaints(_checkout(tmp_path, files={"README.md": text}))
    assert "#not-a-heading" in complaint


def test_every_operator_sensor_error_and_setting_must_be_mentioned(tmp_path: Path) -> None:
    root = _checkout(
        tmp_path,
        files={
            "README.md": "Use `PromoteOperator`, catch `VersionGone`, set `keep_last`.",
            "airflow_model_ops/operators/release.py": "class PromoteOperator: ...\nclass AbortOperator: ...",
            "airflow_model_ops/sensors/version.py": "class VersionSensor: ...\nclass Other: ...",
            "airflow_model_ops/core/errors.py": "class VersionGone(Exception): ...\nclass Busy(Exception): ...",
            "airflow_model_ops/config/model.py": (
                "class Retention:\n    model_config: dict = {}\n    keep_last: int = 5\n    keep_days: int = 1\n"
                "    _hidden: int = 0\n    from_: str = Field(alias='source')\n"
            ),
        },
    )
    names = {complaint.split(" of ")[0] for complaint in check_docs.complaints(root)}
    assert names == {
        "operator 'AbortOperator'",
        "sensor 'VersionSensor'",
        "error 'Busy'",
        "setting 'keep_days'",
        "setting 'source'",
    }
