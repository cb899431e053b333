"""``mgsflow check``: whether a study still holds what was written."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape


def check_store(store: Path, repair: bool, out: Console) -> bool:
    """Print what is damaged in a store, and return whether there is nothing, or nothing that is not repaired.

    Parameters
    ----------
    store : path
    repair : bool
        Mark what is damaged as not finished.
    out : Console
    """
    from mgsflow.pipeline.check import check

    with out.status("") as status:
        found = check(store, repair, lambda name: status.update(f"reading {escape(name)}"))
    for damage in found.damages:
        out.print(f"[bold red]Damaged[/]: {escape(damage.what)}", soft_wrap=True)
    if not found.damages:
        out.print(f"{escape(str(store))} holds what was written.", soft_wrap=True)
        return True
    count = f"{len(found.damages)} damaged" if len(found.damages) > 1 else "1 damaged"
    if not repair:
        out.print(f"{count}: `mgsflow check --repair STUDY.yaml` computes it anew from its inputs.")
        return False
    out.print(f"{count}; to be computed anew by the next run: {escape(', '.join(found.steps))}", soft_wrap=True)
    return True
