-- Sample join as a batch, in HiveQL: the samples that the stream join gives with a fixed window, and
-- what was known of item and user strictly before each request.
-- ${first_day}, ${last_day}: days of the requests; ${window_ms}: how long a sample waits for labels,
-- at most a day; ${skew_ms}: how far a device's clock may put an event before its request.
-- Chapter 2.3.1. Tables: core/tables.py; feedback has an event_id beside its columns.

WITH
-- Which cards were shown? A row may have been written twice: the first one counts.
-- All days up to the last are read, for features look back; only the days asked for are given out.
shown AS (
  SELECT req_id, video_id, user_id, time_ms, day
  FROM (
    SELECT req_id, video_id, user_id, time_ms, day,
      ROW_NUMBER() OVER (PARTITION BY req_id, video_id ORDER BY time_ms) AS copy
    FROM interactions
    WHERE day <= ${last_day}
  ) written
  WHERE copy = 1
),

-- What was reported? Each event once, at its first arrival. feedback is partitioned by arrival, so
-- the last window ends in the partition after the last day.
told AS (
  SELECT event_id, req_id, video_id, kind, value, event_ms, report_ms
  FROM (
    SELECT event_id, req_id, video_id, kind, value, event_ms, report_ms,
      ROW_NUMBER() OVER (PARTITION BY event_id, req_id ORDER BY report_ms) AS copy
    FROM feedback
    WHERE day <= ${last_day} + 1
  ) arrived
  WHERE copy = 1
),

-- Which report belongs to which card? One before its card was shown is a broken clock's.
matched AS (
  SELECT shown.req_id, shown.video_id, shown.user_id, shown.time_ms, shown.day,
    told.kind, told.value, told.report_ms
  FROM shown
  JOIN told ON told.req_id = shown.req_id AND told.video_id = shown.video_id
  WHERE told.report_ms >= shown.time_ms AND told.event_ms >= shown.time_ms - ${skew_ms}
),

-- What came within the window? Bit k of labels: feedback of kind k came.
labelled AS (
  SELECT req_id, video_id,
    MAX(CASE WHEN kind = 0 THEN 1 ELSE 0 END)          -- click
      + MAX(CASE WHEN kind = 1 THEN 2 ELSE 0 END)      -- watch
      + MAX(CASE WHEN kind = 2 THEN 4 ELSE 0 END)      -- like
      + MAX(CASE WHEN kind = 3 THEN 8 ELSE 0 END)      -- comment
      + MAX(CASE WHEN kind = 4 THEN 16 ELSE 0 END)     -- share
      + MAX(CASE WHEN kind = 5 THEN 32 ELSE 0 END)     -- forward
      + MAX(CASE WHEN kind = 6 THEN 64 ELSE 0 END)     -- follow
      + MAX(CASE WHEN kind = 7 THEN 128 ELSE 0 END)    -- pay
      AS labels,
    COUNT(*) AS n_labels,
    MAX(CASE WHEN kind = 1 THEN value ELSE 0 END) AS watch_sec,
    SUM(CASE WHEN kind = 7 THEN CAST(value AS DOUBLE) ELSE 0 END) AS pay_amount
  FROM matched
  WHERE report_ms <= time_ms + ${window_ms} AND day >= ${first_day}
  GROUP BY req_id, video_id
),

-- What happened to an item, and to a user, and when was it known? A card when it was shown, a click
-- when its report arrived: hours after the click, for some.
happened AS (
  SELECT req_id, video_id, user_id, time_ms AS known_ms, 1 AS card, 0 AS click, day FROM shown
  UNION ALL
  SELECT req_id, video_id, user_id, report_ms AS known_ms, 0 AS card, 1 AS click, day FROM matched
  WHERE kind = 0
),

-- How much was known strictly before each moment? The frame ends one millisecond earlier, so that
-- no card sees itself, its page, or its own label: anything else leaks.
as_of AS (
  SELECT req_id, video_id, user_id, known_ms AS time_ms, card, day,
    SUM(card) OVER item_past AS item_cards,
    SUM(click) OVER item_past AS item_clicks,
    SUM(card) OVER user_past AS user_cards,
    SUM(click) OVER user_past AS user_clicks
  FROM happened
  WINDOW
    item_past AS (PARTITION BY video_id ORDER BY known_ms
                  RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
    user_past AS (PARTITION BY user_id ORDER BY known_ms
                  RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)

-- The samples: every card of the days asked for, with or without labels.
SELECT as_of.req_id, as_of.video_id, as_of.user_id, as_of.time_ms,
  CAST(COALESCE(labelled.labels, 0) AS INT) AS labels,
  CAST(COALESCE(labelled.n_labels, 0) AS INT) AS n_labels,
  CAST(COALESCE(labelled.watch_sec, 0) AS FLOAT) AS watch_sec,
  CAST(COALESCE(labelled.pay_amount, 0) AS DOUBLE) AS pay_amount,
  CAST(as_of.time_ms + ${window_ms} AS BIGINT) AS close_ms,
  CAST(COALESCE(as_of.item_cards, 0) AS BIGINT) AS item_cards,
  CAST(COALESCE(as_of.item_clicks, 0) AS BIGINT) AS item_clicks,
  CAST(COALESCE(as_of.user_cards, 0) AS BIGINT) AS user_cards,
  CAST(COALESCE(as_of.user_clicks, 0) AS BIGINT) AS user_clicks
FROM as_of
LEFT JOIN labelled
  ON labelled.req_id = as_of.req_id AND labelled.video_id = as_of.video_id
WHERE as_of.card = 1 AND as_of.day >= ${first_day}
ORDER BY as_of.req_id, as_of.video_id
