"""Training: corpora, recipes, 4-bit LoRA on Ray Train, and the making of the embedded base model."""
