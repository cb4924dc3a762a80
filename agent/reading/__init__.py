"""What films say of themselves: `reader` asks, in the daemon; `worker` answers, and imports as little as it can."""
