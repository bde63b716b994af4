"""What awards of NSF's instrument and campus programmes bought, which contest they won, and whose they are."""
