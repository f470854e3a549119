"""Checks of progress: nothing is overdue, unpublished or given up."""

from datetime import timedelta

from cli.prove.findings import Check, new_check, wrong
from cli.prove.records import Records
from cli.values import format_moment

# How late something may be done after its time: services that were away catch up meanwhile.
LATE_MAX = timedelta(hours=1)


def check_waiting(records: Records) -> Check:
    """Nothing waits for ever: neither for its time, which is past, nor for somebody who is done."""
    findings = [
        wrong(f"{each.service}: {each.what} {each.name} waits since {format_moment(each.due_time)}")
        for each in records.waiting
        if records.now - each.due_time > LATE_MAX
    ]
    live = {
        charge.order
        for charge in records.charges
        if charge.state in {"SCHEDULED", "REQUESTED", "IN_FLIGHT"}
    }
    asked = [order for order in records.orders if order.state == "AWAITING_PAYMENT"]
    findings += [
        wrong(f"{order.name} waits for a payment that nobody is to make")
        for order in asked
        if order.name not in live
    ]
    waiting = len(records.waiting) + len(asked)
    return Check("waiting / within its time", str(waiting), str(waiting - len(findings)),
                 tuple(findings))  # fmt: skip


def check_backlogs(records: Records) -> Check:
    """Every event is published, and none could not be handled."""
    findings = []
    for backlog in records.backlogs:
        if backlog.unpublished_count:
            text = f"{backlog.service} has {backlog.unpublished_count} unpublished events"
            findings.append(wrong(text))
        if backlog.dead_letter_count:
            text = f"{backlog.service} has {backlog.dead_letter_count} dead letters"
            findings.append(wrong(text))
    left = sum(each.unpublished_count + each.dead_letter_count for each in records.backlogs)
    return new_check("events unpublished or dead", 0, left, findings)
