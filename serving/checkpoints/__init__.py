"""What the commands do with checkpoints and adapters: download, convert, inspect and verify them."""
