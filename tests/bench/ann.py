"""Vector indexes on trained item vectors: recall, time of a query, time to build, memory; at the
laptop scale and at a million items."""

import sys

import reclab
from reclab.lab.indexes import curves, item_vectors
from reclab.show.pre_ranking_plots import index_table


def main() -> None:
    """Print a table a scale; ``-m tests.bench.ann SCALE`` prints one."""
    for scale in [arg for arg in sys.argv[1:] if arg in ("laptop", "full")] or ("laptop", "full"):
        lab = reclab.open(scale)
        found = curves(*item_vectors(lab, 300), k=100)
        print(f"{scale}: {found['flat'].n:,} vectors, recall of the true 100 best")
        print(index_table(found))
        lab.close()


if __name__ == "__main__":
    main()
