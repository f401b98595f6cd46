"""The whole demo from the first process to the last: train, start, play, report, stay, stop."""

from __future__ import annotations

import json
import signal
import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from airflow_model_ops.config.model_file import load_model_file
from demo.expectations import expectations
from demo.narrator import Narrator
from demo.record import Record
from demo.report import report, where_to_look
from demo.scenario import MODEL, Scenario
from demo.stack import Stack, StackSettings
from demo.training import Training

_TEMPLATE = Path(__file__).with_name("digits.yaml.template")


class Story:
    """One run of the demo in one directory.

    :param rate: Requests per second.
    """

    def __init__(self, *, work: Path, rate: float, tell: Narrator) -> None:
        self._work = work
        self._rate = rate
        self._tell = tell
        self.held = False
        """Whether everything went as it had to, to the last request."""

    def play(self, *, stay: bool) -> None:
        """Run it.

        :param stay: Whether to go on serving after the table, until the first signal.
        """
        tell = self._tell
        tell.chapter(
            "Train four small models of handwritten digits, and start all that serves, measures and releases them"
        )
        with Training(out=self._work / "trained", log=self._work / "train.log") as training:
            settings = StackSettings(
                work=self._work / "stack",
                models_dir=self._write_model_file(training.out),
                images=training.wait_for_images(),
                rate=self._rate,
            )
            tell.line("the images are there: half of the live ones come from a newer scanner")
            with Stack(settings, tell=tell.line) as stack:
                training.wait_for_models()
                tell.line("the models are trained and exported; share of right answers:")
                self._plain(f"           {line}" for line in training.table())
                self._plain(where_to_look(stack))
                held = self._release_and_report(stack, training.out)
                if stay:
                    self._stay(stack)
        self.held = self._last_account(self._work / "stack" / "traffic.json") and held

    def _release_and_report(self, stack: Stack, trained: Path) -> bool:
        tell = self._tell
        file = load_model_file(self._work / "models" / f"{MODEL}.yaml")
        record = Record(file, root=stack.repository, ledger=stack.ledger)
        scenario = Scenario(stack=stack, record=record, trained=trained, tell=tell)
        scenario.switch_on()
        tell.chapter("First release: good-1. Nothing serves yet, so it gets all traffic and its own limits judge it")
        scenario.release("good-1")
        tell.chapter("A person pins good-1 as golden: the known-good version to fall back to")
        golden_run = scenario.pin_golden()
        tell.chapter("Good candidate: good-2 takes 20 %, then 50 % of the traffic, and is compared with good-1")
        scenario.release("good-2")
        tell.chapter("Bad candidate: it passes validation, answers every request with 200, and reads the digits wrong")
        scenario.release("bad")
        tell.chapter("Slow candidate: right digits, 80 ms late")
        scenario.release("slow")
        tell.chapter("A person takes the model back to golden, through Airflow's REST API")
        scenario.roll_back_by_hand()
        account = scenario.account
        expected = expectations(scenario.outcomes, record=record, account=account, golden_run=golden_run)
        outcomes = list(scenario.outcomes.values())
        self._plain(report(outcomes, account=account, expected=expected, seconds=tell.seconds))
        return all(expectation.held for expectation in expected)

    def _write_model_file(self, trained: Path) -> Path:
        directory = self._work / "models"
        directory.mkdir(exist_ok=True)
        text = string.Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(examples=trained / "examples.npz")
        (directory / f"{MODEL}.yaml").write_text(text, encoding="utf-8")
        return directory

    def _stay(self, stack: Stack) -> None:
        self._plain(where_to_look(stack))
        self._tell.plain("\nEverything goes on serving. Ctrl-C stops it all.")
        try:
            signal.pause()
        except KeyboardInterrupt:
            self._tell.plain("\nstopping")

    def _last_account(self, file: Path) -> bool:
        """Tell what became of the requests to the very last; return whether none failed."""
        account: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        self._tell.chapter(f"Everything is stopped. {account['sent']:,} requests sent, {account['failed']:,} failed")
        for failure in account["failures"][:3]:
            self._tell.line(f"failed: {failure}")
        return bool(account["finished"]) and account["failed"] == 0

    def _plain(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._tell.plain(line)
