"""What is known of each format, model and firmware: data that imports construct and nothing of ours."""
