"""How each family of devices is spoken to: one folder per family; the agent finds its drivers by entry point."""
