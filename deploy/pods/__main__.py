"""`python -m deploy.pods`: what the pods of the development overlay run."""

import argparse
import sys

from deploy.embedded.addresses import SERVICES
from deploy.embedded.process import PartError
from deploy.pods import keys, postgres, wait


def main() -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.pods", description="Commands of the development overlay's pods."
    )
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    commands.add_parser("keys", help="create the missing keys and Secrets of the cluster")
    serve = commands.add_parser("postgres", help="run the PostgreSQL server of a service")
    serve.add_argument("service", choices=SERVICES)
    waiting = commands.add_parser("wait", help="wait until every address answers")
    waiting.add_argument("addresses", nargs="+", metavar="ADDRESS", help="host:port or URL")
    chosen = parser.parse_args()
    try:
        if chosen.command == "keys":
            keys.make()
        elif chosen.command == "postgres":
            postgres.serve(chosen.service)
        else:
            wait.wait(chosen.addresses)
    except PartError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
