"""What the commands do with checkpoints and adapters: convert, inspect and verify them."""
