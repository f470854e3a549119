"""What the catalog asks of others: a tax service, where a merchant wants one."""
