"""The topics of figure 2.3, in the order in which data flow, and how they are created.

    events         label stream (标签流): what users did, from the gateway
    dead_letters   what the gateway rejected, with the reason
    features       feature stream (特征流): what the recommender knew, from serving
    samples        joined (user, item, context, label), for training

Chapter 2, section 2.3.1.
Simplified: industry gives each topic its own retention and replicas.
"""

from pathlib import Path

from reclab.stores.event_log import EventLog, TopicConfig

EVENTS, DEAD_LETTERS, FEATURES, SAMPLES = "events", "dead_letters", "features", "samples"
SAMPLE_JOIN_QUERY = (
    Path(__file__).parent / "join" / "queries" / "sample_join.sql"
)  # the join as a batch
TOPICS = (EVENTS, DEAD_LETTERS, FEATURES, SAMPLES)


def create_topics(log: EventLog, config: TopicConfig | None = None) -> None:
    """Create the topics that are not there yet, all alike."""
    there = log.topics()
    for topic in TOPICS:
        if topic not in there:
            log.create(topic, config or TopicConfig())
