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

from mgsflow.pipeline.step import Progress as Report


@contextmanager
def bars(console: Console) -> Iterator[Report]:
    """Yield what a run calls with (step, specimen/scan, finished blocks, all blocks)."""
    if not console.is_terminal:
        yield _plain(console)
        return
    columns = (
        TextColumn("{task.fields[label]:<24}"),
        TextColumn("[cyan]{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[tuple[str, str], TaskID] = {}
    with Progress(*columns, console=console) as progress:

        def report(step: str, label: str, done: int, total: int) -> None:
            key = (step, label)
            if key not in tasks:
                tasks[key] = progress.add_task(step, total=total, label=label)
            progress.update(tasks[key], completed=done)
            if done == total:  # finished bars scroll away above those that move
                progress.stop_task(tasks[key])

        yield report


def _plain(console: Console) -> Report:
    def report(step: str, label: str, done: int, total: int) -> None:
        if done == total:
            console.print(f"{label} {step}: {total} of {total}", markup=False)

    return report
