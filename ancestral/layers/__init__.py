"""Parts that models share: causal and masked layers, embeddings of conditions, networks."""
