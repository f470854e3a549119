"""The rules of standing orders: plain values and functions that know no clock and do no I/O."""
