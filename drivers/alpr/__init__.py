"""Number-plate readers: cameras that push each read once and forget it when it was answered."""
