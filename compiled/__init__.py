"""What the real compilers make of the model's steps, on a machine without the accelerator: `make tpu-check`."""
