"""``python -m mgsflow.cli``: the same as the ``mgsflow`` command."""

from mgsflow.cli.app import main

if __name__ == "__main__":
    main()
