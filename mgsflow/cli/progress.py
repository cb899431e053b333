"""Progress on the terminal: one bar a step and scan, and a plain line each where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mgsflow.cli.stop import check
from mgsflow.pipeline.step import Progress as Report
from mgsflow.pipeline.step import Solving


@contextmanager
def bars(console: Console) -> Iterator[Report]:
    """Yield what a run calls with (step, specimen/scan, finished blocks, all blocks)."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.fields[label]:<24}"),
        TextColumn("[cyan]{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[error]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bars(progress)


class _Bars:
    """A bar a step and scan; the estimated error of a solve by all workers beside it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[tuple[str, str], TaskID] = {}

    def __call__(self, step: str, label: str, done: int, total: int) -> None:
        check()
        key = (str(step), label)
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(str(step), total=total, label=label, error="")
        self._progress.update(self._tasks[key], completed=done)
        if isinstance(step, Solving):
            self._progress.update(self._tasks[key], error=_errors(step))
        if done == total:  # finished bars scroll away above those that move
            self._progress.stop_task(self._tasks[key])


class _Lines:
    """A line for each step that is finished, and for each iteration of a solve by all workers."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, step: str, label: str, done: int, total: int) -> None:
        check()
        if isinstance(step, Solving):
            self._console.print(f"{label} {step}, {_errors(step)}", markup=False, soft_wrap=True)
        elif done == total:
            self._console.print(f"{label} {step}: {total} of {total}", markup=False)


def _errors(step: Solving) -> str:
    return f"iteration {step.iteration}: error {step.error:.1e}, {step.wanted:.0e} wanted"
