"""`recurring prove`: that every due cycle has exactly one outcome, and that every promise was kept.

A proof reads the views of schema `audit_v1` in the four databases (docs/audit-views.md), each in one
snapshot, and the sandbox's own record where there is one. Nothing here asks the services: what they say
of themselves is what is to be proved.

    run > agreements, local > settled; motion, calendar_clauses, witness > moment > clauses (by topic)
"""
