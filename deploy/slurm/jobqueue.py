"""A study on SLURM from a login node: workers are jobs of their own, which come and go (`pip install dask-jobqueue`).

    python jobqueue.py /project/cell7/study.yaml --workers 16 --memory-limit 4GiB --time 04:00:00

The batch script beside this one needs no process on the login node; this one begins as soon as one worker is there, and
goes on when the queue takes workers away. Whatever ends it, run it again: finished blocks are kept.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--workers", type=int, default=4, help="at most; fewer while the queue is full")
    parser.add_argument("--memory-limit", default="4GiB", help="of a worker, as given to mgsflow plan")
    parser.add_argument("--time", default="02:00:00", help="of a worker's job")
    parser.add_argument("--scratch", default=os.environ.get("MGSFLOW_SCRATCH", "/tmp"), help="on the nodes")
    parser.add_argument("--option", action="append", default=[], help="for sbatch, as --option=--partition=long")
    arguments = parser.parse_args()
    # the folder of the study is one that all nodes see: certificates lie there, readable by nobody else
    with tempfile.TemporaryDirectory(prefix=".mgsflow-tls-", dir=arguments.study.resolve().parent) as folder:
        os.environ["DASK_CONFIG"] = str(DEPLOY / "dask.yaml")
        os.environ.update(_tls(folder))
        # dask reads its environment when it is imported
        from dask_jobqueue import SLURMCluster
        from distributed import Client

        import mgsflow
        from mgsflow.memory import parse_bytes

        memory = parse_bytes(arguments.memory_limit)
        hours, minutes, seconds = map(int, arguments.time.split(":"))
        lifetime = max(60, 3600 * hours + 60 * minutes + seconds - 120)  # ends between two blocks, not in one
        with SLURMCluster(
            cores=1,
            processes=1,
            memory=f"{memory}B",
            job_mem=f"{memory // 2**20 + 256}M",  # and the nanny's
            walltime=arguments.time,
            protocol="tls",
            local_directory=arguments.scratch,
            job_extra_directives=arguments.option,
            job_script_prologue=[f"export {name}={value}" for name, value in _environment().items()],
            worker_extra_args=["--lifetime", f"{lifetime}s", "--lifetime-stagger", "10s", "--no-dashboard"],
            scheduler_options={"dashboard": False},
        ) as cluster:
            cluster.adapt(minimum=1, maximum=arguments.workers)
            with Client(cluster) as client:
                client.wait_for_workers(1)
                mgsflow.run(arguments.study, client)


def _tls(folder: str) -> dict[str, str]:
    """Make certificates, and return the environment in which processes use them."""
    script = f'. "{DEPLOY}/tls.sh" "{folder}" && env -0'
    said = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout
    pairs = (entry.split("=", 1) for entry in said.split("\0") if "=" in entry)
    return {name: value for name, value in pairs if name.startswith("DASK_DISTRIBUTED__COMM__")}


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k == "DASK_CONFIG" or k.startswith("DASK_DISTRIBUTED__COMM__")}


if __name__ == "__main__":
    main()
