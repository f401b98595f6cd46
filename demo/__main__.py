"""The demo: `make demo`, or `python -m demo`.

Exit status: 0 the story went as it had to; 1 an expectation did not hold, or a part failed; 2 something is missing or the
usage is wrong; 130 interrupted before the end of the story.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from airflow_model_ops.core.errors import ModelOpsError
from demo.airflow_rest import AirflowRestError
from demo.narrator import Narrator
from demo.preflight import problems
from demo.process_group import end_descendants
from demo.story import Story
from demo.training import TrainingFailed

RATE = 40.0
"""Requests per second: about a third of what two cores hold beside Airflow, so that its own load does not show as latency."""
_FAILED, _UNUSABLE, _INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = _parse(argv)
    missing = list(problems())
    for sentence in missing:
        print(f"demo: {sentence}", file=sys.stderr)
    if missing:
        return _UNUSABLE
    work = Path(tempfile.mkdtemp(prefix="model-ops-demo-")) if options.work is None else options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    status = _FAILED
    try:
        with _ending_on_signals():
            status = _play(work, options)
    finally:
        end_descendants()
        _tidy(work, keep=options.work is not None or status == _FAILED)
    return status


def _play(work: Path, options: argparse.Namespace) -> int:
    tell = Narrator()
    story = Story(work=work, rate=options.rate, tell=tell)
    try:
        story.play(stay=not options.exit)
    except KeyboardInterrupt:
        tell.plain("\ninterrupted; everything is stopped")
        return _INTERRUPTED
    except (AirflowRestError, ModelOpsError, TrainingFailed) as error:
        print(f"\ndemo: it cannot go on: {error}", file=sys.stderr)
        return _FAILED
    return 0 if story.held else _FAILED


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Make the first SIGINT, SIGTERM or SIGHUP a KeyboardInterrupt, and ignore all others: stopping takes seconds."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signals.append(signal.SIGHUP)

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the signature of a handler)
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in signals:
        signal.signal(each, interrupt)
    yield


def _tidy(work: Path, *, keep: bool) -> None:
    if keep:
        print(f"\nkept to look at: {work}", flush=True)
    else:
        shutil.rmtree(work)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--exit", action="store_true", help="end after the table instead of waiting for Ctrl-C")
    parser.add_argument("--rate", type=float, default=RATE, help="requests per second (default: %(default)g)")
    parser.add_argument("--work", type=Path, help="an empty directory to work in, kept (default: a temporary one)")
    options = parser.parse_args(argv)
    if options.rate <= 0:
        parser.error(f"--rate {options.rate!r} is not above 0; give requests per second, such as {RATE:g}")
    if (
        options.work is not None
        and options.work.exists()
        and (not options.work.is_dir() or any(options.work.iterdir()))
    ):
        parser.error(f"--work {str(options.work)!r} is not an empty directory; name a new one")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
