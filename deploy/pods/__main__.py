"""`python -m deploy.pods`: keys | postgres SERVICE | wait ADDRESS…"""

import argparse
import sys

from deploy.embedded.addresses import SERVICES
from deploy.embedded.process import PartError
from deploy.pods import keys, postgres, wait


def main() -> int:
    """Do one pod's work; returns the exit status."""
    parser = argparse.ArgumentParser(prog="deploy.pods", description=__doc__)
    works = parser.add_subparsers(required=True, dest="work", metavar="WORK")
    works.add_parser("keys", help=keys.__doc__)
    works.add_parser("postgres", help=postgres.__doc__).add_argument("service", choices=SERVICES)
    works.add_parser("wait", help=wait.__doc__).add_argument("addresses", nargs="+")
    chosen = parser.parse_args()
    try:
        if chosen.work == "keys":
            keys.make()
        elif chosen.work == "postgres":
            postgres.serve(chosen.service)
        else:
            wait.wait(chosen.addresses)
    except PartError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
