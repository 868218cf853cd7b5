"""The feature side (特征流): what was known when a request was answered, and what is known now."""
