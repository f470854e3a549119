"""The container images: built, described, and tried."""
