"""The `recurring` command: a client of the public contracts, for people and for programs."""

import zoneinfo

# The locked `tzdata` is the only source of zone data, as in the services: Python would take the
# machine's files before it, and the audit would expect other due times than were billed.
zoneinfo.reset_tzpath(to=())
zoneinfo.ZoneInfo.clear_cache()
