"""``python -m endcap.cli``: the command line without the installed script."""

from endcap.cli import main

main()
