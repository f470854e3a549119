"""Checks of stock: what is held is for live orders, and the sums agree."""

from collections import defaultdict

from cli.prove.findings import Check, Finding, Kind, cycle_text, wrong
from cli.prove.records import Records

ENDED_ORDER_STATES = {"PAID", "SKIPPED", "LAPSED", "CANCELLED"}


def check_stock(records: Records) -> Check:
    """Units of paid orders have left the stock, those of ended orders are free, and the sums agree."""
    states = {order.key: order.state for order in records.orders}
    findings: list[Finding] = []
    held: dict[tuple[str, str], int] = defaultdict(int)
    for hold in records.holds:
        state = states.get(hold.key)
        what = f"{hold.quantity} {hold.product} for cycle {cycle_text(hold.key)}"
        if hold.state == "HELD":
            held[hold.key[0], hold.product] += hold.quantity
        if state == "PAID" and hold.state != "COMMITTED":
            findings.append(wrong(f"{what}, which is paid, are {hold.state}"))
        elif state != "PAID" and hold.state == "COMMITTED":
            findings.append(wrong(f"{what}, which is {state}, are COMMITTED"))
        elif state in {None, *ENDED_ORDER_STATES} and hold.state == "HELD":
            findings.append(wrong(f"{what}, which is {state}, are HELD"))
    for stock in records.stocks:
        sum_units = held.pop((stock.merchant, stock.product), 0)
        if sum_units != stock.held_units:
            text = f"{stock.held_units} {stock.product} count as held, the holds have {sum_units}"
            findings.append(Finding(Kind.IMBALANCE, text))
    findings += [
        Finding(Kind.MISSING, f"no stock of {product}, of which {units} are held")
        for (_, product), units in held.items()
    ]
    return Check(
        "stock held / its orders",
        str(len(records.holds)),
        str(len(records.stocks)),
        tuple(findings),
    )
