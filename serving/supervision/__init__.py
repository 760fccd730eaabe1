"""What `codegemma serve` does once it is ready: sees that the service answers, or says so and brings it back."""
