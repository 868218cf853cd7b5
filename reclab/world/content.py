"""Public content of items: a caption and small frames, made from tags and hidden style with noise.

Words of a caption: with probability .155 from the vocabulary of one of the item's topics, .16 from
that of its style (a list at each end of the 8 axes, chosen by softmax of the style), else chatter;
a fifth of the topical words come from a wrong topic. A frame is a wave over the topic's two colours
whose direction, pitch, contrast … follow the style. So content understanding can find what tags
do not say, and not all of it.

Reference: KuaiRec, from whose captions a linear SVM on character n-grams finds .452 of the topics.
Simplified: words do not depend on each other; a frame shows no objects.
"""

import numpy as np

from reclab.core.chance import rng
from reclab.core.types import Array
from reclab.world.truth import Truth
from reclab.world.users import N_STYLE, TOPICS, topic_popularity

BLOCK = 4096  # items that share one random stream: any subset of items gets the same content
WORDS_LOW, WORDS_HIGH = 3, 10  # words in a caption
P_TOPIC, P_STYLE = 0.155, 0.16  # probability of a topical word, of a word of style
P_WRONG = 0.20  # share of the topical words that belong to another topic
STYLE_SHARPNESS = 5.0  # of the softmax over the 16 ends of the style axes
FRAME = 24  # pixels a side
FRAME_NOISE = 30.0  # sigma of the pixels, of 255

VOCABULARY = {
    "food": "noodles dumpling spicy oven recipe snack soup grill crispy kitchen",
    "travel": "island train harbour mountain passport sunset hostel canyon village ferry",
    "comedy": "prank joke laugh awkward roommate sketch funny parody oops clumsy",
    "games": "boss level quest loot craft dungeon speedrun console pixel respawn",
    "music": "guitar chorus melody cover piano drummer lyrics acoustic studio violin",
    "pets": "kitten puppy paws hamster fetch parrot whiskers leash cuddle rabbit",
    "drama": "betrayal heiress wedding secret tears divorce revenge letter stepmother goodbye",
    "beauty": "lipstick eyeliner foundation serum blush lashes skincare palette mascara contour",
    "knowledge": "physics history explain planet theorem ancient experiment atoms volcano language",
    "sports": "goal dribble marathon dunk referee tackle sprint penalty coach stadium",
    "news": "election storm minister report breaking court summit flood protest budget",
    "dance": "choreography shuffle ballet footwork routine spin waltz breakdance tempo rehearsal",
    "fashion": "outfit denim jacket runway vintage sneakers handbag linen tailor wardrobe",
    "film": "trailer director scene sequel actor cinema plot villain premiere screenplay",
    "cars": "engine turbo sedan torque drift garage clutch exhaust hybrid wheels",
    "home": "sofa shelves paint curtains plants storage declutter lamp tiles balcony",
    "parenting": "toddler homework bedtime diaper crib stroller tantrum lunchbox newborn nursery",
    "fitness": "squat plank dumbbell cardio stretch abs deadlift yoga pushup protein",
    "education": "exam grammar lecture essay algebra scholarship vocabulary tutor campus syllabus",
    "tech": "laptop phone battery chip robot firmware camera benchmark keyboard unboxing",
    "anime": "manga cosplay ninja mecha otaku episode shonen figurine sword transformation",
    "finance": "stocks mortgage dividend savings inflation tax invest bonds portfolio interest",
    "photography": "lens aperture tripod portrait exposure bokeh shutter darkroom composition raw",
    "esports": "tournament finals clutch roster caster ranked bracket scrim patch league",
}
# The two ends of each of the eight axes of style.
STYLE_WORDS = (
    ("quiet slow gentle hushed", "loud wild frantic roaring"),
    ("old faded retro dusty", "new glossy futuristic neon"),
    ("cosy homely warm snug", "grand epic vast majestic"),
    ("dark moody gloomy shadowy", "bright sunny cheerful golden"),
    ("plain simple bare minimal", "ornate fancy lavish baroque"),
    ("serious sober strict formal", "silly goofy cheeky absurd"),
    ("raw rough handheld gritty", "polished smooth crisp cinematic"),
    ("solo alone lonely single", "crowd together friends team"),
)
CHATTER = (
    "today watch this the best moment part one two wait end you need see never again my first "
    "time day life with and how what when they said follow more like real just really so much "
    "every people love try new here look back comment below share now live full story update "
    "weekend morning night week year old friend someone nobody always maybe almost finally"
).split()


def captions(truth: Truth, seed: int) -> Array:
    """(n_items,) caption of every item, as strings."""
    blocks = range(0, truth.n_items, BLOCK)
    return np.concatenate([_block_captions(truth, start, seed) for start in blocks])


def _block_captions(truth: Truth, start: int, seed: int) -> Array:
    rows = slice(start, min(start + BLOCK, truth.n_items))
    chance = rng(seed, "captions", start)
    weights, style = truth.weights[rows].astype(np.float64), truth.item_style[rows]
    n, width = len(weights), WORDS_HIGH
    kind = chance.random((n, width))
    topic = _draw(weights, width, chance)
    wrong = chance.choice(len(TOPICS), (n, width), p=topic_popularity(0.7))
    topic = np.where(chance.random((n, width)) < P_WRONG, wrong, topic)
    ends = np.exp(STYLE_SHARPNESS * np.concatenate([-style, style], 1).astype(np.float64))
    end = _draw(ends / ends.sum(1, keepdims=True), width, chance)
    pick = chance.random((n, width))
    words = _zipf_word(np.array(CHATTER), pick)
    words = np.where(kind < P_TOPIC + P_STYLE, _listed(_STYLE_TABLE, end, pick), words)
    words = np.where(kind < P_TOPIC, _listed(_TOPIC_TABLE, topic, pick), words)
    length = chance.integers(WORDS_LOW, WORDS_HIGH + 1, n)
    texts = [" ".join(row[:k]) for row, k in zip(words.tolist(), length, strict=True)]
    return np.array(texts, dtype=str)


def _draw(p: Array, width: int, chance: np.random.Generator) -> Array:
    """(n, width) draws from each row of ``p`` (n, m)."""
    edges = np.cumsum(p, 1)[:, None, :]
    return np.minimum((edges < chance.random((len(p), width, 1))).sum(2), p.shape[1] - 1)


def _listed(table: Array, row: Array, pick: Array) -> Array:
    """Words of ``table`` (lists, words): common ones, at the front of a list, more often."""
    return table[row, (pick * pick * table.shape[1]).astype(np.int64)]


def _zipf_word(words: Array, pick: Array) -> Array:
    return words[(pick * pick * len(words)).astype(np.int64)]


_TOPIC_TABLE = np.array([VOCABULARY[topic].split() for topic in TOPICS])
_STYLE_TABLE = np.array([axis[end].split() for end in (0, 1) for axis in STYLE_WORDS])


def frames(truth: Truth, item_row: Array, seed: int) -> Array:
    """(n, 24, 24, 3) uint8 cover frame of each item of ``item_row`` (n,)."""
    item_row = np.asarray(item_row, np.int64)
    out = np.empty((len(item_row), FRAME, FRAME, 3), np.uint8)
    for block in np.unique(item_row // BLOCK):
        mine = np.flatnonzero(item_row // BLOCK == block)
        # noise of one image a block, rolled by an amount of its own for each item: cheap, stable
        chance = rng(seed, "frames", int(block))
        noise = FRAME_NOISE * chance.standard_normal((2 * FRAME, 2 * FRAME, 3))
        shift = chance.integers(0, FRAME, (BLOCK, 2))[item_row[mine] % BLOCK]
        for at, (dy, dx) in zip(mine, shift, strict=True):
            clean = _picture(truth.weights[item_row[at]], truth.item_style[item_row[at]], seed)
            noisy = clean + noise[dy : dy + FRAME, dx : dx + FRAME]
            out[at] = np.clip(noisy, 0, 255).astype(np.uint8)
    return out


def _picture(weights: Array, style: Array, seed: int) -> Array:
    """(24, 24, 3) the frame without noise: a wave between the two colours of its topics."""
    colours = rng(seed, "palette").integers(20, 236, (2, len(TOPICS), 3))
    low, high = (weights @ colours[end] for end in (0, 1))
    y, x = np.mgrid[0:FRAME, 0:FRAME] / FRAME
    angle, pitch = np.pi * style[0], 2.0 + 3.0 * (style[1] + 1.0)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    bend = style[2] * np.sin(2 * np.pi * across) + style[3]
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * pitch * along + 2.0 * bend)
    wave = wave ** np.exp(style[4])  # hard or soft edges
    glow = 1.0 + 0.5 * style[5] * np.cos(2 * np.pi * (x - 0.5)) + 0.5 * style[6] * (y - 0.5)
    picture = low + (high - low) * wave[..., None] * (1.0 + 0.3 * style[N_STYLE - 1])
    return np.asarray(picture * glow[..., None])
