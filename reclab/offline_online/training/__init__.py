"""Training (流式训练 / 批训练): a model that learns from samples, and who may serve."""
