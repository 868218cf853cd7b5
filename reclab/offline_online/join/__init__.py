"""The sample join (样本拼接): both streams brought together: library, process and query."""
