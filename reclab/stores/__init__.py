"""Stores: state that outlives a request.

kv              key -> value, in a Redis of our own or by URL
redis_server    the Redis of our own, that never outlives its owner for long
forward_index   item id -> all features
as_of           counts and sums of any key strictly before a time
user_features   profile, behaviour sequences, statistics and interests of users as of a time
vector_index    query vector -> nearest items (FAISS)
row_lookup      id -> row, under all of them
arrays          how they are kept on disk: mapped, not read
"""
