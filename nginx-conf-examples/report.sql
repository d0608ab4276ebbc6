-- What was published, an hour and a channel at a time. For nginx's own SQLite store, and for what
-- `scripts/consume AMQP-URL QUEUE --db FILE` has read from RabbitMQ: both have the same table.
--
--     sqlite3 -box events.db <nginx-conf-examples/report.sql
SELECT strftime('%Y-%m-%d %H:00', published_at) AS hour,
       channel,
       coalesce(event, 'message')               AS event,
       count(*)                                 AS events,
       count(DISTINCT user_id)                  AS users,
       sum(length(data))                        AS bytes,
       max(published_at)                        AS last
FROM events
GROUP BY hour, channel, event
ORDER BY hour DESC, events DESC, channel, event
LIMIT 100;
