"""The commands, and how they end: 0 when all is well, 2 with one clear line when the input is at fault."""

from __future__ import annotations

import errno
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from mgsflow import __version__
from mgsflow.cli.stop import check, stoppable
from mgsflow.errors import ComputeError, InputError, MgsflowError

app = typer.Typer(
    name="mgsflow",
    help="Battery-electrode tomograms larger than memory: from scans to numbers compared across cycle states.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

StudyFile = Annotated[Path, typer.Argument(help="The study file, as study.yaml.", metavar="STUDY")]
Scheduler = Annotated[str | None, typer.Option(help="Address of a running dask scheduler.", metavar="ADDR")]
SchedulerFile = Annotated[Path | None, typer.Option(help="File that a running dask scheduler wrote.", metavar="FILE")]
Workers = Annotated[int | None, typer.Option(help="Start this many worker processes here.", metavar="N")]
MemoryLimit = Annotated[str | None, typer.Option(help="Memory of each of them, as 2GiB.", metavar="SIZE")]


def _say_version(asked: bool) -> None:
    if asked:
        from mgsflow.compute.source import source_digest

        out.print(f"mgsflow {__version__} (source {source_digest()[:12]})")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_say_version, help="Say the version, and of which source."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line, and turn the errors we raise on purpose into one line and exit code 2."""
    try:
        with _quiet(), stoppable():
            app()
    except KeyboardInterrupt:
        _stop()
    except SystemExit as ended:
        if ended.code == 130:  # what typer makes of Ctrl-C
            _stop()
        raise
    except ComputeError as error:
        _say(error)
        sys.exit(3)
    except MgsflowError as error:
        _say(error)
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        _say(InputError(f"{error.strerror}: {error.filename or 'while writing'}"))
        sys.exit(2)


def _stop() -> NoReturn:
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what zarr was about to read is of no interest now
    err.print("\nStopped. Run the same command again to go on: finished blocks are kept.")
    sys.exit(130)


def _say(error: Exception) -> None:
    err.print(f"[bold red]Error[/]: {escape(str(error))}", soft_wrap=True)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        if not sys.warnoptions:  # what libraries say to developers is not for users
            warnings.simplefilter("ignore")
        yield


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put scans, study and results.")] = Path("mgsflow-demo"),
    size: Annotated[int, typer.Option(help="Edge of each phantom scan in voxels.", min=48, max=2048)] = 192,
    seed: Annotated[int, typer.Option(help="Another seed is another specimen.", min=0)] = 0,
    full: Annotated[bool, typer.Option("--full", help="Everything the paper shows: a quarter of an hour.")] = False,
    workers: Workers = None,
    memory_limit: MemoryLimit = None,
) -> None:
    """Make phantom scans of a Mg/S study (cathode at cycles 0, 1, 3, 10; separator at 0, 1) and run it."""
    from mgsflow.cli.demo import make_scans
    from mgsflow.cli.progress import bars

    with bars(out) as progress:
        study = make_scans(folder, size, seed, progress, full)
    out.print(f"Scans and [bold]{escape(str(study))}[/] are made; running the study:")
    _run(study, workers=workers, memory_limit=memory_limit)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the scans.")],
    study: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; default FOLDER/study.yaml.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a study file that is there.")] = False,
) -> None:
    """Write a commented study.yaml for a folder of scans."""
    from mgsflow.recipe import discover, template

    target = study if study is not None else folder / "study.yaml"
    if target.exists() and not force:
        raise InputError(f"{target} is there already: use --force to write over it, or --out for another file")
    found = discover(folder)
    text = template(target.parent, found)
    target.write_text(text, encoding="utf-8")
    out.print(f"Found {len(found)} scans; wrote [bold]{escape(str(target))}[/].")
    out.print(f"Read it through, then: mgsflow plan {escape(str(target))}")


@app.command()
def inspect(
    path: Annotated[
        Path | None, typer.Argument(help="A scan (file, folder, glob) or a study store.", metavar="FILE|STORE")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-O", help="What a raw or HDF5 file needs, as shape=100,200,200 or dtype=uint16."),
    ] = None,
    formats: Annotated[bool, typer.Option("--formats", help="List the formats that are read.")] = False,
) -> None:
    """Show what is in a scan or a store: shape, type, voxel size, grey values; scans, steps, arrays."""
    from mgsflow.cli.inspect import (
        inspect_cycling,
        inspect_formats,
        inspect_scan,
        inspect_store,
        is_cycling,
        is_store,
    )

    if formats:
        inspect_formats(out)
    elif path is None:
        raise InputError("name a scan or a store, or ask for --formats")
    elif is_store(path):
        inspect_store(path, out)
    elif is_cycling(path):
        inspect_cycling(path, out)
    else:
        inspect_scan(path, option or [], out)


@app.command()
def plan(
    study: StudyFile,
    workers: Workers = None,
    memory_limit: MemoryLimit = None,
    time: Annotated[
        bool | None,
        typer.Option(help="Rehearse the steps on windows of the scans, and tell how long all take. [with --workers]"),
    ] = None,
    edge: Annotated[int | None, typer.Option(help="Plan as if scans had so many voxels an edge.", min=1)] = None,
    bandwidth: Annotated[
        str | None, typer.Option(help="What the disk of the store gives all workers in a second, as 2GB.")
    ] = None,
) -> None:
    """Show what a run takes: blocks, peak memory of a worker, disk, time. Exit code 2 if it does not fit."""
    from mgsflow.cli.progress import bars
    from mgsflow.cli.show import show_plan
    from mgsflow.memory import available, parse_bytes
    from mgsflow.pipeline import Capacity, capacity, plan, rehearse
    from mgsflow.recipe import load

    if workers is not None and workers < 1:
        raise InputError(f"--workers must be at least 1, got {workers}")
    recipe = load(study)
    if workers is None:
        room = capacity()
        if memory_limit is not None:
            room = replace(room, memory=parse_bytes(memory_limit))
    else:
        each = parse_bytes(memory_limit) if memory_limit is not None else available() // workers
        room = Capacity(workers, 1, each)
    speed = parse_bytes(bandwidth) if bandwidth is not None else None
    if speed == 0:
        raise InputError("--bandwidth must be above 0")
    rates = None
    if time or (time is None and workers is not None):
        with bars(out) as progress:
            rates = rehearse(recipe, progress)
    found = plan(recipe, room, rates, edge, speed)
    show_plan(found, room, rates, out)
    for problem in found.problems:
        err.print(f"[bold red]Does not fit[/]: {escape(problem)}", soft_wrap=True)
    if found.problems:
        raise typer.Exit(2)


@app.command()
def run(
    study: StudyFile,
    scheduler: Scheduler = None,
    scheduler_file: SchedulerFile = None,
    workers: Workers = None,
    memory_limit: MemoryLimit = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Fit the thresholds again, where they were fitted and frozen before.")
    ] = False,
) -> None:
    """Run a study, or what is missing of it: run it again after any interruption."""
    _run(study, scheduler, scheduler_file, workers, memory_limit, refit)


@app.command()
def status(store: Annotated[Path, typer.Argument(help="The store, or the study file.", metavar="STORE|STUDY")]) -> None:
    """Show how far each step of each scan is."""
    from mgsflow.cli.show import show_status
    from mgsflow.store import Study

    show_status(Study.open(_store(store)), out)


@app.command()
def report(
    store: Annotated[Path, typer.Argument(help="The store, or the study file.", metavar="STORE|STUDY")],
    html: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; default beside the store.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for the figures as PNG and the tables as CSV.")] = None,
) -> None:
    """Write the report of a study as one HTML file."""
    from mgsflow.report import write_report

    found = _store(store)
    written = write_report(found, html or _report_of(found, Path.cwd()), figures=figures)
    out.print(f"Report: [bold]{escape(str(written))}[/]")


@app.command()
def explain(
    key: Annotated[str, typer.Argument(help="As majority, or segment.majority.", metavar="KEY")],
) -> None:
    """Explain a key of the study file: its type, default and meaning."""
    from mgsflow.recipe.reference import explain as explained

    out.print(escape(explained(key)), soft_wrap=True)


@app.command(name="check")
def check_command(
    store: Annotated[Path, typer.Argument(help="The store, or the study file.", metavar="STORE|STUDY")],
    repair: Annotated[
        bool, typer.Option("--repair", help="Compute anew what is damaged, where a study file is given.")
    ] = False,
) -> None:
    """Read everything that a study holds, and tell what is missing or not what was written."""
    from mgsflow.cli.check import check_store

    whole = check_store(_store(store), repair, out)
    if not whole:
        raise typer.Exit(2)
    if repair and store.suffix in (".yaml", ".yml"):
        _run(store)


def _run(
    study: Path,
    scheduler: str | None = None,
    scheduler_file: Path | None = None,
    workers: int | None = None,
    memory_limit: str | None = None,
    refit: bool = False,
) -> None:
    from mgsflow.cli.progress import bars
    from mgsflow.cli.show import show_areas, show_fractions, show_particles, show_summary, show_transport
    from mgsflow.compute import connect
    from mgsflow.pipeline import run as run_study
    from mgsflow.recipe import load
    from mgsflow.report import write_report

    check()  # after the imports
    recipe = load(study)
    with connect(scheduler, scheduler_file, workers, memory_limit) as client, bars(out) as progress:
        summary = run_study(recipe, client, progress, refit=refit)
    for text in summary.repaired:
        err.print(f"[bold yellow]Computed anew[/]: {escape(text)}", soft_wrap=True)
    show_summary(summary, out)
    show_fractions(summary.store, out)
    show_areas(summary.store, out)
    show_particles(summary.store, out)
    show_transport(summary.store, out)
    written = write_report(summary.store, _report_of(summary.store, recipe.path.parent))
    out.print(f"Report: [bold]{escape(str(written))}[/]", soft_wrap=True)
    for scan, text in summary.failed.items():
        err.print(f"[bold red]Failed[/]: {escape(scan)}: {escape(text)}", soft_wrap=True)
    if summary.failed:
        err.print("The other scans are complete. Mend or leave out what failed, and run again.", soft_wrap=True)
        raise typer.Exit(2)


def _report_of(store: Path, folder: Path) -> Path | None:
    """Return where the report of a store in object storage goes: it is a local file. None: beside a local store."""
    from mgsflow.store import remote_url

    if remote_url(store) is None:
        return None
    return folder / ("report.html" if store.stem == "study" else f"{store.stem}-report.html")


def _store(path: Path) -> Path:
    if path.suffix in (".yaml", ".yml"):
        from mgsflow.recipe import load

        return load(path).store
    return path
