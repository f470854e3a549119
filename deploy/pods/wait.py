"""Waits until the stack serves, for Jobs that need all of it."""

import time

from deploy.embedded.program import answers_grpc, answers_http

POLL_SECONDS = 0.5


def wait(addresses: list[str]) -> None:
    """Wait until every host:port serves (by gRPC health) and every URL answers, however long."""
    for address in addresses:
        answers = answers_http if "://" in address else answers_grpc
        if not answers(address):
            print(f"waiting for {address}", flush=True)
            while not answers(address):
                time.sleep(POLL_SECONDS)
