"""Layer-wise relevance propagation through an unmodified timm ViT: rules, a tape of the forward pass, a reverse sweep."""
