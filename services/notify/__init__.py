"""Notify: contacts, the proof that a phone is its owner's, and every message to customers."""
