"""Layer-wise relevance propagation through an unmodified timm ViT: rules, tape of the forward pass, reverse sweep."""
