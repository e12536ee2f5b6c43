"""Layer-wise relevance propagation through an unmodified timm ViT: the rules, and the engine that applies them."""
