"""The fault suite: histories of a shop and its customers, played while parts of the suite fail."""
